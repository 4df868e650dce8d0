"""How were rows split, what was learnt on the training rows, and what did the search for leakage find?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.contracts.enums import SplitStrategy
from src.domain.splits import SplitPlan, SplitRatios, UnitAssignment
from src.errors import ContractViolation, DataUnavailable
from src.storage.gateway import Op, OrderBy, Row, TableGateway, Where

REGISTRY = "ml_split_registry"
ASSIGNMENTS = "ml_patient_split_assignments"
PREPROCESSING = "ml_preprocessing_metadata"
AUDIT = "ml_leakage_audit"
BATCH = 5_000


class PreparationRepository:
    """Writes and reads split plans, patients' splits, fitted transformations and leakage audits."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def register_plan(self, plan: SplitPlan, *, created_by: str | None = None) -> bool:
        """Record a plan; False when it was there already. Raises ContractViolation when another has its id."""
        row = _plan_row(plan)
        stored = await self._gateway.select(REGISTRY, where=[Where("split_config_id", plan.split_config_id)])
        if stored:
            different = sorted(name for name, value in row.items() if stored[0][name] != value)
            if different:
                raise ContractViolation(
                    f"split '{plan.split_config_id}' is registered with another {different[0]}; plan it anew"
                )
            return False
        # Two processes may plan the same split at once: the second finds the same content.
        await self._gateway.upsert(REGISTRY, [row | {"created_by": created_by}], on_conflict=["split_config_id"])
        return True

    async def plan(self, split_config_id: str) -> SplitPlan:
        """The registered plan, without rows and hash cuts, which are not stored. Raises DataUnavailable."""
        rows = await self._gateway.select(REGISTRY, where=[Where("split_config_id", split_config_id)])
        if not rows:
            raise DataUnavailable(f"no split '{split_config_id[:80]}' is registered; leave it out to have one planned")
        return _plan_of(rows[0])

    async def add_assignments(self, split_config_id: str, assignments: Sequence[UnitAssignment]) -> int:
        """Record the patients' splits, all or none, and return how many were new.

        Runs that record the same patients at once agree. Raises ContractViolation when a patient has
        another split in this plan: a patient has one.
        """
        days = (item.index_date for item in assignments)
        arguments = {
            "config": split_config_id,
            "patients": [item.unit for item in assignments],
            "splits": [item.split for item in assignments],
            "index_dates": [None if day is None else day.isoformat() for day in days],
        }
        return int(await self._gateway.call("assign_patient_splits", arguments))

    async def assignments(self, split_config_id: str, units: Sequence[str] | None = None) -> dict[str, str]:
        """Split of each patient of a plan, or of some of them."""
        where = [Where("split_config_id", split_config_id)]
        parts = [[*where, in_units] for in_units in _of_units(units)] if units is not None else [where]
        found: list[Row] = []
        for part in parts:
            found += await self._gateway.select(ASSIGNMENTS, columns=["patient_id", "data_split"], where=part)
        return {str(row["patient_id"]): str(row["data_split"]) for row in found}

    async def save_preprocessing(self, split_config_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record the transformations that one run fitted, in place of all that an earlier run of this plan left."""
        await self._gateway.call("replace_preprocessing", {"config": split_config_id, "fitted": list(rows)})

    async def preprocessing(self, split_config_id: str) -> list[Row]:
        """What the latest run of the plan fitted: training and serving read it back with ``from_parameters``."""
        return await self._gateway.select(
            PREPROCESSING,
            columns=["feature_name", "transformation", "parameters", "computed_on_split", "n_rows"],
            where=[Where("split_config_id", split_config_id)],
            order_by=[OrderBy("feature_name")],
        )

    async def add_audit(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Record what the checks for leakage found, one row each, and return how many."""
        return len(await self._gateway.insert(AUDIT, rows)) if rows else 0

    async def audits(self, table_name: str, *, limit: int = 100) -> list[Row]:
        """The latest audits of a table, newest first."""
        return await self._gateway.select(
            AUDIT, where=[Where("table_name", table_name)], order_by=[OrderBy("audited_at", True)], limit=limit
        )


def _of_units(units: Sequence[str]) -> Iterator[Where]:
    return (Where("patient_id", list(units[start : start + BATCH]), Op.IN) for start in range(0, len(units), BATCH))


def _plan_row(plan: SplitPlan) -> Row:
    cuts = plan.cuts or (None, None, None)
    return {
        "split_config_id": plan.split_config_id,
        "strategy": str(plan.strategy),
        **dict(
            zip(("train_ratio", "validation_ratio", "test_ratio", "holdout_ratio"), plan.ratios.shares, strict=True)
        ),
        **dict(zip(("train_until", "validation_until", "test_until"), cuts, strict=True)),
        "gap_days": plan.gap_days,
        "unit": plan.unit,
        "random_state": plan.random_state,
        "source_table": plan.source,
    }


def _plan_of(row: Row) -> SplitPlan:
    cuts = tuple(row[name] for name in ("train_until", "validation_until", "test_until"))
    return SplitPlan(
        row["split_config_id"],
        SplitStrategy(row["strategy"]),
        SplitRatios(row["train_ratio"], row["validation_ratio"], row["test_ratio"], row["holdout_ratio"]),
        cuts if all(cut is not None for cut in cuts) else (),
        row["gap_days"],
        row["unit"],
        source=row["source_table"],
        random_state=row["random_state"],
    )
