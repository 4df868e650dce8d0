"""What travels between the nodes of model_trainer: values only; frames and fitted models stay in the process."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from src.agents.ml_foundation.model_trainer.result import Calibration, Curves, ModelRef, SegmentMetrics, TrainRequest
from src.agents.quality_gate import QCGate
from src.agents.runtime import NodeError
from src.mlops.optuna.results import HPOSummary


@dataclass(frozen=True, slots=True)
class LoadedSplits:
    """Where the rows come from, and how many have a target. ``fingerprint``: SHA-256 of the rows to train on and of
    those to tune on, in their order."""

    source: str
    counts: Mapping[str, int]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What the final fit was made with. ``threshold`` is that of a binary model, chosen on the validation rows."""

    algorithm: str
    params: Mapping[str, object]
    balanced: bool
    threshold: float | None
    rounds: int | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the model is; ``metrics`` by split, everything else on the test split (as in TrainResult)."""

    metrics: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, tuple[float, float]]
    calibration: Calibration | None = None
    segments: tuple[SegmentMetrics, ...] = ()
    fairness_gap: Mapping[str, float] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    curves: Curves = field(default_factory=Curves)
    criteria_met: bool | None = None


def earliest(known: NodeError, _: NodeError) -> NodeError:
    """The first error of a run is what went wrong; later ones follow from it."""
    return known


class TrainState(TypedDict, total=False):
    """Every key any node writes. What several nodes write is added together, never replaced."""

    request: TrainRequest
    gate: QCGate
    loaded: LoadedSplits
    classes: tuple[str, ...]
    split_counts: Annotated[dict[str, int], operator.or_]
    feature_names: tuple[str, ...]
    balanced: bool
    metric: str
    hpo: HPOSummary | None
    trained: TrainedModel
    evaluation: Evaluation
    model_ref: ModelRef | None
    training_run_id: str | None
    visited: Annotated[tuple[str, ...], operator.add]
    warnings: Annotated[tuple[str, ...], operator.add]
    degraded: Annotated[tuple[str, ...], operator.add]
    error: Annotated[NodeError, earliest]


class TrainUpdate(TrainState, total=False):
    """What a node returns: only what it wrote."""
