"""How does a file appear whole or not at all, whatever kills the process that writes it?

A file under construction is named ``.e2i-*.partial`` and its writer holds an exclusive ``flock``
on it. The lock goes away with the process, so a partial file that can be locked is abandoned.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from src.errors import DataUnavailable

_PATTERNS = (".e2i-*.partial", ".e2i-*.work")


class PartialFile:
    """Context manager: write to ``handle``, then ``commit``; leaving without commit removes the file.

    Raises DataUnavailable when the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path, self.handle = _create_locked(folder)
        self._committed = False

    def commit(self, target: Path) -> None:
        """Make the content durable under ``target`` (same folder), replacing what is there."""
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.path.replace(target)
        self._committed = True
        fsync_folder(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._committed:
            with suppress(FileNotFoundError):
                self.path.unlink()
        self.handle.close()


def remove_abandoned(folder: Path) -> int:
    """Delete partial files and working folders whose owner is gone and return how many there were."""
    return sum(_remove_if_abandoned(path) for pattern in _PATTERNS for path in folder.glob(pattern))


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A folder inside ``parent`` for the duration of the body; ``remove_abandoned`` clears it after a kill."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder = parent / f".e2i-{secrets.token_hex(8)}.work"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Make renames and deletions inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_locked(folder: Path) -> tuple[Path, BinaryIO]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = folder / f".e2i-{secrets.token_hex(8)}.partial"
            handle = path.open("xb")
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Another process may have taken the file for abandoned before it was locked.
            if path.exists():
                return path, handle
            handle.close()
    except OSError as error:
        raise DataUnavailable(f"{folder}: cannot write there ({error.strerror})") from error


def _remove_if_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
