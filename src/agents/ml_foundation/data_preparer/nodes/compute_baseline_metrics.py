"""Describe target and features in each split."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import schema_failed
from src.agents.ml_foundation.data_preparer.services import PLACE, frames_of
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import ContractViolation, DataUnavailable
from src.mlops.preparation.baseline import compute_baseline


@traced_node(PLACE, "compute_baseline_metrics")
async def compute_baseline_metrics(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """Figures of rows that were split; for rows that break their contract as far as they can be computed."""
    frames, loaded = frames_of(runtime.context), state["loaded"]
    if frames.split is None:
        return {}
    try:
        described = await asyncio.to_thread(
            compute_baseline,
            frames.typed,
            frames.split,
            features=loaded.features,
            target=state["request"].scope.target,
            table=frames.table,
        )
    except (ContractViolation, DataUnavailable) as error:
        if not schema_failed(state):
            raise
        return {"warnings": (f"the splits could not be described: {error}",)}
    return {"baseline": described}
