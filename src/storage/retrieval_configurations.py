"""Which retrieval settings are active, which were before, and which are on trial?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from src.errors import ContractViolation, DataUnavailable
from src.storage.canaries import RETRIEVAL, variant_of
from src.storage.refusals import refusals

if TYPE_CHECKING:
    from src.storage.database import Database, Row, Session

Arm = Literal["dense", "text", "graph"]
ARMS: tuple[Arm, ...] = ("dense", "text", "graph")
SETTINGS = ("k", "chunk_size", "chunk_overlap", "dense_weight", "text_weight", "graph_weight", "rerank")


@dataclass(frozen=True, slots=True)
class RetrievalConfig:
    """A row of ``retrieval_configurations``: how many chunks, how documents are cut, what each arm counts.

    The weights sum to 1, sizes are in tokens.
    """

    config_id: str
    version: int
    k: int
    chunk_size: int
    chunk_overlap: int
    dense_weight: float
    text_weight: float
    graph_weight: float
    rerank: bool

    def weight(self, arm: Arm) -> float:
        """The weight of an arm in 0–1."""
        return {"dense": self.dense_weight, "text": self.text_weight, "graph": self.graph_weight}[arm]

    @property
    def settings(self) -> Mapping[str, int | float | bool]:
        """What can be changed, without the names of the row: the content of a ``Variant``."""
        return {name: getattr(self, name) for name in SETTINGS}


@dataclass(frozen=True, slots=True)
class RetrievalVersion:
    """Settings with their history. ``status`` as of prompts; ``parent_id`` are the settings in use before."""

    config: RetrievalConfig
    status: str
    parent_id: str | None
    source_action_id: str | None
    activated_at: datetime | None
    activated_by: str | None
    retired_at: datetime | None
    rollback_reason: str | None
    created_at: datetime

    @property
    def active(self) -> bool:
        """Whether they are used now."""
        return self.status == "active"


_COLUMNS = tuple(field.name for field in dataclasses.fields(RetrievalConfig))
_HISTORY = tuple(field.name for field in dataclasses.fields(RetrievalVersion) if field.name != "config")
_VERSION = f"SELECT {', '.join((*_COLUMNS, *_HISTORY))} FROM retrieval_configurations"
_NONE_ACTIVE = "no retrieval configuration is active: activate a row of retrieval_configurations"
_LOCKED = "SELECT pg_advisory_xact_lock(hashtext('retrieval configuration'))"
_ADDED = f"""
INSERT INTO retrieval_configurations (version, source_action_id, parent_id, {", ".join(SETTINGS)})
SELECT (SELECT max(version) + 1 FROM retrieval_configurations), %(action_id)s,
       (SELECT config_id FROM retrieval_configurations WHERE is_active), {", ".join(f"%({one})s" for one in SETTINGS)}
"""
# The active settings in one row with those of the canary that compares them with others.
_FOR_UNIT = f"""
SELECT {", ".join(f"active.{one}" for one in _COLUMNS)}, canary.id AS canary_id, canary.split,
       {", ".join(f"tried.{one} AS tried_{one}" for one in _COLUMNS)}
FROM retrieval_configurations AS active
LEFT JOIN prompt_ab_tests AS canary
    ON canary.component = '{RETRIEVAL}' AND canary.status = 'running' AND canary.control_retrieval = active.version
LEFT JOIN retrieval_configurations AS tried
    ON tried.version = canary.treatment_retrieval AND tried.status IN ('candidate', 'approved')
WHERE active.is_active
"""
_RESTATED = """
UPDATE retrieval_configurations SET status = %(to)s
WHERE version = %(version)s AND status = ANY(%(allowed)s) RETURNING version
"""


async def active_configuration(database: Database) -> RetrievalConfig:
    """The row in use. Raises DataUnavailable when none is active."""
    found = await database.fetch(f"SELECT {', '.join(_COLUMNS)} FROM retrieval_configurations WHERE is_active")
    if not found:
        raise DataUnavailable(_NONE_ACTIVE)
    return RetrievalConfig(**found[0])


class RetrievalConfigRepository:
    """Writes and reads ``retrieval_configurations``; exactly one row is active at every instant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active(self) -> RetrievalConfig:
        """The settings in use. Raises DataUnavailable when none are."""
        return await active_configuration(self._database)

    async def for_unit(self, unit_id: str) -> RetrievalConfig:
        """The settings that a session gets: those of a canary for the units of its share, else the active ones.

        Raises DataUnavailable when none are active.
        """
        row = await self._database.fetchrow(_FOR_UNIT)
        if row is None:
            raise DataUnavailable(_NONE_ACTIVE)
        tried = row["tried_config_id"] is not None
        if tried and variant_of(row["canary_id"], unit_id, row["split"]) == "treatment":
            return RetrievalConfig(**{name: row[f"tried_{name}"] for name in _COLUMNS})
        return _config(row)

    async def versions(self) -> tuple[RetrievalVersion, ...]:
        """All settings there were, oldest first."""
        return tuple(_version(row) for row in await self._database.fetch(f"{_VERSION} ORDER BY version"))

    async def get(self, version: int, *, session: Session | None = None) -> RetrievalVersion:
        """Settings by their number. Raises ContractViolation."""
        row = await (session or self._database).fetchrow(f"{_VERSION} WHERE version = %s", (version,))
        if row is None:
            raise ContractViolation(f"there are no retrieval settings {version}")
        return _version(row)

    async def of_id(self, config_id: str) -> RetrievalVersion:
        """Settings by the id of their row. Raises ContractViolation."""
        row = await self._database.fetchrow(f"{_VERSION} WHERE config_id::text = %s", (config_id,))
        if row is None:
            raise ContractViolation(f"there are no retrieval settings {config_id}")
        return _version(row)

    async def add_candidate(
        self, settings: Mapping[str, Any], *, action_id: str, session: Session | None = None
    ) -> RetrievalVersion:
        """Store settings as the candidate of an action, with the active ones as parent; once for each action.

        ``settings`` hold exactly ``SETTINGS``. Raises ContractViolation for others, psycopg.IntegrityError for values
        out of range.
        """
        if set(settings) != set(SETTINGS):
            raise ContractViolation(f"retrieval settings are {', '.join(SETTINGS)}; given: {', '.join(settings)}")
        if session is None:
            async with self._database.transaction() as own:
                return await self.add_candidate(settings, action_id=action_id, session=own)
        await session.execute(_LOCKED)
        known = f"{_VERSION} WHERE source_action_id::text = %s"
        if (row := await session.fetchrow(known, (action_id,))) is None:
            await session.execute(_ADDED, dict(settings) | {"action_id": action_id})
            row = await session.fetchrow(known, (action_id,))
        assert row is not None
        return _version(row)

    async def approve(self, version: int, *, session: Session | None = None) -> None:
        """A candidate may answer a share of the sessions. Raises ContractViolation for what is no candidate."""
        await self._restate(version, "approved", ("candidate", "approved"), session)

    async def reject(self, version: int, *, session: Session | None = None) -> None:
        """A candidate is not used, ever. Raises ContractViolation for settings that are or were in use."""
        await self._restate(version, "rejected", ("candidate", "approved", "rejected"), session)

    async def activate(self, version: int, actor: str, *, session: Session | None = None) -> RetrievalVersion:
        """Use settings from now on and retire those before, both or neither.

        Raises ContractViolation for unknown, rejected or rolled back ones.
        """
        with refusals():
            await (session or self._database).execute(
                "SELECT activate_retrieval_configuration(%s, %s)", (version, actor)
            )
        return await self.get(version, session=session)

    async def roll_back(
        self, reason: str, *, keep: int | None = None, session: Session | None = None
    ) -> RetrievalVersion:
        """Take the active settings back; returns those before, which are active again, both or neither.

        With ``keep`` only to one of so many that were active last, the active one counted. Raises ContractViolation
        where there is nothing to go back to.
        """
        with refusals():
            row = await (session or self._database).fetchrow(
                "SELECT version FROM rollback_retrieval_configuration(%s, %s)", (reason, keep)
            )
        assert row is not None
        return await self.get(row["version"], session=session)

    async def _restate(self, version: int, to: str, allowed: tuple[str, ...], session: Session | None) -> None:
        values = {"version": version, "to": to, "allowed": list(allowed)}
        if await (session or self._database).fetchrow(_RESTATED, values) is None:
            known = await self.get(version, session=session)
            raise ContractViolation(f"retrieval settings {version} are {known.status} and cannot be {to}")


def _config(row: Row) -> RetrievalConfig:
    return RetrievalConfig(**{name: row[name] for name in _COLUMNS})


def _version(row: Row) -> RetrievalVersion:
    return RetrievalVersion(config=_config(row), **{name: row[name] for name in _HISTORY})
