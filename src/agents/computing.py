"""How does heavy numeric work run beside the event loop, on one core each and to the same numbers?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import get_cached_controller, threadpool_limits

Value = TypeVar("Value")

# OpenBLAS has one number of threads for the process, and threadpoolctl lets one thread at a time set it: of workers
# that set it each for itself, the first would lift it for all when it ends. So one thread sets it, and never lifts it.
_keeper = ThreadPoolExecutor(1, "e2i-one-core")


async def in_thread(work: Callable[[], Value]) -> Value:
    """Run ``work`` in a thread, with linear algebra on one core: sums in the same order give the same bits.

    When the caller is cancelled the thread goes on to its end, and nobody gets its result.
    """

    def alone() -> Value:
        with one_core():
            return work()

    return await asyncio.to_thread(alone)


@contextmanager
def one_core() -> Iterator[None]:
    """Compute on one core: OpenMP's limit belongs to this thread, that of linear algebra stays for the process."""
    controller = get_cached_controller()
    if any(one.user_api == "blas" and one.num_threads != 1 for one in controller.lib_controllers):
        _keeper.submit(_limit).result()
    with controller.limit(limits=1, user_api="openmp"):
        yield


def _limit() -> None:
    # What is loaded later would have as many threads as there are cores.
    import scipy.linalg  # noqa: F401

    threadpool_limits(limits=1, user_api="blas")
