"""Which outcome predictions leave nothing for the propensity to correct?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.positivity import arm_weights, bounded
from src.causal_engine.estimators.second_order import corrected
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError

_PENALTIES = np.logspace(-4, 4, 33)
_VARIES = 1e-9
_WIDEST_SHIFT = 30.0
_MARGIN = 1e-4
_LEAST_PROPENSITY = 1e-4


def targeted(study: Study, nuisances: Nuisances, estimand: Estimand) -> Nuisances:
    """The nuisances with outcome models updated so that each arm's weighted residuals sum to zero.

    First each arm's model is recalibrated on products of propensity and prognosis (``recalibrated``)
    and corrected on smooth functions of the covariates (``corrected``). Then its logit on the range
    of the outcome is shifted by one constant, fitted with the estimand's weights: the logistic
    fluctuation of Gruber & van der Laan (2010), weights in place of a covariate, so that predictions
    stay within the range. The mean contrast of the result solves the efficient score equation.
    Raises EstimationError without an outcome model per arm.
    """
    control, treated = nuisances.outcome_control, nuisances.outcome_treated
    if control is None or treated is None:
        raise EstimationError("targeting needs an outcome model per arm; the treatment must be 0/1")
    scores = score_basis(nuisances.propensity, control, treated)
    first = replace(
        nuisances,
        outcome_control=recalibrated(control, study.y, study.t == 0, scores),
        outcome_treated=recalibrated(treated, study.y, study.t == 1, scores),
    )
    second = corrected(study, first, estimand)
    weights = arm_weights(study.t, bounded(nuisances.propensity, estimand), estimand)
    return replace(
        second,
        outcome_control=fluctuated(_given(second.outcome_control), study.y, weights[1]),
        outcome_treated=fluctuated(_given(second.outcome_treated), study.y, weights[0]),
    )


def _given(model: FloatArray | None) -> FloatArray:
    assert model is not None
    return model


def score_basis(propensity: FloatArray, control: FloatArray, treated: FloatArray) -> FloatArray:
    """Squares and products of logit propensity, m₀ and m₁ − m₀, each standardised; shape (n, ≤ 6).

    What does not vary is left out, and so are the three themselves: a slope on m₀ would pull an
    out-of-fold model towards its mean, and with it the confounding it has found.
    """
    e = np.clip(propensity, _LEAST_PROPENSITY, 1 - _LEAST_PROPENSITY)
    first = _standardised(np.column_stack([np.log(e / (1 - e)), control, treated - control]))
    width = first.shape[1]
    products = [first[:, i] * first[:, j] for i in range(width) for j in range(i, width)]
    return _standardised(np.column_stack(products)) if products else first


def recalibrated(model: FloatArray, y: FloatArray, arm: np.ndarray, scores: FloatArray) -> FloatArray:
    """``model`` (n,) plus a ridge regression of the arm's residuals on ``scores`` (n, k), within the arm's range.

    The residual bias of a doubly robust estimate is the residual's mean given propensity and
    prognosis, weighted (Benkeser et al. 2017, sec. 3): whatever of it the few scores show is taken
    out. The penalty has the least generalised cross-validation score (Golub, Heath & Wahba 1979).
    """
    residual = y[arm] - model[arm]
    centre = scores[arm].mean(axis=0)
    within = scores[arm] - centre
    slopes = _ridge(within, residual - residual.mean())
    corrected = model + residual.mean() + (scores - centre) @ slopes
    return np.asarray(np.clip(corrected, y[arm].min(), y[arm].max()), dtype=np.float64)


def fluctuated(model: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    """``model`` (n,) with the constant logit shift at which Σ weight·(y − model) = 0.

    ``weight`` (n,) is 0 outside the arm. An arm whose outcome sits at an end of the range is left
    as close to it as the shift of 30 logits brings it.
    """
    low, spread = float(y.min()), float(np.ptp(y))
    share = np.clip((model - low) / spread, _MARGIN, 1 - _MARGIN)
    logit, target = np.log(share / (1 - share)), (y - low) / spread
    used = weight > 0

    def excess(shift: float) -> float:
        return float(weight[used] @ (target[used] - _sigmoid(logit[used] + shift)))

    ends = (excess(-_WIDEST_SHIFT), excess(_WIDEST_SHIFT))
    if ends[0] > 0 > ends[1]:
        shift = float(brentq(excess, -_WIDEST_SHIFT, _WIDEST_SHIFT, xtol=1e-12))
    else:
        shift = -_WIDEST_SHIFT if ends[0] <= 0 else _WIDEST_SHIFT
    return low + spread * _sigmoid(logit + shift)


def _ridge(design: FloatArray, target: FloatArray) -> FloatArray:
    """Ridge coefficients (k,) of centred ``target`` on centred ``design`` at the penalty of least GCV score."""
    n = len(target)
    left, singular, right = np.linalg.svd(design, full_matrices=False)
    along = left.T @ target
    shrinkage = singular**2 / (singular**2 + n * _PENALTIES[:, None])
    unexplained = target @ target - (2 * shrinkage - shrinkage**2) @ along**2
    freedom = np.maximum(n - 1 - shrinkage.sum(axis=1), 1.0)
    best = int(np.argmin(unexplained / freedom**2))
    slopes = np.divide(shrinkage[best] * along, singular, out=np.zeros_like(along), where=singular > _VARIES)
    return np.asarray(right.T @ slopes, dtype=np.float64)


def _standardised(columns: FloatArray) -> FloatArray:
    spread = columns.std(axis=0)
    varying = spread > _VARIES * np.maximum(np.abs(columns).max(axis=0), _VARIES)
    kept = columns[:, varying]
    return np.asarray((kept - kept.mean(axis=0)) / spread[varying], dtype=np.float64)


def _sigmoid(score: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-score)), dtype=np.float64)
