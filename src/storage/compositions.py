"""How were composed questions planned, carried out and answered, and which plans may be used again?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from src.storage.database import Database, Row, Session, json_value


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan as JSON, and how often it was used with and without success."""

    plan_id: str
    plan: Mapping[str, Any]
    successes: int
    failures: int


@dataclass(frozen=True, slots=True)
class CompositionStep:
    """One step of a composition; ``status`` success, failed or skipped. Latency in ms."""

    ordinal: int
    tool: str
    status: str
    depends_on: tuple[int, ...] = ()
    inputs: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    error_type: str | None = None
    error_message: str | None = None
    attempts: int = 1
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Composition:
    """One composed answer; ``status`` completed, partial or failed. Confidence in 0–1, latencies in ms by phase."""

    trace_id: str
    query: str
    status: str
    answer: str | None = None
    confidence: float | None = None
    caveats: Sequence[str] = ()
    plan_id: str | None = None
    sub_questions: int = 0
    tools_used: int = 0
    retries: int = 0
    phase_ms: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[CompositionStep, ...] = ()
    created_at: datetime | None = None

    @property
    def composition_id(self) -> str:
        """The id: one per trace."""
        return composition_id(self.trace_id)


def composition_id(trace_id: str) -> str:
    """The id of a trace's composition."""
    return str(uuid5(NAMESPACE_URL, f"composition/{trace_id}"))


PHASES = ("decompose", "plan", "execute", "synthesize")
_FIND = """
SELECT plan_id, plan, success_count, failure_count FROM composer_plans
WHERE query_sha256 = %s AND success_count >= failure_count
"""
_KEEP = """
INSERT INTO composer_plans AS kept
    (query_sha256, plan, success_count, failure_count, last_used_at, last_composition_id)
VALUES (%(key)s, %(plan)s, %(won)s, %(lost)s, now(), %(composition)s)
ON CONFLICT (query_sha256) DO UPDATE SET
    success_count = CASE WHEN kept.plan = EXCLUDED.plan THEN kept.success_count ELSE 0 END + CASE
        WHEN kept.plan = EXCLUDED.plan AND kept.last_composition_id = EXCLUDED.last_composition_id THEN 0
        ELSE EXCLUDED.success_count END,
    failure_count = CASE WHEN kept.plan = EXCLUDED.plan THEN kept.failure_count ELSE 0 END + CASE
        WHEN kept.plan = EXCLUDED.plan AND kept.last_composition_id = EXCLUDED.last_composition_id THEN 0
        ELSE EXCLUDED.failure_count END,
    plan = EXCLUDED.plan,
    last_used_at = now(),
    last_composition_id = EXCLUDED.last_composition_id
RETURNING plan_id
"""
_COUNTED = "SELECT 1 FROM composer_compositions WHERE composition_id = %s AND plan_id IS NOT NULL"
_STEP_COLUMNS = (
    "ordinal", "tool", "depends_on", "inputs", "output", "status", "error_type", "error_message", "attempts",
    "latency_ms",
)  # fmt: skip


class CompositionRepository:
    """Writes and reads ``composer_plans``, ``composer_compositions`` and ``composer_steps``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, query_sha256: str) -> StoredPlan | None:
        """The plan of that question, if it has not failed more often than it succeeded."""
        row = await self._database.fetchrow(_FIND, (query_sha256,))
        if row is None:
            return None
        return StoredPlan(str(row["plan_id"]), row["plan"], row["success_count"], row["failure_count"])

    async def keep(
        self, query_sha256: str, plan: Mapping[str, Any], *, succeeded: bool, composition_id: str | None = None
    ) -> str:
        """Count a use of a plan and return its id; another plan for the question begins at nought.

        A composition counts once, also when it is carried out again after an interruption before its rows were stored.
        """
        async with self._database.transaction() as session:
            counts = composition_id is None or await session.fetchrow(_COUNTED, (composition_id,)) is None
            row = await session.fetchrow(
                _KEEP,
                {
                    "key": query_sha256,
                    "plan": json_value(dict(plan)),
                    "won": int(counts and succeeded),
                    "lost": int(counts and not succeeded),
                    "composition": composition_id,
                },
            )
        assert row is not None  # an upsert always returns its row
        return str(row["plan_id"])

    async def add(self, composition: Composition) -> None:
        """Store a composition with its steps, all or nothing; one of the same trace is replaced."""
        values = _values(composition)
        columns, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
        replaced = ", ".join(f"{name} = EXCLUDED.{name}" for name in values if name != "composition_id")
        async with self._database.transaction() as session:
            await session.execute(
                f"INSERT INTO composer_compositions ({columns}) VALUES ({places}) "
                f"ON CONFLICT (composition_id) DO UPDATE SET {replaced}",
                values,
            )
            await session.execute("DELETE FROM composer_steps WHERE composition_id = %s", (values["composition_id"],))
            for step in composition.steps:
                await _add_step(session, values["composition_id"], step)

    async def composition(self, trace_id: str) -> Composition | None:
        """The composition of a trace with its steps in order; None where there is none."""
        identity = composition_id(trace_id)
        row = await self._database.fetchrow(
            "SELECT * FROM composer_compositions WHERE composition_id = %s", (identity,)
        )
        if row is None:
            return None
        steps = await self._database.fetch(
            "SELECT * FROM composer_steps WHERE composition_id = %s ORDER BY ordinal", (identity,)
        )
        return _composition(row, steps)


async def _add_step(session: Session, identity: str, step: CompositionStep) -> None:
    values = {name: getattr(step, name) for name in _STEP_COLUMNS}
    values |= {
        "composition_id": identity,
        "depends_on": list(step.depends_on),
        "inputs": None if step.inputs is None else json_value(dict(step.inputs)),
        "output": None if step.output is None else json_value(dict(step.output)),
    }
    columns, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    await session.execute(f"INSERT INTO composer_steps ({columns}) VALUES ({places})", values)


def _values(composition: Composition) -> dict[str, Any]:
    return {
        "composition_id": composition.composition_id,
        "trace_id": composition.trace_id,
        "query": composition.query,
        "answer": composition.answer,
        "confidence": composition.confidence,
        "caveats": json_value(list(composition.caveats)),
        "plan_id": composition.plan_id,
        "status": composition.status,
        "sub_questions": composition.sub_questions,
        "tools_used": composition.tools_used,
        "retries": composition.retries,
        **{f"{phase}_latency_ms": composition.phase_ms.get(phase) for phase in PHASES},
    }


def _composition(row: Row, steps: Sequence[Row]) -> Composition:
    names = ("trace_id", "query", "status", "answer", "confidence", "sub_questions", "tools_used", "retries")
    phases = {phase: row[f"{phase}_latency_ms"] for phase in PHASES}
    return Composition(
        **{name: row[name] for name in names},
        caveats=tuple(row["caveats"]),
        plan_id=None if row["plan_id"] is None else str(row["plan_id"]),
        phase_ms={phase: spent for phase, spent in phases.items() if spent is not None},
        steps=tuple(_step(step) for step in steps),
        created_at=row["created_at"],
    )


def _step(row: Row) -> CompositionStep:
    return CompositionStep(**{name: row[name] for name in _STEP_COLUMNS} | {"depends_on": tuple(row["depends_on"])})
