"""A process that logs numbered spans, or delivers what others left, until it is done or something ends it.

``python -m tests.faults.span_child`` forks one such process per command on standard input (a JSON object a line)
and prints its id. With a command as argument it is that process itself.

What a process knows goes line by line to the command's ``evidence`` file, so that nothing of it dies with the
process: ``S number`` before a span is opened, ``A number span-id`` once ``accepted()`` said that the spool has it,
``D status`` at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import httpx  # noqa: F401 - imported once, before the forks
import psycopg  # noqa: F401

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing import opik_sink  # noqa: F401
from src.mlops.tracing.configuration import ObservabilityConfig, load_observability_config
from tests.faults.crash_points import CRASH_POINTS, _write
from tests.faults.full_disk import DISKS
from tests.faults.numbered import log_work, numbers_of

FOREVER = 1_000_000
REPLAY_PATIENCE_S = 60.0


class Command(TypedDict, total=False):
    """What one process does; ``spool`` and ``evidence`` are needed."""

    do: str
    label: str
    spool: str
    evidence: str
    dsn: str
    settings: dict[str, Any]
    pieces: int
    group: int
    pause_s: float
    crash: tuple[str, int]
    disk: str
    clock: str
    leave: str
    flush_s: float
    bounded: bool


class Evidence:
    """Lines that survive the process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, line: str) -> None:
        _write(self._file, f"{line}\n".encode())


def _connector(command: Command) -> OpikConnector:
    config: ObservabilityConfig = load_observability_config(environ={}).changed(command.get("settings", {}))
    clock = _CLOCKS[command.get("clock", "steady")]
    connector = OpikConnector(config, spool=Path(command["spool"]), wall_ns=clock)
    if dsn := command.get("dsn"):
        connector.use_database(lambda: dsn)
    return connector


def _stepping() -> Callable[[], int]:
    steps: Iterator[int] = iter(int(3.6e12 * (-1) ** step * (step % 3)) for step in range(FOREVER))
    lock = threading.Lock()

    def now() -> int:
        with lock:
            return time.time_ns() + next(steps)

    return now


_CLOCKS: dict[str, Callable[[], int]] = {"steady": time.time_ns, "stepping": _stepping()}


async def _log(connector: OpikConnector, command: Command, evidence: Evidence) -> None:
    """Pieces of work in groups; a group is acknowledged as a whole."""
    label, group = command.get("label", "a"), command.get("group", 4)
    refused = [0]
    for first in range(0, command.get("pieces", FOREVER), group):
        acknowledged: list[str] = []
        for sequence in range(first, min(first + group, command.get("pieces", FOREVER))):
            for number in numbers_of(label, sequence):
                evidence.say(f"S {number}")
            acknowledged += (f"A {number} {identity}" for number, identity in log_work(connector, label, sequence))
        if await connector.accepted() and not (command.get("bounded") and _refused_more(connector, refused)):
            evidence.say("\n".join(acknowledged))
        await asyncio.sleep(command.get("pause_s", 0.0))


def _refused_more(connector: OpikConnector, before: list[int]) -> bool:
    """Whether the spool had no room for something since the last question."""
    known, before[0] = before[0], connector.get_status()["refused"]
    return before[0] > known


async def _log_twice(connector: OpikConnector, command: Command, evidence: Evidence) -> None:
    """Two tasks, so that groups of several writers mix."""
    label = command.get("label", "a")
    both = [Command(**{**command, "label": f"{label}{task}"}) for task in "xy"]
    await asyncio.gather(*(_log(connector, one, evidence) for one in both))


async def _log_in_family(connector: OpikConnector, command: Command, evidence: Evidence) -> None:
    """Log, fork in the middle of it, log in parent and child; the parent ends first."""
    await _log(connector, {**command, "label": f"{command['label']}before"}, evidence)
    queued = f"{command['label']}queued"
    evidence.say("\n".join(f"S {number}" for sequence in range(20) for number in numbers_of(queued, sequence)))
    for sequence in range(20):
        list(log_work(connector, queued, sequence))
    child = os.fork()  # with spans in memory that are the parent's to write
    if child == 0:
        # No event loop survives a fork; what the loop's thread pool queued is the parent's.
        _in_new_loop(_log(connector, {**command, "label": f"{command['label']}child", "pause_s": 0.1}, evidence))
        connector.close(5.0)
        evidence.say("D " + json.dumps({"child": os.getpid()}))
        os._exit(0)
    evidence.say(f"F {child}")
    await _log(connector, {**command, "label": f"{command['label']}parent"}, evidence)


def _in_new_loop(work: Any) -> None:
    def run() -> None:
        asyncio.run(work)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


async def _replay(connector: OpikConnector, command: Command, evidence: Evidence) -> None:
    """Deliver until nothing waits any more."""
    deadline = time.monotonic() + command.get("flush_s", REPLAY_PATIENCE_S)
    while not await connector.flush(max(deadline - time.monotonic(), 0.1)):
        if time.monotonic() >= deadline:
            break


_WORK = {"log": _log, "log_twice": _log_twice, "log_in_family": _log_in_family, "replay": _replay}


def run(command: Command) -> None:
    """Do what the command says, and leave the way it says: close, return (atexit) or stay until killed."""
    for at, nth in [command["crash"]] if "crash" in command else []:
        CRASH_POINTS[at](nth)
    if "disk" in command:
        DISKS[command["disk"]]()
    evidence = Evidence(command["evidence"])
    connector = _connector(command)
    asyncio.run(_WORK[command.get("do", "log")](connector, command, evidence))
    leave = command.get("leave", "close")
    if leave == "stay":
        signal.pause()
    if leave == "close":
        connector.close(command.get("flush_s", REPLAY_PATIENCE_S))
        evidence.say("D " + json.dumps(connector.get_status()))


def _fork(command: Command) -> int:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            run(command)
        except BaseException as error:  # noqa: BLE001 - the edge of this process
            Evidence(command["evidence"]).say(f"E {type(error).__name__}: {error}")
            os._exit(1)
        os._exit(0)
    return pid


def _serve() -> None:
    # The kernel clears away those that ended; whoever asked follows them by their id.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(f"{_fork(json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(json.loads(sys.argv[1]))
    else:
        _serve()
