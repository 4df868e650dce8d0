"""What is the effect when each unit is weighted by how surprising its treatment was?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.base import FittedEffect, Nuisances
from src.causal_engine.estimators.inference import independent_columns, make_estimate, of_influence, ratio
from src.causal_engine.estimators.learners import logistic_probabilities
from src.causal_engine.estimators.positivity import (
    arm_weights,
    average_asked,
    bounded,
    require_overlap,
    restrict,
    spread_influence,
)
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError


def fit_ipw(study: Study) -> FittedEffect:
    """Normalised (Hájek) weighting with a logistic propensity: ATE, ATT, or ATO with overlap weights.

    The influence function accounts for the estimated propensity: for the ATE it is projected off the
    propensity's scores (Lunceford & Davidian 2004, eq. 19); for ATT and ATO, whose very population
    the propensity weighs, the derivative of the estimate is carried through (Li, Morgan & Zaslavsky
    2018, sec. 3.3). Asked for SATE or SATT it answers for the population. Raises OverlapViolated, TooFewRows, or
    EstimationError for a treatment that is not binary.
    """
    if not study.is_binary:
        raise EstimationError("ipw compares two arms; use linear_dml for a treatment that is not 0/1")
    propensity = _propensity(study)
    rows, estimand = require_overlap(study, propensity, average_asked(study).of_population)
    used = restrict(study, rows)
    if used is not study:
        propensity = _propensity(used)
    kept = bounded(propensity, estimand)
    value, influence = _weighted_contrast(used, kept, estimand)
    if estimand in (Estimand.ATT, Estimand.ATO):
        influence = influence + _through_propensity(used, kept, estimand)
    else:
        influence = _off_propensity_scores(used, propensity, influence)
    estimate = make_estimate(
        used,
        estimator="ipw",
        estimand=estimand,
        value=value,
        uncertainty=of_influence(influence, used.clusters),
        n_dropped=study.n - used.n,
    )
    nuisances = Nuisances(propensity, None, None, None, (("propensity", "logistic"),))
    return FittedEffect(estimate, spread_influence(influence, rows), nuisances)


def _propensity(study: Study) -> FloatArray:
    if study.x.shape[1] == 0:
        return np.full(study.n, study.t.mean())
    return logistic_probabilities(study.x, study.t)


def _weighted_contrast(study: Study, propensity: FloatArray, estimand: Estimand) -> tuple[float, FloatArray]:
    treated_weight, control_weight = arm_weights(study.t, propensity, estimand)
    treated, treated_influence = ratio(treated_weight * study.y, treated_weight)
    control, control_influence = ratio(control_weight * study.y, control_weight)
    return treated - control, treated_influence - control_influence


def _through_propensity(study: Study, propensity: FloatArray, estimand: Estimand) -> FloatArray:
    """Influence (n,) of the fitted logistic coefficients on the contrast of weighted means."""
    t, y, e = study.t, study.y, propensity
    design = _propensity_design(study)
    treated_weight, control_weight = arm_weights(t, e, estimand)
    # Derivatives of the weights in the linear predictor: 1 − e falls and e rises by e(1 − e), the odds rise by odds.
    treated_slope = -t * e * (1 - e) if estimand is Estimand.ATO else np.zeros(study.n)
    control_slope = (1 - t) * e * (1 - e) if estimand is Estimand.ATO else control_weight
    gradient = np.zeros(design.shape[1])
    for weight, slope, sign in ((treated_weight, treated_slope, 1.0), (control_weight, control_slope, -1.0)):
        mean = float(weight @ y / weight.sum())
        gradient += sign * ((slope * (y - mean)) @ design) / weight.sum()
    information = (design * (e * (1 - e))[:, None]).T @ design / study.n
    direction = np.linalg.lstsq(information, gradient, rcond=1e-12)[0]
    return np.asarray((t - e) * (design @ direction), dtype=np.float64)


def _propensity_design(study: Study) -> FloatArray:
    x = study.x[:, independent_columns(study.x)]
    return np.column_stack([np.ones(study.n), x - x.mean(axis=0)])


def _off_propensity_scores(study: Study, propensity: FloatArray, influence: FloatArray) -> FloatArray:
    design = _propensity_design(study)
    design_scores = design * (study.t - propensity)[:, None]
    # Σψ s' (Σ e(1−e)xx')⁻¹ s: derivative of the estimate in the propensity's coefficients times their influence.
    slopes, *_ = np.linalg.lstsq(design_scores, influence, rcond=1e-12)
    return np.asarray(influence - design_scores @ slopes, dtype=np.float64)
