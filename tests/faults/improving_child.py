"""Carries a change from the wish to its confirmation; is killed at the n-th statement that it sends to the database."""

from __future__ import annotations

import asyncio
import os
import signal
from multiprocessing.sharedctypes import Synchronized
from typing import Any
from uuid import UUID, uuid5

import psycopg

from src.domain.improvement import ActionStatus
from src.storage.database import Database
from tests.integration.improvement_loop import Loop, open_loop


def carry(dsn: str, kill_at: int, after: bool, statements: Synchronized[int]) -> None:
    """Go the whole way, or as far as the statement ``kill_at`` (0: never); how many there were is in ``statements``."""
    execute = psycopg.AsyncConnection.execute

    async def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        statements.value += 1
        deadly = statements.value == kill_at
        if deadly and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await execute(self, *arguments, **named)
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    psycopg.AsyncConnection.execute = counted  # type: ignore[method-assign, assignment]
    asyncio.run(_whole_way(dsn))


async def _whole_way(dsn: str) -> None:
    async with Database.open(dsn) as database:
        loop = await open_loop(database)
        action_id = await loop.proposed()
        while "closed" not in await loop.hops(action_id):
            await _next_day(loop, action_id, (await loop.services.actions.get(action_id)).status)
            await loop.pipeline.measure()


async def _next_day(loop: Loop, action_id: str, status: ActionStatus) -> None:
    """People ask, answers are scored, a day goes by."""
    if status is ActionStatus.MEASURING:
        await loop.answer_in_canary(action_id, 10, lambda arm: 3.0)
    elif status is ActionStatus.APPLIED:
        for number in range(20):
            await loop.answer(2, 3.5, session=str(uuid5(UUID(action_id), f"after/{number}")))
    if status is not ActionStatus.PROPOSED:
        loop.clock.pass_hours(25)
