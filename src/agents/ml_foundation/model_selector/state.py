"""What travels between the nodes of model_selector: values only; rows stay in the process."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Annotated, TypedDict

from src.agents.ml_foundation.model_selector.result import (
    AlgorithmHistory,
    Baseline,
    Benchmark,
    Rationale,
    SelectRequest,
)
from src.agents.quality_gate import QCGate
from src.agents.runtime import NodeError
from src.domain.modelling import Candidate


class SelectState(TypedDict, total=False):
    """Every key any node writes; ``warnings`` and ``degraded`` of several nodes are added together.

    ``floor``: the metric that a model without any feature reaches, where it was measured.
    """

    request: SelectRequest
    gate: QCGate
    history: Mapping[str, AlgorithmHistory]
    remaining: tuple[str, ...]
    removed: Mapping[str, str]
    ranked: tuple[Candidate, ...]
    benchmark: tuple[Benchmark, ...]
    floor: float | None
    primary: Candidate
    alternatives: tuple[Candidate, ...]
    baseline: Baseline
    rationale: Rationale
    run_id: str | None
    summary: str
    warnings: Annotated[tuple[str, ...], operator.add]
    degraded: Annotated[tuple[str, ...], operator.add]
    error: NodeError


class SelectUpdate(SelectState, total=False):
    """What a node returns: only what it wrote."""
