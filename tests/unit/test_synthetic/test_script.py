"""scripts/generate_data.py as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.generate_data import main

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "generate_data.py"


@pytest.mark.parametrize("process", ["null_effect", "panel"])
def test_a_folder_with_data_and_truth_is_written(
    process: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["--process", process, "--rows", "1100", "--random-state", "3", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["process"] == process
    assert json.loads((out / "truth.json").read_text())["process"] == process
    assert (out / "data" / "part-00000.parquet").exists()


@pytest.mark.parametrize(("option", "value"), [("--process", "confoundd"), ("--rows", "0")])
def test_a_bad_argument_is_one_line_and_exit_code_two(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"--process": "confounded", "--rows": "100", "--out": str(tmp_path / "out"), option: value}
    assert main([text for pair in arguments.items() for text in pair]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_script_runs_from_any_folder_and_ends_with_its_code(tmp_path: Path) -> None:
    def run(rows: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, str(SCRIPT), "--process", "null_effect", "--rows", rows, "--out", "out", "--json"]
        return subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)

    done = run("50")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 50
    refused = run("0")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(refused.stderr.strip().splitlines()) == 1
