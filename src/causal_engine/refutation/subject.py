"""What is under test: the study, its estimate, and how the same estimator answers again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.dose_response import refit_dose_response
from src.causal_engine.estimators.doubly_robust import fit_aipw, fit_tmle
from src.causal_engine.estimators.exact import refit_exact
from src.causal_engine.estimators.nuisance import cross_fit
from src.causal_engine.estimators.partial_linear import fit_linear_dml
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.estimators.synthetic_did import refit_synthetic_did
from src.causal_engine.refutation.linear_form import LinearForm
from src.causal_engine.results import EffectEstimate
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError

Refit = Callable[[Study], FittedEffect]

# A refit is asked for its value alone, so nothing is spent on how wide its interval is.
_CROSS_FITTED: dict[str, Callable[..., FittedEffect]] = {
    "aipw": partial(fit_aipw, widen=False),
    "tmle": partial(fit_tmle, widen=False),
    "linear_dml": fit_linear_dml,
}

_QUICK: dict[str, Refit] = {
    "synthetic_did": refit_synthetic_did,
    "dose_response": refit_dose_response,
    "exact": refit_exact,
}


@dataclass(frozen=True)
class Refits:
    """Effects (k,) of the refits that answered, and why the others did not."""

    effects: FloatArray
    failures: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """At least half of the refits answered."""
        return len(self.effects) > 0 and len(self.effects) >= len(self.failures)

    @property
    def note(self) -> str:
        """What to add to a test's detail about refits that failed."""
        if not self.failures:
            return ""
        total = len(self.effects) + len(self.failures)
        return f"; {len(self.failures)} of {total} refits could not answer ({self.failures[0]})"


@dataclass(frozen=True)
class Subject:
    """``form`` is the estimator's closed form, None when it must be refitted; ``deadline`` in monotonic seconds."""

    study: Study
    fitted: FittedEffect
    refit: Refit
    form: LinearForm | None
    deadline: float | None = None
    clock: Callable[[], float] = field(default=time.monotonic)

    @property
    def estimate(self) -> EffectEstimate:
        """The estimate under test."""
        return self.fitted.estimate

    @property
    def tolerance(self) -> float:
        """How far an effect may move and still count as unmoved: max(.2·|effect|, 1 standard error)."""
        return max(0.2 * abs(self.estimate.value), self.estimate.std_error)

    @property
    def cross_fitted(self) -> bool:
        """Whether a refit means fitting flexible models for treatment and outcome again."""
        return self.fitted.nuisances is not None and self.fitted.nuisances.outcome is not None

    @property
    def out_of_time(self) -> bool:
        """Whether the time budget is spent."""
        return self.deadline is not None and self.clock() >= self.deadline

    @property
    def n_units(self) -> int:
        """Independent units: clusters where rows repeat, else rows."""
        clusters = self.study.clusters
        return self.study.n if clusters is None else int(clusters.max()) + 1

    def refit_all(self, studies: Iterable[Study], *, at_least: int) -> Refits:
        """Refit on each study in turn, stopping early after ``at_least`` when the time budget is spent."""
        effects: list[float] = []
        failures: list[str] = []
        for done, study in enumerate(studies):
            if done >= at_least and self.out_of_time:
                break
            try:
                effects.append(self.refit(study).estimate.value)
            except EstimationError as error:
                failures.append(str(error))
        return Refits(np.array(effects, dtype=np.float64), tuple(failures))


def same_estimator(fitted: FittedEffect) -> Refit:
    """The estimator that made ``fitted``; cross-fitted ones keep the learners that were chosen and fit them anew."""
    name = fitted.estimate.estimator
    if name in _QUICK:
        return _QUICK[name]
    fit, nuisances = _CROSS_FITTED.get(name), fitted.nuisances
    if fit is None or nuisances is None:
        return lambda study: fit_estimator(name, study)
    learners = dict(nuisances.learners)
    return lambda study: fit(study, cross_fit(study, learners=learners))
