"""Learn from the training rows how features become a model's columns, and keep what was learnt."""

from __future__ import annotations

import asyncio
from typing import Any

import pandas as pd
from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import is_blocked
from src.agents.ml_foundation.data_preparer.services import PLACE, Services, frames_of, services_of
from src.agents.ml_foundation.data_preparer.source import time_column
from src.agents.ml_foundation.data_preparer.splits import PATIENT
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node
from src.contracts.model import TableContract
from src.contracts.tables import get_table
from src.domain.splits import SplitPlan
from src.mlops.preparation.splitting import unit_assignments
from src.mlops.preparation.transforms import fit_transforms


@traced_node(PLACE, "transform_data")
async def transform_data(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """Nothing is learnt from data that is blocked already, and nothing kept of it."""
    services, frames, features = services_of(runtime.context), frames_of(runtime.context), state["loaded"].features
    if is_blocked(state) or frames.split is None or not features:
        return {}
    plan, table = state["splits"], get_table(state["loaded"].table)
    fitted = await asyncio.to_thread(fit_transforms, frames.typed, frames.split, features, table)
    # Applied to every row, so that a value no transform can read is found here and not in training.
    await asyncio.to_thread(fitted.apply, frames.typed)
    await _keep_patients(services, plan, table, frames.typed, frames.split)
    await services.preparation.save_preprocessing(plan.split_config_id, fitted.parameters())
    return {"transforms": fitted}


async def _keep_patients(
    services: Services, plan: SplitPlan, table: TableContract, frame: pd.DataFrame, split: pd.Series[Any]
) -> None:
    if plan.unit != PATIENT:
        return
    assigned = await asyncio.to_thread(unit_assignments, frame, split, unit=plan.unit, time=time_column(table))
    await services.preparation.add_assignments(plan.split_config_id, assigned)
