"""Find pairs of features that act together in the model."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.feature_analyzer.result import Interaction
from src.agents.ml_foundation.feature_analyzer.services import PLACE, work_of
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState, AnalyzeUpdate
from src.agents.runtime import Deps, traced_node
from src.mlops.explanation.interactions import find_interactions


@traced_node(PLACE, "detect_interactions")
async def detect_interactions(state: AnalyzeState, runtime: Runtime[Deps]) -> AnalyzeUpdate:
    """The strongest pairs of the explained rows; none where they are not asked for, or for a linear model."""
    if not state["request"].compute_interactions:
        return {"interactions": ()}
    work = work_of(runtime.context)
    assert work.bundle is not None
    assert work.explained is not None
    important = [one.feature for one in state["shap"].ranked]
    found = await asyncio.to_thread(
        find_interactions, work.bundle.model, work.explained, work.bundle.features, important=important
    )
    return {"interactions": tuple(Interaction(pair.a, pair.b, pair.strength, pair.method) for pair in found)}
