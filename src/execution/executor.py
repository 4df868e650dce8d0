"""How is work spread over several workers, here or elsewhere?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol


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
        """Outcomes as the tasks end, in any order."""
        ...


def open_executor(workers: int = 1, *, scheduler: str | None = None) -> AbstractAsyncContextManager[Executor]:
    """Dask's scheduler at ``scheduler`` (default: E2I_DASK_SCHEDULER), otherwise ``workers`` local processes."""
    raise NotImplementedError
