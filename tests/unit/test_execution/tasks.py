"""What the workers of these tests do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def square(x: int) -> int:
    return x * x


def own_pid(_: object) -> int:
    return os.getpid()


def fail_on_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd\nand this is a second line")
    return x


def die_on_odd(x: int) -> int:
    """Odd: killed as the system does when memory runs out, long after the results of others were fetched."""
    if x % 2:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def exit_now(_: object) -> None:
    os._exit(3)


def count_then_die(folder: str) -> None:
    """Leaves a file for every time it was begun."""
    (Path(folder) / f"{time.monotonic_ns()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def meet(arguments: tuple[str, int]) -> int:
    """Waits until as many others as named are here too."""
    folder, others = arguments
    (Path(folder) / f"{os.getpid()}").touch()
    while len(list(Path(folder).iterdir())) < others:
        time.sleep(0.01)
    return os.getpid()


def say_and_sleep(path: str) -> None:
    file = Path(path)
    file.with_suffix(".part").write_text(str(os.getpid()))
    file.with_suffix(".part").rename(file)
    time.sleep(600)


def unsendable(_: object) -> Any:
    return lambda: None


class ReadableElsewhere:
    """Can be sent, and read nowhere but in the process that is named."""

    def __init__(self, reader: int) -> None:
        self.reader = reader

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return _read_by, (self.reader,)


def _read_by(reader: int) -> ReadableElsewhere:
    if os.getpid() != reader:
        raise LookupError("not here")
    return ReadableElsewhere(reader)


def unreadable_if_odd(x: int) -> Any:
    return ReadableElsewhere(os.getpid()) if x % 2 else x
