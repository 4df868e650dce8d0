"""What is asked of feature_analyzer, and what does it answer?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from src.agents.results import AgentMeta
from src.agents.runtime import NodeError
from src.domain.modelling import ProblemType, TrainingData

ExplainerKind = Literal["Tree", "Linear", "Kernel"]


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """Columns to derive: pairwise products and ratios of the ``top_k`` numbers by mutual information with the
    target, squares, and logarithms of skewed positive numbers. All are off by default."""

    interactions: bool = False
    ratios: bool = False
    polynomials: bool = False
    logarithms: bool = False
    top_k: int = 5


@dataclass(frozen=True, slots=True)
class SelectionConfig:
    """When a feature is left out: variance at most ``min_variance`` (of values scaled to 0–1), absolute Spearman
    correlation above ``max_correlation`` with a feature that tells more of the target, variance inflation factor
    above ``max_vif``; and ``min_stability``, the least share of subsamples in which a feature must be chosen."""

    min_variance: float = 1e-4
    max_correlation: float = 0.95
    max_vif: float = 10.0
    min_stability: float = 0.0
    subsamples: int = 20


@dataclass(frozen=True, slots=True)
class AnalyzeRequest:
    """Features of ``data`` to select, and a model to explain.

    ``model_uri`` is loaded through MLflow; None: selection only. At most ``max_samples`` real rows of the
    validation split are explained, with the training split as background.
    """

    experiment_id: str
    data: TrainingData
    problem_type: ProblemType
    model_uri: str | None = None
    training_run_id: str | None = None
    max_samples: int = 1_000
    compute_interactions: bool = True
    feature_config: GenerationConfig = field(default_factory=GenerationConfig)
    selection_config: SelectionConfig = field(default_factory=SelectionConfig)
    random_state: int = 42


@dataclass(frozen=True, slots=True)
class RankedFeature:
    """Mean absolute SHAP value, and the sign of its rank correlation with the feature (0: neither)."""

    feature: str
    mean_abs: float
    direction: Literal[-1, 0, 1]


@dataclass(frozen=True, slots=True)
class ShapSummary:
    """``space``: what values add up to: probability, log_odds or the target's units. ``max_error``: greatest absolute
    difference between base + sum of values and the model's output over the explained rows."""

    explainer: ExplainerKind
    space: str
    base_value: float
    ranked: tuple[RankedFeature, ...]
    n_rows: int
    max_error: float


@dataclass(frozen=True, slots=True)
class Interaction:
    """Strength of two features acting together; ``method``: shap_interaction or h_statistic."""

    a: str
    b: str
    strength: float
    method: str


@dataclass(frozen=True, slots=True)
class Narrative:
    """What the importances say; ``source``: llm or template."""

    summary: str
    key_insights: tuple[str, ...]
    cautions: tuple[str, ...]
    source: Literal["llm", "template"]


@dataclass(frozen=True, slots=True)
class Removed:
    """Features left out, by the reason, each with the number that decided."""

    variance: Mapping[str, float] = field(default_factory=dict)
    correlation: Mapping[str, float] = field(default_factory=dict)
    vif: Mapping[str, float] = field(default_factory=dict)
    stability: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnalyzeResult:
    """Selected features, and the explanation of the model where one was named.

    ``plots``: name → PNG bytes (beeswarm, bar). ``analysis_id``: row of ml_shap_analyses.
    """

    selected: tuple[str, ...]
    generated: tuple[str, ...]
    removed: Removed
    shap: ShapSummary | None
    interactions: tuple[Interaction, ...]
    narrative: Narrative | None
    plots: Mapping[str, bytes]
    analysis_id: str | None
    error: NodeError | None
    meta: AgentMeta
