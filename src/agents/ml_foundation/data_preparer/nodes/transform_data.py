"""Learn from the training rows how features become a model's columns, check that, and keep what was learnt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pandas as pd
from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import ABOUT_FEATURE, failed, is_blocked
from src.agents.ml_foundation.data_preparer.nodes.detect_leakage import LAYER
from src.agents.ml_foundation.data_preparer.services import PLACE, Services, frames_of, services_of
from src.agents.ml_foundation.data_preparer.source import time_column
from src.agents.ml_foundation.data_preparer.splits import assigned_by
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node
from src.contracts.enums import DataSplit
from src.contracts.model import TableContract
from src.domain.splits import SplitPlan
from src.mlops.preparation.leakage import LeakageReport, find_preprocessing_leakage, report_of
from src.mlops.preparation.splitting import unit_assignments
from src.mlops.preparation.transforms import FittedTransforms


@traced_node(PLACE, "transform_data")
async def transform_data(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """Nothing is learnt from data that is blocked already, and nothing kept of it.

    Transformations that depend on other rows than those for training fail the layer of leakage. A feature
    without any value in the training rows cannot be learnt: the data is then not ready.
    """
    services, frames = services_of(runtime.context), frames_of(runtime.context)
    if is_blocked(state) or frames.split is None:
        return {}
    plan, table = state["splits"], frames.table
    features, empty = _learnable(frames.typed, frames.split, state["loaded"].features)
    if not features:
        return {"not_ready": empty}
    fitted = await asyncio.to_thread(services.fit, frames.typed, frames.split, features, table)
    report = await asyncio.to_thread(_checked, frames.typed, frames.split, fitted, table)
    await services.preparation.add_audit(
        report.audit_rows(table.name, split_config_id=plan.split_config_id, trace_id=runtime.context.trace_id)
    )
    update: PrepareUpdate = {"not_ready": empty, "leakage": _together(state, report)}
    if report.blocking:
        return update | failed(LAYER, tuple(finding.message for finding in report.blocking))
    # Applied to every row, so that a value no transform can read is found here and not in training.
    await asyncio.to_thread(fitted.apply, frames.typed)
    await _keep_assignments(services, plan, table, frames.typed, frames.split)
    await services.preparation.save_preprocessing(plan.split_config_id, fitted.parameters())
    return update | {"transforms": fitted}


def _learnable(
    frame: pd.DataFrame, split: pd.Series[Any], features: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Features with a value in some training row, and what to say of the others."""
    filled = frame.loc[(split == DataSplit.TRAIN).to_numpy(), list(features)].notna().any()
    found = tuple(name for name in features if filled[name])
    empty = (name for name in features if not filled[name])
    return found, tuple(f"{ABOUT_FEATURE} '{name}' is empty in every training row" for name in empty)


def _checked(
    frame: pd.DataFrame, split: pd.Series[Any], fitted: FittedTransforms, table: TableContract
) -> LeakageReport:
    return report_of({"preprocessing": find_preprocessing_leakage(frame, split, fitted, table=table)})


def _together(state: PrepareState, report: LeakageReport) -> LeakageReport:
    """With what was found before; that is missing where the search was skipped."""
    return state["leakage"].joined(report) if "leakage" in state else report


async def _keep_assignments(
    services: Services, plan: SplitPlan, table: TableContract, frame: pd.DataFrame, split: pd.Series[Any]
) -> None:
    unit = assigned_by(plan, table)
    if unit is None:
        return
    assigned = await asyncio.to_thread(unit_assignments, frame, split, unit=unit, time=time_column(table))
    await services.preparation.add_assignments(plan.split_config_id, assigned)
