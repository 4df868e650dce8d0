"""What happened to a change, hop by hop, each once, and has anybody altered the record?"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.domain.improvement import ActionStatus, Hop, digest
from src.errors import RunNotFound
from src.storage.database import Database, Row, Session
from src.storage.improvement_actions import ACTION_COLUMNS
from src.storage.json_columns import json_column

Effect = Callable[[Session], Awaitable[None]]
_KEYS = ("action_id", "component", "idempotency_key", "created_at", "status", "cycle_id")
CHANGEABLE = frozenset(ACTION_COLUMNS) - set(_KEYS)
"""Columns of an action that a hop may write beside its status."""
_JSON = ("before_config", "after_config")
_ARRAYS = {"knowledge_ids": "uuid[]", "evidence_ids": "text[]"}


@dataclass(frozen=True, slots=True)
class RecordedHop:
    """One entry of the ledger. ``status`` is the action's after it; digests are SHA-256 (hex).

    ``parent_sha256`` is of what was in use, ``content_sha256`` of the change. ``evidence`` holds what the hop rests on:
    diff, digests of data, judge and prompt, scores with intervals, spend.
    """

    action_id: str
    sequence: int
    hop: Hop
    attempt: int
    status: ActionStatus
    actor: str
    parent_sha256: str | None
    content_sha256: str | None
    evidence: Mapping[str, Any]
    happened_at: datetime
    previous_sha256: str
    entry_sha256: str


_HOPS = ", ".join(field.name for field in dataclasses.fields(RecordedHop))
_LOCKED = "SELECT before_config, after_config FROM improvement_actions WHERE action_id::text = %s FOR UPDATE"
_KNOWN = "SELECT 1 FROM improvement_hops WHERE action_id = %s AND hop = %s AND attempt = %s"
_APPENDED = (
    "SELECT append_improvement_hop(%(action_id)s, %(hop)s, %(attempt)s, %(actor)s, %(before)s, %(after)s,"
    " %(evidence)s, %(at)s)"
)
_READ = f"SELECT {_HOPS} FROM improvement_hops WHERE action_id::text = %s ORDER BY sequence"


class HopLedger:
    """Carries out hops of changes and records them, both or neither, in ``improvement_hops``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self,
        action_id: str,
        hop: Hop,
        *,
        status: ActionStatus | None,
        changes: Mapping[str, Any],
        evidence: Mapping[str, Any],
        actor: str,
        attempt: int = 1,
        within: Effect | None = None,
        at: datetime | None = None,
        session: Session | None = None,
    ) -> bool:
        """Do a hop once: its effect ``within`` the transaction, the action's columns and status, the entry.

        Returns False, and does nothing, where the hop is in the ledger; of two that do it at once one waits for the
        other. ``status`` None leaves the action's. Only ``tested`` and ``measured`` have a second ``attempt``. ``at``
        is by default the database's time. With a ``session`` the hop is part of its transaction. ``within`` may still
        fill ``changes`` and ``evidence``; what it raises is raised, and nothing is kept. Raises ValueError for columns
        that no hop may write and evidence that is not JSON, RunNotFound for an unknown action.
        """
        if unknown := sorted(set(changes) - CHANGEABLE):
            raise ValueError(f"a hop does not write {', '.join(unknown)}")
        entry: dict[str, Any] = {"action_id": action_id, "hop": hop.value, "attempt": attempt, "actor": actor, "at": at}
        if session is None:
            async with self._database.transaction() as own:
                return await self.record(
                    action_id, hop, status=status, changes=changes, evidence=evidence, actor=actor, attempt=attempt,
                    within=within, at=at, session=own,
                )  # fmt: skip
        if await session.fetchrow(_LOCKED, (action_id,)) is None:
            raise RunNotFound(f"there is no action {action_id}; 'e2i improve history' lists them")
        if await session.fetchrow(_KNOWN, (action_id, hop.value, attempt)) is not None:
            return False
        if within is not None:
            await within(session)
        await _change(session, action_id, status, changes)
        contents = await session.fetchrow(_LOCKED, (action_id,)) or {}
        digests = {"before": _sha256(contents, "before_config"), "after": _sha256(contents, "after_config")}
        await session.execute(_APPENDED, entry | digests | {"evidence": json_column(evidence)})
        return True

    async def hops(self, action_id: str) -> tuple[RecordedHop, ...]:
        """The entries of an action in their order."""
        rows = await self._database.fetch(_READ, (action_id,))
        return tuple(
            RecordedHop(**row | {"hop": Hop(row["hop"]), "status": ActionStatus(row["status"])}) for row in rows
        )

    async def verify(self, action_id: str) -> bool:
        """Whether the entries are those that were appended: none altered, none missing, also at the end."""
        row = await self._database.fetchrow("SELECT verify_improvement_hops(%s) AS intact", (action_id,))
        return bool(row and row["intact"])


async def _change(session: Session, action_id: str, status: ActionStatus | None, changes: Mapping[str, Any]) -> None:
    values: dict[str, Any] = {
        name: json_column(value) if name in _JSON and value is not None else value for name, value in changes.items()
    }
    values |= {name: list(values[name]) for name in _ARRAYS if name in values}
    parts = [f"{name} = %({name})s" + (f"::{_ARRAYS[name]}" if name in _ARRAYS else "") for name in values]
    if status is not None:
        values["status"] = status.value
        parts.append("status = %(status)s")
    if parts:
        await session.execute(
            f"UPDATE improvement_actions SET {', '.join(parts)} WHERE action_id = %(action_id)s",
            values | {"action_id": action_id},
        )


def _sha256(row: Row, column: str) -> str | None:
    return None if row.get(column) is None else digest(row[column])
