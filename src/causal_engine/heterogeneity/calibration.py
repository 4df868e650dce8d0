"""Do the predicted differences between effects show in data the predictions have not seen?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from src.causal_engine.energy_score.effect_data import EffectData
from src.causal_engine.estimators.inference import fit_linear, interval, p_value
from src.causal_engine.heterogeneity.report import Bounded, CalibrationTest, EffectGroup
from src.causal_engine.heterogeneity.scores import TWICE_LEARNT, EffectScores
from src.causal_engine.heterogeneity.simultaneous import Simultaneous
from src.causal_engine.study import FloatArray, IntArray

GROUPS, FEW_GROUPS, ROWS_FOR_ALL = 5, 3, 500
_SAME = 1e-9


def calibration_test(data: EffectData, predicted: FloatArray, clusters: IntArray | None) -> CalibrationTest | None:
    """Slope of the best linear predictor of the effects given out-of-fold predictions ``predicted`` (n,).

    Chernozhukov, Demirer, Duflo & Fernández-Val (2018, eq. 3.1), on residuals of outcome and
    treatment as in Athey & Wager (2019, sec. 3): (y−m) on (t−e) and (t−e)(τ̂ − its mean in the fold).
    Robust errors, by cluster where rows are clustered, times ``TWICE_LEARNT``; one-sided, since a negative
    slope is no sign of what was predicted. None where everybody in a fold is predicted the same: there is no
    difference to test.
    """
    residual_t, residual_y = data.t - data.propensity, data.y - data.outcome
    deviation = _within_folds(predicted, data.folds)
    spread = float(deviation.std())
    if spread <= _SAME * max(float(np.abs(predicted).max()), np.finfo(np.float64).tiny):
        return None
    design = np.column_stack([residual_t, residual_t * deviation / spread])
    fit = fit_linear(residual_y, design, clusters)
    slope, found = float(fit.coefficients[1]), fit.uncertainty(1)
    uncertainty = replace(found, std_error=TWICE_LEARNT * found.std_error)
    limits = interval(slope, uncertainty)
    bounded = Bounded(slope / spread, limits.lower / spread, limits.upper / spread)
    return CalibrationTest(
        bounded, p_value(slope, uncertainty) / 2 if slope > 0 else 1 - p_value(slope, uncertainty) / 2
    )


def effect_groups(
    scores: EffectScores, predicted: FloatArray, places: FloatArray, rng: np.random.Generator
) -> tuple[tuple[EffectGroup, ...], Bounded]:
    """Effects in groups of equal size by predicted effect (GATES; ibid., eq. 3.5), and largest minus smallest group.

    ``places`` (n,) is ``places_within_folds``. Limits of the groups hold together; those of the
    difference are its own.
    """
    ranks = group_ranks(places)
    count = int(ranks.max()) + 1
    member = np.equal.outer(ranks, np.arange(count)).astype(np.float64)
    sizes = member.sum(axis=0)
    values = scores.effect @ member / sizes
    influence = member * (scores.effect[:, None] - values) * (len(ranks) / sizes)
    found = Simultaneous(influence, scores.clusters, rng).bounded(values)
    means = predicted @ member / sizes
    groups = tuple(EffectGroup(i + 1, float(means[i]), found[i], int(sizes[i])) for i in range(count))
    between = Simultaneous(TWICE_LEARNT * (influence[:, -1] - influence[:, 0])[:, None], scores.clusters, rng)
    return groups, between.bounded([values[-1] - values[0]])[0]


def group_ranks(places: FloatArray) -> IntArray:
    """Group of each unit by its place, 0 for the smallest predicted effects, shape (n,)."""
    count = GROUPS if len(places) >= ROWS_FOR_ALL else FEW_GROUPS
    return np.minimum((places * count).astype(np.int64), count - 1)


def places_within_folds(predicted: FloatArray, folds: IntArray, lot: FloatArray) -> FloatArray:
    """Place of each unit among those of its fold by predicted effect, in (0, 1), shape (n,); ties as ``lot`` (n,) says.

    Between folds predictions are not comparable: the fold with the smallest effects is predicted by
    the others, whose effects are larger, so that a common ranking would put it too high.
    """
    places = np.empty(len(predicted))
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        ordered = rows[np.lexsort((lot[rows], predicted[rows]))]
        places[ordered] = (np.arange(len(rows)) + 0.5) / len(rows)
    return places


def _within_folds(predicted: FloatArray, folds: IntArray) -> FloatArray:
    deviation = np.empty_like(predicted)
    for fold in np.unique(folds):
        rows = folds == fold
        deviation[rows] = predicted[rows] - predicted[rows].mean()
    return deviation
