"""At which exact moment does a process die? SIGKILL of itself, at the n-th time it comes to a named place."""

from __future__ import annotations

import os
import pathlib
import random
import signal
from collections.abc import Callable
from typing import Any, NoReturn

from src.mlops.tracing.database_sink import DatabaseSink
from src.mlops.tracing.json_http import JsonHttp

_write = os.write


def die() -> NoReturn:
    """Ends this process at once: nothing is flushed, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived its SIGKILL")


class _Countdown:
    def __init__(self, nth: int) -> None:
        self._left = nth

    def is_over(self) -> bool:
        self._left -= 1
        return self._left == 0


def is_segment(file: int) -> bool:
    """Whether an open file is a segment of the spool."""
    return os.readlink(f"/proc/self/fd/{file}").endswith(".spool")


def _mid_append(nth: int) -> None:
    """A random part of the lines is written."""
    countdown = _Countdown(nth)

    def write(file: int, data: Any) -> int:
        if not is_segment(file) or not countdown.is_over():
            return _write(file, data)
        _write(file, bytes(data)[: random.randrange(len(data))])
        die()

    os.write = write


def _mid_ledger(nth: int) -> None:
    """Half of the next ledger is written."""
    countdown, write_bytes = _Countdown(nth), pathlib.Path.write_bytes

    def write(path: pathlib.Path, data: bytes) -> int:
        if not countdown.is_over():
            return write_bytes(path, data)
        write_bytes(path, data[: len(data) // 2])
        die()

    setattr(pathlib.Path, "write_bytes", write)  # noqa: B010 - mypy refuses the plain assignment


def _around(owner: Any, name: str, *, before: bool = False) -> Callable[[int], None]:
    def install(nth: int) -> None:
        countdown, original = _Countdown(nth), getattr(owner, name)

        def crashing(*arguments: Any, **keywords: Any) -> Any:
            over = countdown.is_over()
            if over and before:
                die()
            result = original(*arguments, **keywords)
            if over:
                die()
            return result

        setattr(owner, name, crashing)

    return install


CRASH_POINTS: dict[str, Callable[[int], None]] = {
    "in the middle of an append": _mid_append,
    "between append and sync": _around(os, "fdatasync", before=True),
    "after sync": _around(os, "fdatasync"),
    "after the database stored": _around(DatabaseSink, "deliver"),
    "before a request": _around(JsonHttp, "call", before=True),
    "after a request was answered": _around(JsonHttp, "call"),
    "in the middle of the ledger": _mid_ledger,
    "before the ledger is replaced": _around(os, "replace", before=True),
    "after the ledger was replaced": _around(os, "replace"),
    "before a segment is removed": _around(os, "unlink", before=True),
    "after a segment was removed": _around(os, "unlink"),
}
