"""How is work spread over several workers, here or elsewhere?"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol

from src.errors import ConfigError

SCHEDULER_VARIABLE = "E2I_DASK_SCHEDULER"
WORKER_LOST = "WorkerLost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one task ended: its ``value``, or what went wrong in words. ``worker_lost``: the worker died under it."""

    index: int
    value: Any = None
    error_type: str | None = None
    error_message: str | None = None
    worker_lost: bool = False

    @property
    def ok(self) -> bool:
        """Whether the task returned."""
        return self.error_type is None


class Executor(Protocol):
    """Runs a function of a module on each argument, in other processes.

    ``function`` and arguments must be picklable. The death of a worker ends its task only.
    """

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        ...

    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> AsyncIterator[Outcome]:
        """Outcomes as the tasks end, in any order. Raises RuntimeError once the executor is closed."""
        ...


def open_executor(workers: int = 1, *, scheduler: str | None = None) -> AbstractAsyncContextManager[Executor]:
    """Dask's scheduler at ``scheduler`` (default: E2I_DASK_SCHEDULER), otherwise ``workers`` local processes.

    Raises ConfigError for fewer than one worker, and, on entering, where Dask is not installed or its address is
    none; ServiceOutage, on entering, for a scheduler that does not answer.
    """
    from src.execution.dask_cluster import open_dask
    from src.execution.local import open_local

    if workers < 1:
        raise ConfigError(f"{workers} workers cannot do anything; name at least 1")
    address = os.environ.get(SCHEDULER_VARIABLE, "") if scheduler is None else scheduler
    return open_dask(address) if address else open_local(workers)


def answer(function: Callable[[Any], Any], argument: Any) -> bytes:
    """Do a task, in the worker: what came of it, pickled, a failure as its type and message."""
    try:
        return bytes(ForkingPickler.dumps((True, function(argument), None)))
    except Exception as error:  # noqa: BLE001 - the edge of the process: the failure is the answer
        return failure(error)


def failure(error: Exception) -> bytes:
    """The answer to a task that raised."""
    return bytes(ForkingPickler.dumps((False, type(error).__name__, str(error))))


def outcome_of(index: int, answered: bytes) -> Outcome:
    """The outcome that an ``answer`` is; a value that cannot be read here is the failure of its task."""
    try:
        ok, value, message = ForkingPickler.loads(answered)
    except Exception as error:  # noqa: BLE001 - what unpickling runs is the value's own code
        said = f"its result cannot be read here: {type(error).__name__}: {error}"
        return task_failed(index, "UnpicklingError", said)
    return Outcome(index, value) if ok else task_failed(index, value, message)


def task_lost(index: int, how: str) -> Outcome:
    """The outcome of a task under which its worker died."""
    message = f"the worker died while it ran this task ({how}); the other tasks went on"
    return Outcome(index, error_type=WORKER_LOST, error_message=message, worker_lost=True)


def task_failed(index: int, error_type: str, message: str) -> Outcome:
    """The outcome of a task that raised."""
    lines = message.strip().splitlines()
    return Outcome(index, error_type=error_type, error_message=lines[0] if lines else error_type)
