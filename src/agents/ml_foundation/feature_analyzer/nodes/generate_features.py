"""Derive columns from the numbers that tell most of the target, decided on training rows."""

from __future__ import annotations

import asyncio
import dataclasses

from langgraph.runtime import Runtime

from src.agents.ml_foundation.feature_analyzer.learning import with_target
from src.agents.ml_foundation.feature_analyzer.services import PLACE, rows_of, work_of
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState, AnalyzeUpdate
from src.agents.runtime import Deps, traced_node
from src.mlops.explanation.generation import GenerationRules, generate_columns


@traced_node(PLACE, "generate_features")
async def generate_features(state: AnalyzeState, runtime: Runtime[Deps]) -> AnalyzeUpdate:
    """Names of the derived columns; none where no recipe is asked for. Raises DataUnavailable without rows."""
    request = state["request"]
    train = await rows_of(state, runtime.context, "train")
    frame, codes = await asyncio.to_thread(with_target, train.frame, request)
    rules = GenerationRules(**dataclasses.asdict(request.feature_config))
    columns = await asyncio.to_thread(generate_columns, frame, codes, request.data.features, rules)
    work_of(runtime.context).generated = columns
    return {"generated": tuple(column.name for column in columns)}
