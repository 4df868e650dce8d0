"""Which plans were registered, and which analyses had seen their data before?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from src.domain.registration import PlanChanged, RegisteredPlan, plan_from
from src.errors import RunNotFound
from src.storage.database import Database, Row

_SELECTED = (
    "SELECT plan_id::text AS plan_id, title, dataset, treatment, outcome, document, sha256, before_data,"
    " registered_by, registered_at FROM registered_plans"
)
_ADD = """
INSERT INTO registered_plans
    (plan_id, title, dataset, treatment, outcome, document, sha256, before_data, registered_by, registered_at)
VALUES
    (%(plan_id)s, %(title)s, %(dataset)s, %(treatment)s, %(outcome)s, %(document)s, %(sha256)s, %(before_data)s,
     %(registered_by)s, %(registered_at)s)
"""
# The same data under another id: loaded again from the same place, or under the same name.
_SEEN = """
SELECT run_id::text AS run_id FROM analysis_runs
WHERE request -> 'spec' ->> 'outcome' = %(outcome)s
    AND (dataset_id = %(key)s OR dataset_id IN (
        SELECT d.dataset_id FROM datasets AS d
        WHERE d.name = %(key)s OR d.source = %(key)s
            OR d.source IN (SELECT known.source FROM datasets AS known
                            WHERE known.kind = 'file' AND (known.dataset_id = %(key)s OR known.name = %(key)s))
    ))
ORDER BY started_at
"""
FEWEST_CHARACTERS = 4


class PlanRepository:
    """Writes and reads ``registered_plans``; a plan is never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, plan: RegisteredPlan) -> None:
        """Lock a plan."""
        await self._database.execute(_ADD, _columns(plan) | {"document": plan.document, "sha256": plan.sha256})

    async def get(self, key: str) -> RegisteredPlan:
        """The plan of that id or hash, or of the only one that begins so.

        Raises RunNotFound, and PlanChanged for a plan that is not as it was registered. A run made under a plan
        witnesses its hash: a plan changed together with its hash is found by that.
        """
        wanted = key.strip().lower()
        rows = []
        if len(wanted) >= FEWEST_CHARACTERS and set(wanted) <= set("0123456789abcdef-"):
            query = f"{_SELECTED} WHERE plan_id::text LIKE %(start)s OR sha256 LIKE %(start)s LIMIT 2"
            rows = await self._database.fetch(query, {"start": f"{wanted}%"})
        if len(rows) != 1:
            problem = "several plans begin with" if rows else "there is no plan"
            raise RunNotFound(f"{problem} '{key[:60]}'; 'e2i plans list' lists them")
        plan = _checked(rows[0])
        for run in await self.runs(plan.plan_id):
            if run["sha256"] != plan.sha256:
                raise PlanChanged(
                    f"plan {plan.plan_id[:8]} was changed: run {run['run_id'][:13]} was made under hash "
                    f"{run['sha256'][:12]}, the plan has {plan.sha256[:12]} now; it is not used"
                )
        return plan

    async def recent(self, limit: int) -> Sequence[tuple[RegisteredPlan | None, Row]]:
        """Plans, newest first, each with its row; None in place of one that was changed."""
        rows = await self._database.fetch(f"{_SELECTED} ORDER BY registered_at DESC, plan_id LIMIT %s", (limit,))
        return [(_or_none(row), row) for row in rows]

    async def runs(self, plan_id: str) -> Sequence[Row]:
        """Runs made under a plan, oldest first: run_id, status, verdict, started_at, sha256, deviations."""
        return await self._database.fetch(
            "SELECT run_id::text AS run_id, status, verdict, started_at, understood -> 'plan' ->> 'sha256' AS sha256,"
            " understood -> 'plan' -> 'deviations' AS deviations FROM analysis_runs"
            " WHERE understood -> 'plan' ->> 'plan_id' = %s ORDER BY started_at, run_id",
            (plan_id,),
        )

    async def seen(self, dataset: str, outcome: str) -> tuple[str, ...]:
        """Ids of analyses of ``outcome`` on the dataset of that id, name or source, oldest first."""
        rows = await self._database.fetch(_SEEN, {"key": dataset, "outcome": outcome})
        return tuple(row["run_id"] for row in rows)


def _columns(plan: RegisteredPlan) -> dict[str, Any]:
    """What the row repeats of the document."""
    return {
        "plan_id": plan.plan_id,
        "title": plan.title,
        "dataset": plan.dataset,
        "treatment": plan.spec["treatment"],
        "outcome": plan.spec["outcome"],
        "before_data": plan.before_data,
        "registered_by": plan.registered_by,
        "registered_at": plan.registered_at,
    }


def _checked(row: Row) -> RegisteredPlan:
    plan = plan_from(row["document"], row["sha256"])
    for name, value in _columns(plan).items():
        if row[name] != value:
            raise PlanChanged(f"plan {row['plan_id'][:8]} was changed: its {name} is not the registered one")
    return plan


def _or_none(row: Row) -> RegisteredPlan | None:
    try:
        return _checked(row)
    except PlanChanged:
        return None
