"""Which variant does a session get while two are compared, and how good were the answers of each?"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid4, uuid5

from src.domain.improvement import ChangeKind
from src.errors import ContractViolation, RunNotFound
from src.storage.database import Database, Row, Session
from src.storage.json_columns import json_column

Arm = Literal["control", "treatment"]
Winner = Literal["control", "treatment", "none"]
PLACES = 10_000
RETRIEVAL = "retrieval"
"""The component that retrieval settings belong to."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A row of ``prompt_ab_tests``: what answers all sessions and what answers the share ``split`` of them.

    ``control`` and ``treatment`` are versions of the component's prompt, or of retrieval settings. ``looks`` are the
    analyses made so far. Hours count from ``started_at``; answers are observed since ``recorded_at``, by the
    database's clock.
    """

    canary_id: str
    component: str
    kind: ChangeKind
    control: int
    treatment: int
    split: float
    target_samples: int
    min_per_arm: int
    alpha: float
    min_hours: float
    max_hours: float
    status: str
    winner: Winner | None
    looks: tuple[Mapping[str, Any], ...]
    action_id: str | None
    started_at: datetime
    ended_at: datetime | None
    recorded_at: datetime

    @property
    def running(self) -> bool:
        """Whether sessions are still divided."""
        return self.status == "running"

    def variant_of(self, unit_id: str) -> Arm:
        """The arm of a session, or of the trace of a question outside of any session."""
        return variant_of(self.canary_id, unit_id, self.split)


@dataclass(frozen=True, slots=True)
class Observation:
    """The score of one answer of a unit: rubric points (1–5) for prompts, the RAGAS mean (0–1) for retrieval."""

    unit_id: str
    score: float
    latency_ms: float | None
    trace_id: str | None
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Observations:
    """All observations of a test by arm, oldest first.

    Sessions were divided, not answers: several answers of one session are not independent, its mean is.
    """

    control: tuple[Observation, ...]
    treatment: tuple[Observation, ...]

    def unit_means(self, arm: Arm) -> tuple[float, ...]:
        """The mean score of each unit of an arm, units in the order of their first answers."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for one in self.control if arm == "control" else self.treatment:
            found[one.unit_id].append(one.score)
        return tuple(fmean(scores) for scores in found.values())


def variant_of(canary_id: str, unit_id: str, split: float) -> Arm:
    """The arm of a unit, the same in every process: SHA-256 of "canary:unit" modulo 10 000 against the share."""
    return "treatment" if place_of(canary_id, unit_id) < split * PLACES else "control"


def place_of(canary_id: str, unit_id: str) -> int:
    """Where a unit stands, 0 to 9 999; ``canary_place`` of the database gives the same."""
    return int.from_bytes(hashlib.sha256(f"{canary_id}:{unit_id}".encode()).digest()) % PLACES


_COLUMNS = """
id AS canary_id, component, control_version, treatment_version, control_retrieval, treatment_retrieval, split,
target_samples, min_per_arm, alpha, min_hours, max_hours, status, winner, looks, action_id, started_at, ended_at,
recorded_at
"""
_STARTED = """
INSERT INTO prompt_ab_tests
    (id, component, control_version, treatment_version, control_retrieval, treatment_retrieval, split, target_samples,
     min_per_arm, alpha, min_hours, max_hours, action_id, started_at)
VALUES
    (%(canary_id)s, %(component)s, %(control_version)s, %(treatment_version)s, %(control_retrieval)s,
     %(treatment_retrieval)s, %(split)s, %(target_samples)s, %(min_per_arm)s, %(alpha)s, %(min_hours)s, %(max_hours)s,
     %(action_id)s, coalesce(%(at)s, now()))
ON CONFLICT DO NOTHING
"""
_RECORDED = """
INSERT INTO prompt_ab_observations (test_id, unit_id, variant, score, latency_ms, trace_id, observed_at)
VALUES (%(canary_id)s, %(unit_id)s, %(variant)s, %(score)s, %(latency_ms)s, %(trace_id)s, coalesce(%(at)s, now()))
ON CONFLICT DO NOTHING
"""
_OBSERVED = """
SELECT variant, unit_id, score, latency_ms, trace_id, observed_at FROM prompt_ab_observations
WHERE test_id::text = %s ORDER BY observed_at, id
"""
_LOOKED = """
UPDATE prompt_ab_tests SET
    looks = looks || %(look)s::jsonb, winner = coalesce(%(winner)s, winner),
    status = CASE WHEN %(winner)s::text IS NULL THEN status ELSE 'completed' END,
    ended_at = CASE WHEN %(winner)s::text IS NULL THEN ended_at
                    ELSE greatest(coalesce(%(at)s::timestamptz, now()), started_at) END
WHERE id::text = %(canary_id)s AND status = 'running' AND jsonb_array_length(looks) = %(number)s - 1
"""
_ENDED = """
UPDATE prompt_ab_tests SET
    status = %(status)s, winner = %(winner)s, ended_at = greatest(coalesce(%(at)s, now()), started_at)
WHERE id::text = %(canary_id)s AND status = 'running'
"""


class CanaryRepository:
    """Writes and reads ``prompt_ab_tests`` and ``prompt_ab_observations``; a component has at most one running."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(
        self,
        *,
        component: str,
        kind: ChangeKind,
        control: int,
        treatment: int,
        split: float,
        target_samples: int,
        min_per_arm: int,
        alpha: float,
        min_hours: float,
        max_hours: float,
        action_id: str | None = None,
        at: datetime | None = None,
        session: Session | None = None,
    ) -> Canary:
        """Divide the sessions from now on; that of an action is started once, the second time it is returned.

        Raises ContractViolation for a component with another one running, psycopg.IntegrityError for unknown versions
        and values out of range.
        """
        prompt = kind is ChangeKind.PROMPT
        values = {
            "canary_id": str(uuid5(NAMESPACE_URL, f"canary/{action_id}") if action_id else uuid4()),
            "component": component,
            "control_version": control if prompt else None,
            "treatment_version": treatment if prompt else None,
            "control_retrieval": None if prompt else control,
            "treatment_retrieval": None if prompt else treatment,
            "split": split,
            "target_samples": target_samples,
            "min_per_arm": min_per_arm,
            "alpha": alpha,
            "min_hours": min_hours,
            "max_hours": max_hours,
            "action_id": action_id,
            "at": at,
        }
        await (session or self._database).execute(_STARTED, values)
        found = await self._one("id::text = %s", str(values["canary_id"]), session)
        if found is None:
            raise ContractViolation(f"a canary of {component} is running; it is decided before another starts")
        return found

    async def get(self, canary_id: str, *, session: Session | None = None) -> Canary:
        """A canary by its id. Raises RunNotFound."""
        found = await self._one("id::text = %s", canary_id, session)
        if found is None:
            raise RunNotFound(f"there is no canary {canary_id}")
        return found

    async def running(self, component: str) -> Canary | None:
        """The one that divides a component's sessions now."""
        return await self._one("status = 'running' AND component = %s", component)

    async def of_action(self, action_id: str) -> Canary | None:
        """The one of an action, running or ended."""
        return await self._one("action_id::text = %s", action_id)

    async def collect(self, canary_id: str, *, session: Session | None = None) -> int:
        """Observe the answers evaluated since it began, each once; returns how many are new.

        Counted are the answers of units that were given the variant that is theirs, so that nobody's choice of a
        version is compared. An observed score stays, also when the answer is scored again.
        """
        row = await (session or self._database).fetchrow(
            "SELECT collect_canary_observations(%s) AS collected", (canary_id,)
        )
        return 0 if row is None else int(row["collected"])

    async def record(
        self,
        canary_id: str,
        unit_id: str,
        *,
        variant: Arm,
        score: float,
        latency_ms: float | None = None,
        trace_id: str | None = None,
        at: datetime | None = None,
    ) -> bool:
        """Store one observation; one of the same unit and trace is stored already: False."""
        values = {"canary_id": canary_id, "unit_id": unit_id, "variant": variant, "score": score, "at": at}
        values |= {"latency_ms": latency_ms, "trace_id": trace_id}
        return await self._database.execute(_RECORDED, values) > 0

    async def observations(self, canary_id: str) -> Observations:
        """What was observed so far, by arm."""
        arms: dict[str, list[Observation]] = {"control": [], "treatment": []}
        for row in await self._database.fetch(_OBSERVED, (canary_id,)):
            arms[row.pop("variant")].append(Observation(**row))
        return Observations(tuple(arms["control"]), tuple(arms["treatment"]))

    async def add_look(
        self,
        canary_id: str,
        number: int,
        look: Mapping[str, Any],
        *,
        winner: Winner | None = None,
        at: datetime | None = None,
        session: Session | None = None,
    ) -> bool:
        """Note the analysis ``number`` (from 1); False where it is noted already, or one before it is missing.

        With a ``winner`` the test ends with it, both or neither.
        """
        values = {
            "canary_id": canary_id,
            "number": number,
            "look": json_column([dict(look)]),
            "winner": winner,
            "at": at,
        }
        return await (session or self._database).execute(_LOOKED, values) > 0

    async def end(
        self,
        canary_id: str,
        *,
        winner: Winner,
        status: Literal["completed", "stopped"] = "completed",
        at: datetime | None = None,
        session: Session | None = None,
    ) -> bool:
        """Give everybody the same again; False where it has ended before. ``stopped``: without a decision."""
        values = {"canary_id": canary_id, "winner": winner, "status": status, "at": at}
        return await (session or self._database).execute(_ENDED, values) > 0

    async def _one(self, condition: str, value: str, session: Session | None = None) -> Canary | None:
        row = await (session or self._database).fetchrow(
            f"SELECT {_COLUMNS} FROM prompt_ab_tests WHERE {condition}", (value,)
        )
        return None if row is None else _canary(row)


_SAME = tuple(one.name for one in dataclasses.fields(Canary) if one.name not in ("kind", "control", "treatment"))


def _canary(row: Row) -> Canary:
    prompt = row["control_version"] is not None
    return Canary(
        **{name: row[name] for name in _SAME} | {"looks": tuple(row["looks"])},
        kind=ChangeKind.PROMPT if prompt else ChangeKind.RETRIEVAL,
        control=row["control_version"] if prompt else row["control_retrieval"],
        treatment=row["treatment_version"] if prompt else row["treatment_retrieval"],
    )
