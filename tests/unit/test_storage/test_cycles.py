"""Does one cycle run at a time, and is one that was killed found again?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.errors import RunNotFound
from src.storage.cycles import CycleRepository
from src.storage.database import Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def finish(repository: CycleRepository, cycle_id: str, **values: Any) -> None:
    known: dict[str, Any] = {"status": "completed", "decision": "AUTO_UPDATE", "items": 7, "summary": {"actions": []}}
    await repository.finish(cycle_id, **known | values)


async def test_a_killed_cycle_is_resumed_not_doubled(fresh: Database) -> None:
    repository = CycleRepository(fresh)
    first = await repository.start("threshold", at=NOON)
    again = await repository.start("schedule")
    assert (first.resumed, again.resumed) == (False, True)
    assert (again.cycle_id, again.trigger, again.started_at) == (first.cycle_id, "threshold", NOON)
    assert (await repository.running()) == first


async def test_of_many_started_at_once_one_is_new(fresh: Database) -> None:
    repository = CycleRepository(fresh)
    started = await asyncio.gather(*(repository.start("manual") for _ in range(6)))
    assert len({one.cycle_id for one in started}) == 1
    assert [one.resumed for one in started].count(False) == 1


async def test_a_finished_cycle_keeps_what_came_of_it(fresh: Database) -> None:
    repository = CycleRepository(fresh)
    cycle = await repository.start("manual", at=NOON)
    await finish(repository, cycle.cycle_id, at=NOON + timedelta(minutes=3))
    await finish(repository, cycle.cycle_id, status="failed", items=0)
    ended = await repository.last_ended()
    assert ended is not None
    assert (ended.status, ended.decision, ended.items, ended.summary) == (
        "completed",
        "AUTO_UPDATE",
        7,
        {"actions": []},
    )
    assert ended.ended_at == NOON + timedelta(minutes=3)
    assert await repository.running() is None
    assert await repository.get(cycle.cycle_id) == ended


async def test_cycles_that_ended_come_last_first(fresh: Database) -> None:
    repository = CycleRepository(fresh)
    assert await repository.last_ended() is None
    for minute in range(3):
        cycle = await repository.start("schedule", at=NOON + timedelta(minutes=minute))
        await finish(repository, cycle.cycle_id, at=NOON + timedelta(minutes=minute), items=minute)
    assert [one.items for one in await repository.ended(2)] == [2, 1]


async def test_an_unknown_cycle_cannot_be_finished(fresh: Database) -> None:
    with pytest.raises(RunNotFound):
        await finish(CycleRepository(fresh), "00000000-0000-4000-8000-000000000000")
