"""Does numeric work stay on one core, however many begin and end beside it?"""

from __future__ import annotations

import asyncio
import threading

import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController, threadpool_limits

from src.agents.computing import in_thread

WAIT_S = 5.0


def cores() -> set[int]:
    """Threads that linear algebra may use now."""
    return {one.num_threads for one in ThreadpoolController().lib_controllers if one.user_api == "blas"}


async def test_work_that_goes_on_stays_on_one_core_when_other_work_ends() -> None:
    others_ended = threading.Event()

    def long() -> set[int]:
        assert others_ended.wait(WAIT_S)
        return cores()

    going_on = asyncio.create_task(in_thread(long))
    began = [await in_thread(cores) for _ in range(5)]
    others_ended.set()
    assert [*began, await going_on] == [{1}] * 6


async def test_work_is_on_one_core_after_somebody_else_lifted_the_limit() -> None:
    def lift() -> None:
        with threadpool_limits(limits=2, user_api="blas"):
            pass

    await in_thread(cores)
    threading.Thread(target=lift).start()
    assert await in_thread(cores) == {1}
