"""What is asked of model_selector, and what does it answer?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from src.agents.quality_gate import QCGate
from src.agents.results import AgentMeta
from src.agents.runtime import NodeError
from src.domain.modelling import Candidate, ProblemType, TrainingData


@dataclass(frozen=True, slots=True)
class SelectRequest:
    """A problem to choose an algorithm for.

    ``data`` names the rows of benchmarks (training split only); None skips them and says so. ``n_samples`` and
    ``n_features`` are used where ``data`` is None. ``latency_budget_ms`` is per row, ``memory_gb`` of the process.
    """

    experiment_id: str
    problem_type: ProblemType
    qc_gate: QCGate
    kpi_category: str = "model"
    data: TrainingData | None = None
    interpretability_required: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    latency_budget_ms: float | None = None
    memory_gb: float | None = None
    n_samples: int | None = None
    n_features: int | None = None
    max_benchmark_rows: int = 5_000
    skip_benchmarks: bool = False
    skip_mlflow: bool = False
    random_state: int = 42


@dataclass(frozen=True, slots=True)
class Rationale:
    """Why this algorithm; ``constraints``: what was asked for and how the choice meets it."""

    primary_reason: str
    supporting: tuple[str, ...] = ()
    constraints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Cross-validation of one algorithm with its defaults: metric over ``folds``, seconds of one fit, or why not."""

    algorithm: str
    metric: str
    mean: float | None
    sd: float | None
    folds: int
    seconds: float | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """The value that a model without any feature reaches, and how the choice compares with it in words."""

    metric: str
    to_beat: float | None
    comparison: str


@dataclass(frozen=True, slots=True)
class AlgorithmHistory:
    """Earlier trainings of an algorithm; ``success_rate`` is None with ``n`` = 0."""

    n: int
    success_rate: float | None


@dataclass(frozen=True, slots=True)
class SelectResult:
    """The choice. ``primary`` is None where the gate refused or nothing is left after filtering (``error`` says so).

    ``run_id``: the MLflow run of the selection, None when it was skipped or the store was away (``meta.degraded``).
    """

    primary: Candidate | None
    alternatives: tuple[Candidate, ...]
    rationale: Rationale | None
    benchmark: tuple[Benchmark, ...]
    baseline: Baseline | None
    history: Mapping[str, AlgorithmHistory]
    removed: Mapping[str, str]
    run_id: str | None
    error: NodeError | None
    meta: AgentMeta
