"""What does treating one unit more, or less, bring, in scores whose mean is the effect?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.causal_engine.energy_score.effect_data import EffectData
from src.causal_engine.estimators.learners import candidate_learners, fit_predict
from src.causal_engine.study import FloatArray, IntArray

TWICE_LEARNT = 2**0.5
"""Factor on the error of what compares units by their out-of-fold predictions.

Fold a is predicted from the outcomes of fold b, and b from those of a, so where nothing is there to be
learnt each pair of units enters twice: for predictions that are linear in the outcomes, with any weights, the
variance is up to 2 times what independent terms would have (Cauchy-Schwarz on the degenerate U-statistic;
Wager 2024, "Sequential validation of treatment heterogeneity", shows the same fault of pooled cross-fitted tests).
"""
LEAST_VARIANCE = 0.1
"""A unit's treatment variance is kept above this share of the mean one where it is divided by."""


@dataclass(frozen=True)
class EffectScores:
    """Doubly robust scores, each (n,), whose mean over any group of units chosen by covariates is what they name.

    ``effect``: the effect of the treatment, or of one unit more of it. ``today``: the outcome as it
    is, or 0 for a continuous treatment, whose scores are changes against today; ``treated`` and
    ``untreated``: the outcome if everybody were (continuous: had one unit more; None for one less).
    ``own``: treatment received today (continuous: 0, for changes against today). ``clusters`` (n,).
    """

    effect: FloatArray
    today: FloatArray
    treated: FloatArray
    untreated: FloatArray | None
    own: FloatArray
    clusters: IntArray | None


def effect_scores(data: EffectData, predicted: FloatArray, clusters: IntArray | None) -> EffectScores:
    """Scores of all units on the cross-fitted nuisances; ``predicted`` (n,) is the out-of-fold effect.

    Two arms: mₐ + 1{t=a}(y−mₐ)/P(a) (Robins, Rotnitzky & Zhao 1994; Athey & Wager 2021, eq. 5).
    Continuous: τ̂ + (t−e)(y−m−τ̂(t−e))/Var(t|x), the score of an average derivative where the outcome is linear
    in the treatment given x (Athey & Wager 2021, sec. 2.3).
    """
    if data.binary_treatment:
        (control, treated), e, t, y = data.arms, data.propensity, data.t, data.y
        under_treatment = treated + t * (y - treated) / e
        under_control = control + (1 - t) * (y - control) / (1 - e)
        return EffectScores(under_treatment - under_control, y, under_treatment, under_control, t, clusters)
    residual_t = data.t - data.propensity
    left = data.y - data.outcome - predicted * residual_t
    effect = predicted + residual_t * left / treatment_variance(data, residual_t)
    nothing = np.zeros_like(effect)
    return EffectScores(effect, nothing, effect, None, nothing, clusters)


def treatment_variance(data: EffectData, residual_t: FloatArray) -> FloatArray:
    """Var(t|x) by regressing squared treatment residuals on the covariates, out of fold, shape (n,)."""
    squared, mean = residual_t**2, float((residual_t**2).mean())
    names = candidate_learners(len(squared), data.x.shape[1], "auto")
    fitted = {name: np.empty_like(squared) for name in names}
    for fold in np.unique(data.folds):
        held, train = data.folds == fold, data.learning_rows(fold)
        found = fit_predict(names, data.x[train], squared[train], data.x[held], probability=False, seed=data.seed)
        for name, values in found.items():
            fitted[name][held] = values
    # Squares are skewed: one value for everybody stays unless a function of the covariates is better.
    fitted["constant"] = np.full_like(squared, mean)
    best = min(fitted, key=lambda name: float(((squared - fitted[name]) ** 2).sum()))
    return np.maximum(fitted[best], LEAST_VARIANCE * mean)
