"""What is the average effect if either the propensity or the outcome model is right?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from src.causal_engine.estimators.base import FittedEffect, Nuisances
from src.causal_engine.estimators.inference import make_estimate, of_influence, ratio, widened
from src.causal_engine.estimators.nuisance import cross_fit
from src.causal_engine.estimators.positivity import (
    BoolArray,
    arm_weights,
    average_asked,
    bounded,
    require_overlap,
    restrict,
    spread_influence,
)
from src.causal_engine.estimators.segments import segment_effects
from src.causal_engine.estimators.splitting import nuisance_uncertainty
from src.causal_engine.estimators.targeting import targeted
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError

Update = Callable[[Study, Nuisances, Estimand], Nuisances]


def fit_aipw(study: Study, nuisances: Nuisances | None = None) -> FittedEffect:
    """Cross-fitted augmented inverse-probability weighting, influence-function errors.

    Scores of Robins, Rotnitzky & Zhao (1994), cross-fitting of Chernozhukov et al. (2018, sec. 5.1).
    SATE and SATT have the value of ATE and ATT and an interval without the sampling of the units
    (``sample_noise``), but with what estimating the nuisances adds (``nuisance_uncertainty``).
    ``nuisances`` (of this very study) replaces the fit. Propensities are bounded to [.01, .99]; how
    many that touched is the diagnostic "n_bounded". Raises OverlapViolated, TooFewRows, or
    EstimationError for a treatment that is not binary.
    """
    return _fit(study, nuisances, "aipw", lambda _, fitted, __: fitted)


def fit_tmle(study: Study, nuisances: Nuisances | None = None) -> FittedEffect:
    """Cross-validated targeted maximum likelihood (van der Laan & Rubin 2006; Zheng & van der Laan 2011).

    The cross-fitted outcome models are recalibrated on propensity and prognosis and then fluctuated
    (``targeted``) until the propensity-weighted residuals of either arm sum to zero; the estimate is
    the plug-in contrast. ATE, ATT, SATE (Balzer, Petersen & van der Laan 2016) and SATT; otherwise
    as ``fit_aipw``. Raises EstimationError for ATO too.
    """
    if study.spec.estimand is Estimand.ATO:
        raise EstimationError("tmle does not estimate the overlap-weighted effect (ATO); use aipw or ipw")
    return _fit(study, nuisances, "tmle", targeted)


def _fit(study: Study, nuisances: Nuisances | None, name: str, update: Update) -> FittedEffect:
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
    uncertainty, noise = of_influence(influence, used.clusters), None
    if estimand.of_sample:

        def again(nuisances: Nuisances) -> float:
            return ratio(*scores(used, update(used, nuisances, estimand), estimand))[0]

        noise = sample_noise(used, updated, estimand)
        influence = noise / denominator.mean()
        given_units = of_influence(influence, used.clusters, "influence function given the units")
        uncertainty = widened(given_units, nuisance_uncertainty(used, fitted, value, again))
        wider = uncertainty.std_error / given_units.std_error
        noise, influence = wider * noise, wider * influence
    touched = (fitted.propensity != bounded(fitted.propensity, estimand)).sum()
    estimate = make_estimate(
        used,
        estimator=name,
        estimand=estimand,
        value=value,
        uncertainty=uncertainty,
        n_dropped=study.n - used.n,
        segments=segment_effects(used, numerator, denominator, noise),
        diagnostics=(("n_bounded", float(touched)),),
    )
    return FittedEffect(estimate, spread_influence(influence, rows), fitted)


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
