"""Which processes did a command start, how much memory do they hold, and how are exactly these ended?"""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import psutil

MARK = "E2I_BATCH"
GRACE_SECONDS = 20


class ProcessFamily:
    """Context manager around a command: leaving it early ends the command with all its descendants.

    A mark in their environment tells descendants that detached themselves, such as a database server.
    """

    def __init__(self, call: list[str], folder: Path, output: BinaryIO) -> None:
        self.mark = uuid.uuid4().hex
        self.child = subprocess.Popen(
            call,
            cwd=folder,
            env={**os.environ, MARK: self.mark},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.exit_code() is None:
            self._end()

    def exit_code(self) -> int | None:
        """Exit code of the command, None while it runs."""
        return self.child.poll()

    def members(self) -> list[psutil.Process]:
        """The command and its descendants that are running."""
        running = list(psutil.process_iter(["environ", "ppid"]))
        own = {p.pid: p for p in running if (p.info["environ"] or {}).get(MARK) == self.mark}
        while more := [p for p in running if p.pid not in own and p.info["ppid"] in own]:
            own.update((p.pid, p) for p in more)
        return list(own.values())

    def resident_mb(self) -> int:
        """Resident memory of all members; pages they share count once for each, so this is an upper bound."""
        total = 0
        for process in self.members():
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total // 2**20

    def _end(self) -> None:
        """Let the command tidy up, then end what is left of it."""
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.terminate()
        for stop in (psutil.Process.terminate, psutil.Process.kill):
            left = self.members()
            for process in left:
                try:
                    stop(process)
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(left, timeout=5)
        self.child.wait()
