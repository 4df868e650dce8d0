import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.mlops.processes import is_gone, this_process

NAMES_ITSELF = "from src.mlops.processes import this_process; print(this_process(), flush=True); input()"


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that waits, and how it names itself."""
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", NAMES_ITSELF]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def part(place: int, value: str) -> Callable[[str], str]:
    """What puts another value in one place of a process's name."""

    def changed(name: str) -> str:
        parts = name.split("/")
        return "/".join((*parts[:place], value, *parts[place + 1 :]))

    return changed


def test_a_process_that_runs_is_not_gone_and_one_that_was_killed_is(other: tuple[subprocess.Popen[str], str]) -> None:
    process, name = other
    assert not is_gone(name)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    # Killed, and not yet waited for: it runs nothing any more.
    assert is_gone(name)
    process.wait()
    assert is_gone(name)


def test_another_process_of_the_same_id_is_not_the_one_that_was_named() -> None:
    assert is_gone(part(5, "1")(this_process()))


@pytest.mark.parametrize(
    "changed",
    [part(0, "elsewhere"), part(1, "0123456789ab"), part(3, "pid:[1]"), lambda _: "", lambda _: "a/b/c", part(4, "x")],
    ids=["host", "machine", "namespace", "no name", "not a name", "no id"],
)
def test_of_a_process_that_cannot_be_seen_nothing_is_claimed(changed: Callable[[str], str]) -> None:
    dead = part(5, "1")(this_process())
    assert not is_gone(changed(dead))


def test_a_restart_of_the_machine_is_told_only_where_the_machine_is_known() -> None:
    before = part(2, "an-earlier-boot")(this_process())
    named = part(1, "0123456789ab")(before).split("/")[1] != this_process().split("/")[1]
    assert named
    assert is_gone(before) == bool(this_process().split("/")[1])


def test_a_forked_child_has_a_name_of_its_own() -> None:
    this_process()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, this_process().encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        assert told.read() != this_process()
