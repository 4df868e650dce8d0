"""What is asked of model_trainer, and what does it answer?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from src.agents.quality_gate import QCGate
from src.agents.results import AgentMeta
from src.agents.runtime import NodeError
from src.domain.modelling import Candidate, ProblemType, TrainingData
from src.mlops.optuna.results import HPOSummary


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """A model to train. Rows are named by ``data``, never carried.

    ``success_criteria``: metric → least value on the test split (for metrics where less is better: greatest).
    ``experiment_id`` is the name of the experiment. ``workers`` share one study.
    """

    experiment_id: str
    candidate: Candidate
    qc_gate: QCGate
    problem_type: ProblemType
    data: TrainingData
    success_criteria: Mapping[str, float] = field(default_factory=dict)
    metric: str | None = None
    enable_hpo: bool = True
    hpo_trials: int = 50
    hpo_timeout_s: float | None = None
    workers: int = 1
    early_stopping: bool = True
    enable_mlflow: bool = True
    enable_checkpointing: bool = True
    resume_study: str | None = None
    random_state: int = 42


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where the model is kept: ``uri`` for ``MLflowConnector.load_model``; all None while it waits in the spool."""

    uri: str | None
    run_id: str | None
    persisted: bool = False


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of the probabilities on the test split: Brier score, slope and intercept of the logistic recalibration
    log-odds(y) ~ intercept + slope · log-odds(p), and the expected calibration error over ten equal-width bins.

    Slope and intercept are None where the rows do not define them, as when the scores separate the classes."""

    brier: float
    slope: float | None
    intercept: float | None
    ece: float


@dataclass(frozen=True, slots=True)
class SegmentMetrics:
    """Metrics of one value of a segment column on the test split, where it has enough rows of each class."""

    column: str
    value: str
    n: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Curves:
    """What plots need, of the test split: points of the ROC and PR curves and the calibration plot (≤ 200 each)."""

    roc: tuple[tuple[float, float], ...] = ()
    pr: tuple[tuple[float, float], ...] = ()
    calibration: tuple[tuple[float, float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The model and its evidence. Where ``error`` is set, ``meta.status`` is failed and ``metrics`` is empty.

    ``metrics`` by split (train, validation, test); those of validation are optimistic wherever something was chosen
    on its rows, as ``meta.warnings`` say, and leave out calibration where it was fitted there.
    ``intervals``: 95 % bootstrap intervals on the test split.
    ``confusion``: rows true, columns predicted, at the threshold, on the test split. ``visited``: nodes that ran.
    ``fairness_gap``: largest difference in recall between values of a segment column. ``class_shares``: value of the
    target → share of the training rows, in the order of the codes; empty for numbers.
    """

    training_run_id: str | None
    model_ref: ModelRef | None
    metrics: Mapping[str, Mapping[str, float]]
    primary_metric: str | None
    threshold: float | None
    calibration: Calibration | None
    intervals: Mapping[str, tuple[float, float]]
    segments: tuple[SegmentMetrics, ...]
    fairness_gap: Mapping[str, float]
    confusion: tuple[tuple[int, ...], ...]
    curves: Curves
    hpo: HPOSummary | None
    criteria_met: bool | None
    split_counts: Mapping[str, int]
    feature_names: tuple[str, ...]
    balanced: bool
    visited: tuple[str, ...]
    error: NodeError | None
    meta: AgentMeta
    class_shares: Mapping[str, float] = field(default_factory=dict)
