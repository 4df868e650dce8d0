"""Which split does each row belong to: one that is registered, the one it brings along, or a new one?"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from src.agents.ml_foundation.data_preparer.services import PreparationStore
from src.agents.ml_foundation.data_preparer.source import time_column
from src.contracts.enums import SplitStrategy
from src.contracts.model import TableContract
from src.domain.splits import DEFAULT_RATIOS, SPLIT_NAMES, SplitPlan
from src.mlops.preparation.splitting import (
    SPLIT_COLUMN,
    given_splits,
    off_ratio,
    plan_of_given,
    plan_splits,
    splits_of_plan,
    too_small,
)

PATIENT = "patient_id"


async def split_rows(
    frame: pd.DataFrame,
    table: TableContract,
    split_id: str | None,
    store: PreparationStore,
    scope: Mapping[str, str] | None = None,
    strategy: str | None = None,
) -> tuple[SplitPlan, pd.Series[Any]]:
    """The plan, and the split of every row; rows of a patient stay together.

    ``scope``: what the rows were chosen by. With a ``strategy`` a split is planned, whatever split the rows
    bring along; without one they keep theirs, or are split by time. Raises DataUnavailable for an unknown
    ``split_id``, and where the rows are too few or too close in time to be split anew.
    """
    if split_id is not None:
        return await _registered(frame, table, split_id, store)
    key = [table.primary_key] if _has(frame, table.primary_key) else []
    content = {"source": table.name, "scope": scope, "key": key}
    return await asyncio.to_thread(_planned, frame, table, strategy, content)


def faults_of(plan: SplitPlan, *, registered: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What forbids the use of a split and what is odd about it, as blockers and warnings.

    A split that rows brought along is held to the usual ratios, a registered one to its own.
    """
    ratios = plan.ratios if registered or plan.cuts or plan.hash_cuts else DEFAULT_RATIOS
    return _about(too_small(plan)), _about(off_ratio(plan, ratios))


def _about(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"splits: {line}" for line in lines)


def patient_of(frame: pd.DataFrame) -> str | None:
    """The column of patients, where rows have any."""
    return PATIENT if _has(frame, PATIENT) else None


def _planned(
    frame: pd.DataFrame, table: TableContract, strategy: str | None, content: dict[str, Any]
) -> tuple[SplitPlan, pd.Series[Any]]:
    unit = patient_of(frame)
    if strategy is None and _has(frame, SPLIT_COLUMN):
        split = given_splits(frame)
        return plan_of_given(frame, split, unit=unit, **content), split
    kind = strategy or SplitStrategy.CHRONOLOGICAL
    return plan_splits(frame, time=time_column(table), unit=unit, strategy=kind, **content)


def _has(frame: pd.DataFrame, column: str) -> bool:
    return column in frame.columns and bool(frame[column].notna().any())


async def _registered(
    frame: pd.DataFrame, table: TableContract, split_id: str, store: PreparationStore
) -> tuple[SplitPlan, pd.Series[Any]]:
    plan = await store.plan(split_id)
    assigned = await store.assignments(split_id)
    split = await asyncio.to_thread(
        splits_of_plan, frame, plan, time=time_column(table), unit=plan.unit, assignments=assigned
    )
    counted = split.value_counts()
    return dataclasses.replace(plan, rows={name: int(counted.get(name, 0)) for name in SPLIT_NAMES}), split
