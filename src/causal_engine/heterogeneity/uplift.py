"""How much is gained by treating first those with the largest predicted effects?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.heterogeneity.report import Bounded, UpliftCurve, UpliftPoint
from src.causal_engine.heterogeneity.scores import TWICE_LEARNT, EffectScores
from src.causal_engine.study import FloatArray
from src.domain.small_cells import SMALLEST_CELL

DRAWS = 200
MOST_POINTS = 20
LEVEL = 0.95


def uplift_curve(
    scores: EffectScores, places: FloatArray, lot: FloatArray, rng: np.random.Generator
) -> UpliftCurve | None:
    """The Qini curve on doubly robust scores, with a bootstrap band that holds for the whole curve.

    Units are treated in falling order of ``places`` (n,), those by predicted effect within their
    fold; ties as ``lot`` (n,) says. Between two points lie at least 11 units; None where not even
    two points can be shown. Gain at share q: mean of the effect score over the first q of the units,
    counting the others 0 (Radcliffe 2007; Yadlowsky et al. 2021). ``qini`` is the mean
    over q of what lies above the straight line of a lot, ``autoc`` the mean over q of (mean effect among the top
    q − mean effect): rank-weighted average effects with linear and logarithmic weights (ibid., sec. 2). The
    bootstrap weights units, or whole clusters, exponentially, ranks stay; errors of everything but the gains
    are taken times ``TWICE_LEARNT``.
    """
    points = min(MOST_POINTS, len(places) // SMALLEST_CELL)
    if points < 2:
        return None
    shares = np.arange(1, points + 1) / points
    order = np.lexsort((lot, -places))
    effect = scores.effect[order]
    gains, above, areas = _curve(effect, np.ones((1, len(effect))), shares)
    weights = _weights(scores, order, rng)
    drawn = [_curve(effect, weights[start : start + 20], shares) for start in range(0, DRAWS, 20)]
    gain_band = _band(gains[0], np.vstack([each[0] for each in drawn]))
    above_band = _band(above[0], np.vstack([each[1] for each in drawn]), TWICE_LEARNT)
    curve = tuple(UpliftPoint(float(share), gain_band[i], above_band[i]) for i, share in enumerate(shares))
    of_areas = np.vstack([each[2] for each in drawn])
    qini, autoc = (_normal(float(areas[0, i]), of_areas[:, i]) for i in (0, 1))
    return UpliftCurve(curve, qini, autoc)


def _curve(effect: FloatArray, weights: FloatArray, shares: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gains and gains above lot at ``shares`` (B, k), and the two areas (B, 2), for each row of weights (B, n)."""
    total = weights.sum(axis=1, keepdims=True)
    share = np.cumsum(weights, axis=1) / total
    gain = np.cumsum(weights * effect, axis=1) / total
    above = gain - share * gain[:, -1:]
    at = np.array([np.interp(shares, s, g) for s, g in zip(share, gain, strict=True)])
    steps = weights / total
    areas = np.column_stack([(above * steps).sum(axis=1), (above / share * steps).sum(axis=1)])
    return at, at - shares * gain[:, -1:], areas


def _weights(scores: EffectScores, order: np.ndarray, rng: np.random.Generator) -> FloatArray:
    if scores.clusters is None:
        return rng.standard_exponential((DRAWS, len(order)))
    codes = scores.clusters[order]
    return rng.standard_exponential((DRAWS, int(codes.max()) + 1))[:, codes]


def _band(values: FloatArray, drawn: FloatArray, wider: float = 1.0) -> tuple[Bounded, ...]:
    """A band as wide everywhere in standard errors as 95 % of the drawn curves need."""
    spread = drawn.std(axis=0, ddof=1)
    used = spread > 1e-12 * max(float(spread.max()), np.finfo(np.float64).tiny)
    away = np.abs(drawn - drawn.mean(axis=0))[:, used] / spread[used]
    reach = float(np.quantile(away.max(axis=1), LEVEL)) * np.where(used, wider * spread, 0.0)
    return tuple(Bounded(float(v), float(v - r), float(v + r)) for v, r in zip(values, reach, strict=True))


def _normal(value: float, drawn: FloatArray) -> Bounded:
    reach = TWICE_LEARNT * 1.959963984540054 * float(drawn.std(ddof=1))
    return Bounded(value, value - reach, value + reach)
