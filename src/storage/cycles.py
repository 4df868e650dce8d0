"""Which learning cycle runs, and what came of those before?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from src.errors import RunNotFound
from src.storage.database import Database, Row, Session
from src.storage.json_columns import json_column

Trigger = Literal["schedule", "threshold", "manual"]
Ending = Literal["completed", "failed"]


@dataclass(frozen=True, slots=True)
class CognitiveCycle:
    """A row of ``cognitive_cycles``. ``items`` counts answers; ``resumed``: it was running already when started."""

    cycle_id: str
    started_at: datetime
    ended_at: datetime | None
    trigger: Trigger
    items: int
    decision: str | None
    status: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    resumed: bool = False


_COLUMNS = ", ".join(one.name for one in dataclasses.fields(CognitiveCycle) if one.name != "resumed")
_STARTED = f"""
INSERT INTO cognitive_cycles (trigger, started_at) VALUES (%s, coalesce(%s, now()))
ON CONFLICT (status) WHERE status = 'running' DO NOTHING RETURNING {_COLUMNS}
"""
_RUNNING = f"SELECT {_COLUMNS} FROM cognitive_cycles WHERE status = 'running'"
_ENDED = f"SELECT {_COLUMNS} FROM cognitive_cycles WHERE status <> 'running' ORDER BY ended_at DESC, cycle_id LIMIT %s"
_FINISHED = f"""
UPDATE cognitive_cycles SET
    status = %(status)s, decision = %(decision)s, items = %(items)s, summary = %(summary)s,
    ended_at = greatest(coalesce(%(at)s, now()), started_at)
WHERE cycle_id = %(cycle_id)s AND status = 'running' RETURNING {_COLUMNS}
"""


class CycleRepository:
    """Writes and reads ``cognitive_cycles``; at most one runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, trigger: Trigger, *, at: datetime | None = None) -> CognitiveCycle:
        """A new cycle, or the one that runs (its process was killed: the caller is the only leader), as ``resumed``."""
        while True:
            if (row := await self._database.fetchrow(_STARTED, (trigger, at))) is not None:
                return CognitiveCycle(**row)
            if (known := await self.running()) is not None:
                return dataclasses.replace(known, resumed=True)

    async def running(self) -> CognitiveCycle | None:
        """The cycle that runs or was left running by a kill."""
        return _cycle(await self._database.fetchrow(_RUNNING))

    async def last_ended(self) -> CognitiveCycle | None:
        """The cycle that ended last, however it did."""
        found = await self.ended(1)
        return found[0] if found else None

    async def ended(self, limit: int) -> tuple[CognitiveCycle, ...]:
        """Cycles that ended, the last one first."""
        return tuple(CognitiveCycle(**row) for row in await self._database.fetch(_ENDED, (limit,)))

    async def get(self, cycle_id: str) -> CognitiveCycle:
        """A cycle by its id. Raises RunNotFound."""
        row = await self._database.fetchrow(
            f"SELECT {_COLUMNS} FROM cognitive_cycles WHERE cycle_id::text = %s", (cycle_id,)
        )
        if (found := _cycle(row)) is None:
            raise RunNotFound(f"there is no cycle {cycle_id}")
        return found

    async def finish(
        self,
        cycle_id: str,
        *,
        status: Ending,
        decision: str | None,
        items: int,
        summary: Mapping[str, Any],
        at: datetime | None = None,
        session: Session | None = None,
    ) -> CognitiveCycle:
        """End a cycle; one that has ended stays as it is. Raises RunNotFound."""
        values = {"cycle_id": cycle_id, "status": status, "decision": decision, "items": items, "at": at}
        run = session or self._database
        row = await run.fetchrow(_FINISHED, values | {"summary": json_column(summary)})
        return CognitiveCycle(**row) if row is not None else await self.get(cycle_id)


def _cycle(row: Row | None) -> CognitiveCycle | None:
    return None if row is None else CognitiveCycle(**row)
