"""What is the average effect if either the propensity or the outcome model is right?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from src.causal_engine.estimators.base import FittedEffect, Nuisances
from src.causal_engine.estimators.inference import make_estimate, of_influence, ratio, widened
from src.causal_engine.estimators.nuisance import FOLDS, MAX_TRAINING, cross_fit
from src.causal_engine.estimators.positivity import (
    BoolArray,
    arm_weights,
    average_asked,
    bounded,
    require_overlap,
    restrict,
    spread_influence,
)
from src.causal_engine.estimators.second_order import corrected
from src.causal_engine.estimators.segments import segment_effects
from src.causal_engine.estimators.splitting import nuisance_uncertainty
from src.causal_engine.estimators.targeting import targeted
from src.causal_engine.results import EffectEstimate
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError

Update = Callable[[Study, Nuisances, Estimand], Nuisances]


def fit_aipw(study: Study, nuisances: Nuisances | None = None, *, widen: bool = True) -> FittedEffect:
    """Cross-fitted augmented inverse-probability weighting, influence-function errors.

    Scores of Robins, Rotnitzky & Zhao (1994), cross-fitting of Chernozhukov et al. (2018, sec. 5.1),
    with the second-order correction of what both nuisance models leave in (``corrected``). Intervals
    add what estimating the nuisances adds (``nuisance_uncertainty``), left out without ``widen``. SATE
    and SATT have the value of ATE and ATT and an interval without the sampling of the units
    (``sample_noise``). Known nuisances, that no learner estimated, are taken as they are.
    ``nuisances`` (of this very study) replaces the fit. Propensities are bounded to [.01, .99]; how
    many that touched is the diagnostic "n_bounded". Raises OverlapViolated, TooFewRows, or
    EstimationError for a treatment that is not binary.
    """
    return _fit(study, nuisances, "aipw", _corrected_where_estimated, widen=widen)


def fit_tmle(study: Study, nuisances: Nuisances | None = None, *, widen: bool = True) -> FittedEffect:
    """Cross-validated targeted maximum likelihood (van der Laan & Rubin 2006; Zheng & van der Laan 2011).

    The cross-fitted outcome models are recalibrated, corrected and then fluctuated (``targeted``)
    until the propensity-weighted residuals of either arm sum to zero; the estimate is the plug-in
    contrast. ATE, ATT, SATE (Balzer, Petersen & van der Laan 2016) and SATT; otherwise as ``fit_aipw``.
    Raises EstimationError for ATO too.
    """
    if study.spec.estimand is Estimand.ATO:
        raise EstimationError("tmle does not estimate the overlap-weighted effect (ATO); use aipw or ipw")
    return _fit(study, nuisances, "tmle", targeted, widen=widen)


def _corrected_where_estimated(study: Study, nuisances: Nuisances, estimand: Estimand) -> Nuisances:
    return corrected(study, nuisances, estimand) if nuisances.learners else nuisances


def _fit(study: Study, nuisances: Nuisances | None, name: str, update: Update, *, widen: bool) -> FittedEffect:
    if not study.is_binary:
        raise EstimationError(f"{name} compares two arms; use linear_dml for a treatment that is not 0/1")
    fitted = cross_fit(study) if nuisances is None else nuisances
    rows, estimand = _overlapping(study, fitted)
    used = restrict(study, rows)
    if used is not study:
        fitted = cross_fit(used, learners=dict(fitted.learners))
    updated = update(used, fitted, estimand)
    numerator, denominator = scores(used, updated, estimand)
    value, influence = ratio(numerator, denominator)
    given_units, noise = "influence function", None
    if estimand.of_sample:
        noise = sample_noise(used, updated, estimand)
        influence, given_units = noise / denominator.mean(), "influence function given the units"
    narrow = uncertainty = of_influence(influence, used.clusters, given_units)
    if widen and fitted.learners:

        def again(study: Study, nuisances: Nuisances) -> float:
            return ratio(*scores(study, update(study, nuisances, estimand), estimand))[0]

        uncertainty = widened(narrow, nuisance_uncertainty(used, fitted, value, again))
        wider = uncertainty.std_error / narrow.std_error
        influence, noise = wider * influence, None if noise is None else wider * noise
    touched = (fitted.propensity != bounded(fitted.propensity, estimand)).sum()
    estimate = make_estimate(
        used,
        estimator=name,
        estimand=estimand,
        value=value,
        uncertainty=uncertainty,
        n_dropped=study.n - used.n,
        segments=segment_effects(used, numerator, denominator, noise),
        diagnostics=(("n_bounded", float(touched)), *_learnt_from(used, narrow.std_error)),
    )
    return FittedEffect(estimate, spread_influence(influence, rows), fitted)


def _learnt_from(study: Study, given_models: float) -> tuple[tuple[str, float], ...]:
    """Rows that a nuisance model learnt from and the error with models known, where that was not four fifths of all."""
    if study.n * (FOLDS - 1) / FOLDS <= MAX_TRAINING:
        return ()
    return (("n_learnt_from", float(MAX_TRAINING)), ("std_error_given_models", given_models))


def precision_lost(estimate: EffectEstimate) -> tuple[str, ...]:
    """What learning from a part of the rows costs, a sentence; none where the models learnt from all."""
    learnt, narrow = estimate.diagnostic("n_learnt_from"), estimate.diagnostic("std_error_given_models")
    if learnt is None or narrow is None:
        return ()
    return (
        f"The models of treatment and outcome learnt from {learnt:,.0f} of {estimate.n:,} rows and predict all of "
        f"them: the standard error is {estimate.std_error:.3g} instead of {narrow:.3g} had the models been known.",
    )


def scores(study: Study, nuisances: Nuisances, estimand: Estimand) -> tuple[FloatArray, FloatArray]:
    """Numerator and denominator scores, each (n,), whose ratio of means is the effect.

    ATE, SATE: the doubly robust pseudo-outcome over ones. ATT, SATT: (t − (1−t)·e/(1−e))·(y − m₀)
    over t. ATO: (t − e)(y − m) over (t − e)², with m = m₀ + e·(m₁ − m₀); for a 0/1 treatment this is
    the efficient score of the e(1−e)-weighted effect (Crump et al. 2006, whose (t−e)(1−2e) terms for
    the estimated weights it contains).
    """
    control, treated = _arms(nuisances)
    e = bounded(nuisances.propensity, estimand)
    if estimand is Estimand.ATO:
        left = study.t - e
        return left * (study.y - control - e * (treated - control)), left**2
    if estimand.on_treated:
        odds = e / (1 - e)
        return (study.t - (1 - study.t) * odds) * (study.y - control), study.t
    pseudo = pseudo_outcome(study.t, study.y, e, control, treated)
    return pseudo, np.ones(study.n)


def sample_noise(study: Study, nuisances: Nuisances, estimand: Estimand) -> FloatArray:
    """What is left of the numerator score (n,) when the units are held fixed: weighted residuals of either arm.

    SATE: t(y−m₁)/e − (1−t)(y−m₀)/(1−e), the first part of the influence function (Imbens 2004, sec.
    II.A; Balzer, Petersen & van der Laan 2016, thm. 1); SATT: t(y−m₁) − (1−t)(y−m₀)·e/(1−e). The part
    that is dropped, m₁ − m₀ − θ, is the sampling of the units. Their variance is that of the error
    for the mean of E[Y(1) − Y(0) | X] over the units.
    """
    control, treated = _arms(nuisances)
    treated_weight, control_weight = arm_weights(study.t, bounded(nuisances.propensity, estimand), estimand)
    return treated_weight * (study.y - treated) - control_weight * (study.y - control)


def pseudo_outcome(
    t: FloatArray, y: FloatArray, propensity: FloatArray, control: FloatArray, treated: FloatArray
) -> FloatArray:
    """m₁ − m₀ + t(y−m₁)/e − (1−t)(y−m₀)/(1−e), shape (n,); its mean estimates the ATE."""
    correction = t * (y - treated) / propensity - (1 - t) * (y - control) / (1 - propensity)
    return treated - control + correction


def _overlapping(study: Study, nuisances: Nuisances) -> tuple[BoolArray, Estimand]:
    if study.spec.randomized:
        return np.ones(study.n, dtype=np.bool_), average_asked(study)
    return require_overlap(study, nuisances.propensity)


def _arms(nuisances: Nuisances) -> tuple[FloatArray, FloatArray]:
    if nuisances.outcome_control is None or nuisances.outcome_treated is None:
        raise EstimationError("doubly robust scores need an outcome model per arm; the treatment must be 0/1")
    return nuisances.outcome_control, nuisances.outcome_treated
