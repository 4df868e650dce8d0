"""Leave out features that hardly vary, repeat others, or are chosen only by chance."""

from __future__ import annotations

import asyncio
import dataclasses

import pandas as pd
from langgraph.runtime import Runtime

from src.agents.ml_foundation.feature_analyzer.learning import with_target
from src.agents.ml_foundation.feature_analyzer.result import AnalyzeRequest, Removed
from src.agents.ml_foundation.feature_analyzer.services import PLACE, rows_of, work_of
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState, AnalyzeUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import DataUnavailable
from src.mlops.explanation.generation import GeneratedColumn, with_columns
from src.mlops.explanation.measures import read_features
from src.mlops.explanation.selection import Selection, SelectionRules
from src.mlops.explanation.selection import select_features as choose


@traced_node(PLACE, "select_features")
async def select_features(state: AnalyzeState, runtime: Runtime[Deps]) -> AnalyzeUpdate:
    """Features and derived columns that stay, learnt on training rows only. Raises DataUnavailable if none does."""
    train = await rows_of(state, runtime.context, "train")
    generated = work_of(runtime.context).generated
    found = await asyncio.to_thread(_selection, train.frame, state["request"], generated)
    if not found.selected:
        raise DataUnavailable("no feature is left after selection; loosen selection_config or name other features")
    removed = Removed(found.variance, found.correlation, found.vif, found.stability)
    return {"selected": found.selected, "removed": removed}


def _selection(frame: pd.DataFrame, request: AnalyzeRequest, generated: tuple[GeneratedColumn, ...]) -> Selection:
    rows, codes = with_target(frame, request)
    names = (*request.data.features, *(column.name for column in generated))
    values = read_features(with_columns(rows, generated), names)
    rules = SelectionRules(**dataclasses.asdict(request.selection_config))
    return choose(values, codes, rules, random_state=request.random_state)
