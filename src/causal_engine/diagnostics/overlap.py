"""Do treated and untreated units occupy the same range of treatment probability?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.positivity import arm_weights, average_asked, bounded, share_outside
from src.causal_engine.results import OverlapReport
from src.causal_engine.study import FloatArray, Study
from src.errors import StudyInvalid

BINS = 20


def overlap_report(study: Study, propensity: FloatArray) -> OverlapReport:
    """Describe ``propensity`` (n,) by arm; raises StudyInvalid for a treatment that is not binary.

    Effective sizes are Kish's (Σw)²/Σw² of the inverse-probability weights of the estimand asked
    for, propensities bounded to [.01, .99]; ``auc`` is the probability that a treated unit has the
    higher propensity (.5: nothing predicts treatment).
    """
    if not study.is_binary:
        raise StudyInvalid("overlap of arms is defined for a 0/1 treatment")
    treated = study.t == 1
    estimand = average_asked(study)
    weights = arm_weights(study.t, bounded(propensity, estimand), estimand)
    edges = np.linspace(0.0, 1.0, BINS + 1)
    return OverlapReport(
        min_propensity=float(propensity.min()),
        max_propensity=float(propensity.max()),
        share_outside=share_outside(propensity, study.t, estimand),
        effective_n_treated=effective_size(weights[0]),
        effective_n_control=effective_size(weights[1]),
        auc=_auc(propensity, treated),
        bins=tuple(edges.tolist()),
        counts_treated=tuple(np.histogram(propensity[treated], edges)[0].tolist()),
        counts_control=tuple(np.histogram(propensity[~treated], edges)[0].tolist()),
    )


def effective_size(weights: FloatArray) -> float:
    """(Σw)²/Σw²: how many equally weighted units the weights are worth."""
    return float(weights.sum() ** 2 / (weights @ weights))


def _auc(propensity: FloatArray, treated: np.ndarray) -> float:
    _, codes, counts = np.unique(propensity, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    n_treated = int(treated.sum())
    wins = float(ranks[treated].sum()) - n_treated * (n_treated + 1) / 2
    return wins / (n_treated * (len(treated) - n_treated))
