"""Which split does each row belong to: one that is registered, the one it brings along, or a new one?"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from src.agents.ml_foundation.data_preparer.services import PreparationStore
from src.agents.ml_foundation.data_preparer.source import time_column
from src.agents.ml_foundation.data_preparer.state import PrepareRequest
from src.contracts.enums import SplitStrategy
from src.contracts.inference import is_inferred
from src.contracts.model import TableContract
from src.domain.splits import DEFAULT_RATIOS, SPLIT_NAMES, SplitPlan, SplitRatios
from src.mlops.preparation.row_identity import ROW
from src.mlops.preparation.splitting import (
    FEWEST_ROWS,
    SPLIT_COLUMN,
    given_splits,
    off_ratio,
    plan_of_given,
    plan_splits,
    splits_of_plan,
    too_small,
)

PATIENT = "patient_id"
LARGEST_HOLDOUT = 0.15


async def split_rows(
    frame: pd.DataFrame,
    table: TableContract,
    request: PrepareRequest,
    store: PreparationStore,
    scope: Mapping[str, str] | None = None,
) -> tuple[SplitPlan, pd.Series[Any]]:
    """The plan, and the split of every row; rows of a patient stay together.

    ``scope``: what the rows were chosen by. With a strategy in the ``request`` a split is planned, whatever split
    the rows bring along; without one they keep theirs, or are split by time. Rows of a dataset without a contract
    are split by unit where only that is named, and by the hash of the row without time or unit, each class of the
    target alike. Raises
    DataUnavailable for an unknown ``split_id``, and where rows are too few or too close in time to be split anew.
    """
    if request.split_id is not None:
        return await _registered(frame, table, request.split_id, store)
    own = ROW if is_inferred(table) else table.primary_key
    key = [own] if _has(frame, own) else []
    content = {"source": table.name, "scope": scope, "key": key}
    planned = _planned_by_row if is_inferred(table) else _planned
    return await asyncio.to_thread(planned, frame, table, request, content)


def assigned_by(plan: SplitPlan, table: TableContract) -> str | None:
    """The column by whose values the split of rows is kept; None where the plan's dates say all."""
    return plan.unit or ROW if is_inferred(table) else PATIENT if plan.unit == PATIENT else None


def leakage_unit(plan: SplitPlan, frame: pd.DataFrame) -> str | None:
    """What must not be in two splits. A registered split may be one of rows; patients it tears apart are found."""
    return plan.unit if plan.unit not in (None, ROW) else patient_of(frame)


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
    frame: pd.DataFrame, table: TableContract, request: PrepareRequest, content: dict[str, Any]
) -> tuple[SplitPlan, pd.Series[Any]]:
    unit = patient_of(frame)
    if request.split_strategy is None and _has(frame, SPLIT_COLUMN):
        split = given_splits(frame)
        return plan_of_given(frame, split, unit=unit, **content), split
    kind = request.split_strategy or SplitStrategy.CHRONOLOGICAL
    return plan_splits(frame, time=time_column(table), unit=unit, strategy=kind, **content)


def _planned_by_row(
    frame: pd.DataFrame, table: TableContract, request: PrepareRequest, content: dict[str, Any]
) -> tuple[SplitPlan, pd.Series[Any]]:
    unit, time = request.unit or patient_of(frame), time_column(table)
    if request.split_strategy is None and _has(frame, SPLIT_COLUMN):
        split = given_splits(frame)
        return plan_of_given(frame, split, unit=unit, **content), split
    by_time = time is not None and (request.time is not None or request.unit is None)
    kind = request.split_strategy or (SplitStrategy.CHRONOLOGICAL if by_time else SplitStrategy.PATIENT_STRATIFIED)
    if kind == SplitStrategy.PATIENT_STRATIFIED:
        unit = unit or ROW
    # Rows that are alike have the same target; those of another unit need not.
    strata = request.scope.target if unit == ROW else None
    ratios = _ratios(len(frame))
    return plan_splits(frame, time=time, unit=unit, strategy=kind, ratios=ratios, strata=strata, **content)


def _ratios(rows: int) -> SplitRatios:
    """The usual ratios; of few rows a larger holdout, so that something can be judged on it."""
    holdout = math.ceil(100 * FEWEST_ROWS / max(rows, 1)) / 100
    if holdout <= DEFAULT_RATIOS.holdout or holdout >= LARGEST_HOLDOUT:
        return DEFAULT_RATIOS
    rest = (1 - holdout) / (1 - DEFAULT_RATIOS.holdout)
    train, validation, test, _ = DEFAULT_RATIOS.shares
    return SplitRatios(train * rest, validation * rest, test * rest, holdout)


def _has(frame: pd.DataFrame, column: str) -> bool:
    return column in frame.columns and bool(frame[column].notna().any())


async def _registered(
    frame: pd.DataFrame, table: TableContract, split_id: str, store: PreparationStore
) -> tuple[SplitPlan, pd.Series[Any]]:
    plan = await store.plan(split_id)
    assigned = await store.assignments(split_id)
    split = await asyncio.to_thread(
        splits_of_plan,
        frame,
        plan,
        time=time_column(table),
        unit=assigned_by(plan, table) or plan.unit,
        assignments=assigned,
    )
    counted = split.value_counts()
    return dataclasses.replace(plan, rows={name: int(counted.get(name, 0)) for name in SPLIT_NAMES}), split
