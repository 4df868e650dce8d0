"""scripts/generate_data.py as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "generate_data.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("process", ["null_effect", "panel"])
def test_a_folder_with_data_and_truth_is_written(process: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("--process", process, "--rows", "1100", "--random-state", "3", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["process"] == process
    assert json.loads((out / "truth.json").read_text())["process"] == process
    assert (out / "data" / "part-00000.parquet").exists()


@pytest.mark.parametrize(("option", "value"), [("--process", "confoundd"), ("--rows", "0")])
def test_a_bad_argument_is_one_line_and_exit_code_two(option: str, value: str, tmp_path: Path) -> None:
    arguments = {"--process": "confounded", "--rows": "100", "--out": str(tmp_path / "out"), option: value}
    done = run(*(text for pair in arguments.items() for text in pair))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
