"""How are many samples worked on at once, in their order, without one harming the others?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")
OnProgress = Callable[[int, int], None]
"""Takes how many are done, and of how many."""


async def in_parallel(
    items: Sequence[Item],
    work: Callable[[Item], Awaitable[Value]],
    *,
    max_concurrent: int,
    on_done: Callable[[Value], Awaitable[None]] | None = None,
    on_progress: OnProgress | None = None,
) -> list[Value]:
    """Results in the order of ``items``; exactly ``max_concurrent`` are under way while that many remain.

    ``on_done`` is awaited for each result as it comes, one at a time. The first exception ends the others.
    """
    results: dict[int, Value] = {}
    waiting = iter(list(enumerate(items)))
    one_at_a_time = asyncio.Lock()

    async def worker() -> None:
        for index, item in waiting:
            results[index] = await work(item)
            if on_done is not None:
                async with one_at_a_time:
                    await on_done(results[index])
            if on_progress is not None:
                on_progress(len(results), len(items))

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(max_concurrent, len(items))):
                workers.create_task(worker())
    except BaseExceptionGroup as group:
        raise _first(group) from None
    if len(results) < len(items):
        raise asyncio.CancelledError  # a task group takes a worker that was cancelled for one that is done
    return [results[index] for index in range(len(items))]


def _first(group: BaseExceptionGroup) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
