"""Does the batch runner resume, measure the whole process tree, and end its own processes only?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from scripts import run_batches
from scripts.run_batches import PHASES, Phase
from src.agents.tiers import AGENT_TIERS
from tests.suite_rules import FOLDER_MARKERS
from tests.unit.test_project.checkout import ROOT

# Started a dozen times: nothing is loaded but what distributes tests.
PYTEST_INI = "[pytest]\naddopts = -p xdist.plugin -p no:cacheprovider\n"
COUNTED = "from pathlib import Path\ndef test_a():\n    Path({log!r}).open('a').write('x')\n"
FAILING = "import pytest\ndef test_a(): assert False\ndef test_b(): pass\n@pytest.mark.skip\ndef test_c(): pass\n"
BLOCKS = "def test_a():\n    block = bytearray(b'x' * 250 * 2**20)\n    import time; time.sleep(1)\n"
# A server as the tests start one: detached from its parent, and deaf to polite requests.
DETACHED = """
import os, signal, subprocess, sys, time
from pathlib import Path
def test_a():
    code = "import os, signal, time; os.fork() and os._exit(0); os.setsid();" \\
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); open({pid!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=True)
    time.sleep(60)
"""
STARTED_IN = """
import sys
from pathlib import Path
from scripts import run_batches
run_batches.ROOT = Path(sys.argv[1])
run_batches.PHASES = (run_batches.Phase("slow", "test_slow.py", parallel=False),)
sys.exit(run_batches.main(["--only", "slow"]))
"""
Checkout = Callable[..., Path]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout with one test file and one phase for each name given."""

    def make(parallel: bool = False, **files: str) -> Path:
        (tmp_path / "tests").mkdir()
        (tmp_path / "pytest.ini").write_text(PYTEST_INI)
        for name, text in files.items():
            (tmp_path / "tests" / f"test_{name}.py").write_text(text)
        phases = tuple(Phase(name, f"test_{name}.py", parallel=parallel) for name in files)
        monkeypatch.setattr(run_batches, "PHASES", phases)
        monkeypatch.setattr(run_batches, "ROOT", tmp_path)
        monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return tmp_path

    return make


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code = run_batches.main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_phase_that_passed_is_run_again_only_when_the_code_changes_or_on_request(
    checkout: Checkout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    root = checkout(counted=COUNTED.format(log=str(runs)))
    first = run(capsys)
    assert first[0] == 0
    assert run(capsys) == first
    assert runs.read_text() == "x"
    run(capsys, "--fresh")
    assert runs.read_text() == "xx"
    (root / "src").mkdir()
    (root / "src" / "new.py").write_text("changed = True")
    assert run(capsys)[1][0]["code"] != first[1][0]["code"]
    assert runs.read_text() == "xxx"


def test_a_failure_is_counted_stored_and_tried_again(
    checkout: Checkout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    checkout(bad=FAILING, good=COUNTED.format(log=str(tmp_path / "runs")))
    code, (bad, good) = run(capsys)
    assert code == 1
    assert [bad[key] for key in ("state", "passed", "failed", "skipped")] == ["failed", 1, 1, 1]
    assert good["state"] == "passed"
    assert json.loads((tmp_path / "var" / "batches.json").read_text()) == [bad, good]
    (again, kept) = run(capsys)[1]
    assert kept == good
    assert again["finished_at"] >= bad["finished_at"]
    assert (tmp_path / "runs").read_text() == "x"


def test_the_peak_is_that_of_the_whole_process_tree(
    checkout: Checkout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout(parallel=True, big=BLOCKS)  # the memory is a worker's, not that of the process started
    code, (result,) = run(capsys, "--workers", "1")
    assert code == 0
    assert 250 < result["peak_mb"] < 1000
    monkeypatch.setattr(run_batches, "PEAK_LIMIT_MB", 200)
    code, (result,) = run(capsys, "--workers", "1", "--fresh")
    assert (code, result["state"], result["passed"]) == (1, "over memory", 1)


def test_the_table_has_a_line_per_phase(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    checkout(bad=FAILING)
    assert run_batches.main([]) == 1
    shown = capsys.readouterr()
    assert [line.split()[:4] for line in shown.out.splitlines()] == [
        ["phase", "passed", "failed", "skipped"],
        ["bad", "1", "1", "1"],
    ]
    assert "MB of memory free" in shown.err


def test_an_interrupt_ends_the_processes_of_the_phase_and_no_other(checkout: Checkout, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    root = checkout(slow=DETACHED.format(pid=str(pid_file)))
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)  # python -m pytest postgres"])
    runner = subprocess.Popen([sys.executable, "-c", STARTED_IN, str(root)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: pid_file.exists() and pid_file.read_text() != "")
        detached = psutil.Process(int(pid_file.read_text()))
        runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 130
        wait_for(lambda: not detached.is_running() or detached.status() == psutil.STATUS_ZOMBIE)
        assert bystander.poll() is None
        assert not (root / "var" / "batches.json").exists()
    finally:
        bystander.kill()
        bystander.wait()
        if runner.poll() is None:
            runner.send_signal(signal.SIGINT)
            runner.wait(60)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "arguments",
    [["--only", "nothing"], ["--workers", "5"], ["--tier", "3"], ["--from", "reports", "--only", "reports"]],
)
def test_a_wrong_call_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_batches.main(arguments)
    assert caught.value.code == 2
    assert "error: argument" in capsys.readouterr().err


def test_a_damaged_progress_file_is_named(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    root = checkout(bad=FAILING)
    (root / "var").mkdir()
    (root / "var" / "batches.json").write_text("[{")
    assert run_batches.main([]) == 2
    assert "batches.json cannot be read" in capsys.readouterr().err


def test_a_phase_without_files_is_named(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    root = checkout(bad=FAILING)
    (root / "tests" / "test_bad.py").unlink()
    assert run_batches.main([]) == 2
    assert "phase bad: no file matches tests/test_bad.py" in capsys.readouterr().err


def test_from_starts_in_the_middle_and_a_tier_is_split_by_agent() -> None:
    names = [phase.name for phase in PHASES]
    options = run_batches.options_of(["--from", "reports"])
    assert [phase.name for phase in run_batches.chosen_phases(options)] == names[names.index("reports") :]
    tiers = {tier: run_batches.chosen_phases(run_batches.options_of(["--tier", str(tier)])) for tier in (2,)}
    assert [phase.name for phase in tiers[2]] == [f"tier2-{name}" for name, tier in AGENT_TIERS.items() if tier == 2]
    assert "tier2 and not slow" in " ".join(run_batches.command(tiers[2][0], 2, Path("counts.xml")))


def test_every_default_test_file_is_in_exactly_one_phase() -> None:
    tests = ROOT / "tests"
    planned = [file for phase in PHASES for pattern in phase.paths.split() for file in matched(tests, pattern)]
    slow = {name for name, markers in FOLDER_MARKERS.items() if "slow" in markers}
    present = [file for file in tests.rglob("test_*.py") if file.relative_to(tests).parts[0] not in slow]
    assert sorted(planned) == sorted(present)


def matched(tests: Path, pattern: str) -> list[Path]:
    found = [file for path in tests.glob(pattern) for file in (path.rglob("test_*.py") if path.is_dir() else [path])]
    assert found, pattern
    return found


def test_end_to_end_tests_do_not_overlap() -> None:
    call = run_batches.command(next(phase for phase in PHASES if phase.name == "end-to-end"), 4, Path("counts.xml"))
    assert call[call.index("-n") + 1] == "0"
    others = run_batches.command(PHASES[0], 4, Path("counts.xml"))
    assert others[others.index("-n") + 1] == "4"
    assert {"--dist=loadscope", "--maxfail=3"} <= set(others)


def test_no_process_is_ended_by_name() -> None:
    sources = [(ROOT / "scripts" / name).read_text() for name in ("run_batches.py", "process_family.py")]
    assert not any(word in source for source in sources for word in ("pkill", "killall", ".name()", "cmdline"))
