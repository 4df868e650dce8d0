"""What does every estimator take and return?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from src.causal_engine.results import EffectEstimate
from src.causal_engine.study import FloatArray, Study


@dataclass(frozen=True)
class Nuisances:
    """Cross-fitted (out-of-fold) nuisance predictions, each of shape (n,).

    ``propensity`` is E[T|X] (a probability when the treatment is binary), ``outcome`` E[Y|X];
    ``outcome_control``/``outcome_treated`` are E[Y|X,T=0/1], None for a continuous treatment.
    ``learners`` names the learner chosen for each ("propensity", "logistic").
    """

    propensity: FloatArray
    outcome: FloatArray | None
    outcome_control: FloatArray | None
    outcome_treated: FloatArray | None
    learners: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FittedEffect:
    """An estimate with what re-use needs.

    ``influence`` is the estimated influence function, shape (n,), mean 0, in outcome units:
    std_error² = Σ influence² / n² without clusters. None where the estimator has none.
    """

    estimate: EffectEstimate
    influence: FloatArray | None = None
    nuisances: Nuisances | None = None


class Estimator(Protocol):
    """One way to estimate one estimand; raises EstimationError, never answers with another method."""

    @property
    def name(self) -> str:
        """Name it is asked for by, and reports."""
        ...

    def fit(self, study: Study) -> FittedEffect:
        """Estimate the effect of ``study.spec.treatment`` on ``study.spec.outcome``."""
        ...
