"""What is the effect when each unit is weighted by how surprising its treatment was?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.base import FittedEffect, Nuisances
from src.causal_engine.estimators.inference import independent_columns, make_estimate, of_influence, ratio
from src.causal_engine.estimators.learners import logistic_probabilities
from src.causal_engine.estimators.positivity import bounded, require_overlap, restrict, spread_influence
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError


def fit_ipw(study: Study) -> FittedEffect:
    """Normalised (Hájek) inverse-probability weighting with a logistic propensity, ATE or ATT.

    The influence function is projected off the propensity's scores, so the error accounts for the
    estimated propensity (Lunceford & Davidian 2004, eq. 19). Raises OverlapViolated, TooFewRows, or
    EstimationError for a treatment that is not binary.
    """
    if not study.is_binary:
        raise EstimationError("ipw compares two arms; use linear_dml for a treatment that is not 0/1")
    propensity = _propensity(study)
    rows, estimand = require_overlap(study, propensity)
    used = restrict(study, rows)
    if used is not study:
        propensity = _propensity(used)
    value, influence = _weighted_contrast(used, bounded(propensity, estimand), estimand)
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


def arm_weights(t: FloatArray, propensity: FloatArray, estimand: Estimand) -> tuple[FloatArray, FloatArray]:
    """Weights (n,) of the treated and of the untreated: 1/e and 1/(1−e) for the ATE, 1 and e/(1−e) for the ATT."""
    if estimand is Estimand.ATT:
        return t, (1 - t) * propensity / (1 - propensity)
    return t / propensity, (1 - t) / (1 - propensity)


def _propensity(study: Study) -> FloatArray:
    if study.x.shape[1] == 0:
        return np.full(study.n, study.t.mean())
    return logistic_probabilities(study.x, study.t)


def _weighted_contrast(study: Study, propensity: FloatArray, estimand: Estimand) -> tuple[float, FloatArray]:
    treated_weight, control_weight = arm_weights(study.t, propensity, estimand)
    treated, treated_influence = ratio(treated_weight * study.y, treated_weight)
    control, control_influence = ratio(control_weight * study.y, control_weight)
    return treated - control, treated_influence - control_influence


def _off_propensity_scores(study: Study, propensity: FloatArray, influence: FloatArray) -> FloatArray:
    x = study.x[:, independent_columns(study.x)]
    design = np.column_stack([np.ones(study.n), x - x.mean(axis=0)])
    design_scores = design * (study.t - propensity)[:, None]
    # Σψ s' (Σ e(1−e)xx')⁻¹ s: derivative of the estimate in the propensity's coefficients times their influence.
    slopes, *_ = np.linalg.lstsq(design_scores, influence, rcond=1e-12)
    return np.asarray(influence - design_scores @ slopes, dtype=np.float64)
