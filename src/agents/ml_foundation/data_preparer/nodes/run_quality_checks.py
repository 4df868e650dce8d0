"""Measure the dimensions of quality and weigh them."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import did_not_run, failed, passed
from src.agents.ml_foundation.data_preparer.services import PLACE, frames_of, services_of
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node

LAYER = "quality"


@traced_node(PLACE, "run_quality_checks")
async def run_quality_checks(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """The weighted score of the dimensions that can be measured; below the configured score the layer fails."""
    services, frames = services_of(runtime.context), frames_of(runtime.context)
    if frames.check is None:
        return did_not_run(services, LAYER, "it is measured by the rules of the schema, and they were not checked")
    scores = await asyncio.to_thread(services.score, frames.table, frames.check, services.clock())
    score = scores.weighted(services.config.weights.by_dimension())
    if score is None:
        return did_not_run(services, LAYER, "no score was measured") | {"score": None}
    lowest = services.config.thresholds.gate_score
    if score < lowest:
        return failed(LAYER, (f"the score {score:.2f} is below {lowest:.2f}",)) | {"score": score}
    return passed(LAYER) | {"score": score}
