"""What does a process see of a disk that is full? Installed in the child process only."""

from __future__ import annotations

import errno
import os
import pathlib
import resource
from collections.abc import Callable
from typing import Any, NoReturn

from tests.faults.crash_points import is_segment

ROOM = 20_000
REFUSALS = 6
_write, _write_bytes = os.write, pathlib.Path.write_bytes


class SmallDisk:
    """Takes ``room`` bytes of segments, a part of a write included, then refuses everything ``refusals`` times."""

    def __init__(self, room: int, refusals: float) -> None:
        self._room = room
        self._refusals = refusals

    def write(self, file: int, data: Any) -> int:
        """As ``os.write`` on a disk of this size."""
        if not is_segment(file):
            return _write(file, data)
        part = min(len(data), self._room)
        if part == 0:
            self._refuse()
        self._room -= part
        return _write(file, bytes(data)[:part])

    def write_bytes(self, path: pathlib.Path, data: bytes) -> int:
        """As ``Path.write_bytes``: the ledger lies on the same disk."""
        if self._room == 0:
            self._refuse()
        return _write_bytes(path, data)

    def _refuse(self) -> NoReturn:
        self._refusals -= 1
        if self._refusals <= 0:
            self._room = 1 << 40
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _installed(refusals: float) -> Callable[[], None]:
    def install() -> None:
        disk = SmallDisk(ROOM, refusals)
        os.write = disk.write
        setattr(pathlib.Path, "write_bytes", lambda path, data: disk.write_bytes(path, data))  # noqa: B010

    return install


def _limited_files() -> None:
    """The kernel itself cuts a write off in the middle and refuses the rest."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))


DISKS: dict[str, Callable[[], None]] = {
    "full for a while": _installed(REFUSALS),
    "full for good": _installed(float("inf")),
    "limited by the kernel": _limited_files,
}
