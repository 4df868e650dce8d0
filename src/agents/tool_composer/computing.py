"""How does heavy numeric work run beside the event loop, on one core each and to the same numbers?"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

Value = TypeVar("Value")

_lock = threading.Lock()
_running = 0
_blas: Any = None


async def in_thread(work: Callable[[], Value]) -> Value:
    """Run ``work`` in a thread, with linear algebra on one core: sums in the same order give the same bits.

    When the caller is cancelled the thread goes on to its end, and nobody gets its result.
    """

    def alone() -> Value:
        with _one_core():
            return work()

    return await asyncio.to_thread(alone)


@contextmanager
def _one_core() -> Iterator[None]:
    """OpenMP's limit belongs to a thread, that of linear algebra to the process: the last one to end lifts it."""
    global _running, _blas
    controller = ThreadpoolController()
    with _lock:
        _running += 1
        if _running == 1:
            _blas = controller.limit(limits=1, user_api="blas")
    try:
        with controller.limit(limits=1, user_api="openmp"):
            yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0:
                _blas.restore_original_limits()
                _blas = None
