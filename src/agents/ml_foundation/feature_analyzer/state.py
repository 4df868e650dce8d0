"""What travels between the nodes of feature_analyzer: values only; frames, models and plots stay in the process."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

from src.agents.ml_foundation.feature_analyzer.result import (
    AnalyzeRequest,
    Interaction,
    Narrative,
    Removed,
    ShapSummary,
)
from src.agents.runtime import NodeError


class AnalyzeState(TypedDict, total=False):
    """Every key any node writes; warnings and degraded parts are added together, never replaced."""

    request: AnalyzeRequest
    generated: tuple[str, ...]
    selected: tuple[str, ...]
    removed: Removed
    shap: ShapSummary
    interactions: tuple[Interaction, ...]
    narrative: Narrative
    analysis_id: str | None
    warnings: Annotated[tuple[str, ...], operator.add]
    degraded: Annotated[tuple[str, ...], operator.add]
    error: NodeError


class AnalyzeUpdate(AnalyzeState, total=False):
    """What a node returns: only what it wrote."""
