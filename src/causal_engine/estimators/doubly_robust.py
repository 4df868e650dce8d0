"""What is the average effect if either the propensity or the outcome model is right?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.base import FittedEffect, Nuisances
from src.causal_engine.estimators.inference import make_estimate, of_influence, ratio
from src.causal_engine.estimators.nuisance import cross_fit
from src.causal_engine.estimators.positivity import (
    BoolArray,
    bounded,
    require_overlap,
    restrict,
    spread_influence,
)
from src.causal_engine.estimators.segments import segment_effects
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError


def fit_aipw(study: Study, nuisances: Nuisances | None = None) -> FittedEffect:
    """Cross-fitted augmented inverse-probability weighting, ATE or ATT, influence-function errors.

    Scores of Robins, Rotnitzky & Zhao (1994), cross-fitting of Chernozhukov et al. (2018, sec. 5.1).
    ``nuisances`` (of this very study) replaces the fit. Propensities are bounded to [.01, .99]; how
    many that touched is the diagnostic "n_bounded". Raises OverlapViolated, TooFewRows, or
    EstimationError for a treatment that is not binary.
    """
    if not study.is_binary:
        raise EstimationError("aipw compares two arms; use linear_dml for a treatment that is not 0/1")
    fitted = cross_fit(study) if nuisances is None else nuisances
    rows, estimand = _overlapping(study, fitted)
    used = restrict(study, rows)
    if used is not study:
        fitted = cross_fit(used, learners=dict(fitted.learners))
    numerator, denominator = scores(used, fitted, estimand)
    value, influence = ratio(numerator, denominator)
    touched = (fitted.propensity != bounded(fitted.propensity, estimand)).sum()
    estimate = make_estimate(
        used,
        estimator="aipw",
        estimand=estimand,
        value=value,
        uncertainty=of_influence(influence, used.clusters),
        n_dropped=study.n - used.n,
        segments=segment_effects(used, numerator, denominator),
        diagnostics=(("n_bounded", float(touched)),),
    )
    return FittedEffect(estimate, spread_influence(influence, rows), fitted)


def scores(study: Study, nuisances: Nuisances, estimand: Estimand) -> tuple[FloatArray, FloatArray]:
    """Numerator and denominator scores, each (n,), whose ratio of means is the effect.

    ATE: the doubly robust pseudo-outcome over ones. ATT: (t − (1−t)·e/(1−e))·(y − m₀) over t.
    """
    if nuisances.outcome_control is None or nuisances.outcome_treated is None:
        raise EstimationError("doubly robust scores need an outcome model per arm; the treatment must be 0/1")
    e = bounded(nuisances.propensity, estimand)
    if estimand is Estimand.ATT:
        odds = e / (1 - e)
        return (study.t - (1 - study.t) * odds) * (study.y - nuisances.outcome_control), study.t
    pseudo = pseudo_outcome(study.t, study.y, e, nuisances.outcome_control, nuisances.outcome_treated)
    return pseudo, np.ones(study.n)


def pseudo_outcome(
    t: FloatArray, y: FloatArray, propensity: FloatArray, control: FloatArray, treated: FloatArray
) -> FloatArray:
    """m₁ − m₀ + t(y−m₁)/e − (1−t)(y−m₀)/(1−e), shape (n,); its mean estimates the ATE."""
    correction = t * (y - treated) / propensity - (1 - t) * (y - control) / (1 - propensity)
    return treated - control + correction


def _overlapping(study: Study, nuisances: Nuisances) -> tuple[BoolArray, Estimand]:
    if study.spec.randomized:
        everyone = np.ones(study.n, dtype=np.bool_)
        return everyone, Estimand.ATT if study.spec.estimand is Estimand.ATT else Estimand.ATE
    return require_overlap(study, nuisances.propensity)
