"""Run one e2i command and kill this process at a call: asking_child.py MODULE:CLASS.METHOD before|after ARGUMENT..."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def kill_at(place: str, when: str) -> None:
    """Have the process end, as by kill -9, before or after the first call of a coroutine method."""
    module, _, name = place.partition(":")
    owner, _, method = name.partition(".")
    holder = getattr(importlib.import_module(module), owner)
    setattr(holder, method, _deadly(getattr(holder, method), when))


def _deadly(method: Callable[..., Any], when: str) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(*args: Any, **named: Any) -> Any:
        if when == "after":
            await method(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return call


if __name__ == "__main__":
    from src.cli.main import main

    kill_at(sys.argv[1], sys.argv[2])
    sys.argv = ["e2i", *sys.argv[3:]]
    main()
