"""How good is an answer by the RAGAS metrics, and what is said when a metric could not be measured?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from src.errors import ContractViolation

Metric = Literal["faithfulness", "answer_relevancy", "context_precision", "context_recall", "answer_correctness"]
METRICS: tuple[Metric, ...] = (
    "faithfulness",
    "answer_relevancy",
    "context_precision",
    "context_recall",
    "answer_correctness",
)
RAGAS_METRICS: tuple[Metric, ...] = METRICS[:4]
"""The four that are thresholded and given to Opik under these names."""
Method = Literal["ragas", "heuristic"]
DEFAULT_THRESHOLDS: Mapping[str, float] = {
    "faithfulness": 0.80,
    "answer_relevancy": 0.85,
    "context_precision": 0.80,
    "context_recall": 0.70,
    "overall": 0.80,
}


@dataclass(frozen=True, slots=True)
class MetricScore:
    """One metric of one answer: a value in 0–1, or None with the reason why it was not measured.

    ``reason`` of a measured score says in words what it rests on (never text of the answer's prompt).
    ``agreement`` is the calibrated balanced accuracy of a heuristic in this regime, None for a judge. ``transient``:
    not measured for an outage, a time-out or a spent budget, so that asking again later may bring a value. Raises
    ContractViolation for a value that is no number in 0–1.
    """

    value: float | None
    reason: str
    regime: str | None = None
    agreement: float | None = None
    transient: bool = False

    def __post_init__(self) -> None:
        # NaN compares with nothing, so it would reach every threshold.
        if self.value is not None and not 0 <= self.value <= 1:
            raise ContractViolation(f"a score lies between 0 and 1, not at {self.value}")

    @property
    def measured(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


def unmeasured(reason: str, *, transient: bool = False) -> MetricScore:
    """The state of a metric that could not be computed."""
    return MetricScore(None, reason, transient=transient)


@dataclass(frozen=True, slots=True)
class Cost:
    """What judging took: tokens, and US dollars where every price is known. Cached replies cost nothing."""

    calls: int = 0
    cached_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = 0.0

    def __add__(self, other: Cost) -> Cost:
        dollars = None if self.dollars is None or other.dollars is None else self.dollars + other.dollars
        return Cost(
            self.calls + other.calls,
            self.cached_calls + other.cached_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            dollars,
        )


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Scores of one sample; None is *not measured*, never 0. ``overall_score`` is the mean of the measured ones.

    A sample passes when every thresholded metric was measured and reaches its threshold.
    """

    sample_id: str
    query: str
    faithfulness: float | None
    answer_relevancy: float | None
    context_precision: float | None
    context_recall: float | None
    answer_correctness: float | None
    overall_score: float | None
    passed_thresholds: bool
    failed_metrics: tuple[str, ...]
    method: Method
    scores: Mapping[Metric, MetricScore] = field(default_factory=dict)
    error: str | None = None
    cost: Cost = field(default_factory=Cost)
    duration_ms: float = 0.0
    model: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def value(self, metric: Metric) -> float | None:
        """The score of a metric."""
        score: float | None = getattr(self, metric)
        return score


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile bootstrap interval of a mean at ``level``."""

    low: float
    high: float
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A metric over samples: mean of the measured ones with interval, how many there were, and the mean's bounds
    were the unmeasured ones all 0 or all 1."""

    mean: float | None
    measured: int
    total: int
    interval: Interval | None
    worst: float | None
    best: float | None

    @property
    def coverage(self) -> float:
        """Share of samples that were measured, 0 without samples."""
        return self.measured / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """An evaluation of a set of samples. ``pipeline_called``: whether answers and contexts came from the pipeline."""

    run_id: str
    timestamp: datetime
    dataset_name: str
    dataset_hash: str
    total_samples: int
    passed_samples: int
    failed_samples: int
    unmeasured_samples: int
    aggregates: Mapping[str, Aggregate]
    """By metric, and ``overall``."""
    thresholds: Mapping[str, float]
    all_thresholds_passed: bool
    methods: Mapping[str, int]
    results: tuple[EvaluationResult, ...]
    evaluation_time_seconds: float
    pipeline_called: bool
    cost: Cost = field(default_factory=Cost)
    trace_id: str | None = None
    mlflow_run_id: str | None = None
    notes: tuple[str, ...] = ()

    def average(self, metric: str) -> float | None:
        """The mean of a metric over the samples where it was measured."""
        return self.aggregates[metric].mean
