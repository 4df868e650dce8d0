"""How many units does a two-arm test need, and what could it show?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, nctdtr, ndtr, stdtrit

from src.causal_engine.study import FloatArray, IntArray

FEWEST = 6
MOST = 10_000_000
_FAR = 5.0
_QUANTILES = 20_000


@dataclass(frozen=True)
class Spread:
    """How units differ over a test of ``periods`` periods, estimated on windows of that length.

    ``variance`` of the units' means; ``correlation`` with the window before, None where there is no earlier one;
    ``n_units`` units seen; ``icc`` intraclass correlation of ``n_inside`` observations within a unit.
    """

    periods: int
    variance: float
    correlation: float | None
    n_units: int
    icc: float | None
    n_inside: float

    def residual_variance(self, *, baseline: bool) -> float:
        """Variance left when the analysis adjusts for the window before (Borm, Fransen & Lemmens 2007)."""
        rho = self.correlation if baseline and self.correlation is not None else 0.0
        return self.variance * (1.0 - rho**2)

    @property
    def design_effect(self) -> float | None:
        """1 + (m̄ − 1)·ICC: by how much observations of one unit count less than independent ones."""
        return None if self.icc is None else 1.0 + (self.n_inside - 1.0) * self.icc


@dataclass(frozen=True)
class Design:
    """Error rates and the share of units in the treated arm."""

    alpha: float
    power: float
    share_treated: float


def detectable(variance: float, n_units: int, design: Design) -> float:
    """Smallest difference found with the design's power with ``n_units`` in both arms, t(n − 2), two-sided."""
    df = n_units - 2
    factor = float(stdtrit(df, 1 - design.alpha / 2) + stdtrit(df, design.power))
    return factor * _std_error(variance, n_units, design)


def units_needed(variance: float, difference: float, design: Design) -> int:
    """Units of both arms together to find ``difference``; MOST where even that many do not."""
    low, high = FEWEST, FEWEST
    while detectable(variance, high, design) > difference:
        low, high = high, high * 2
        if high >= MOST:
            return MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable(variance, middle, design) <= difference else (middle + 1, high)
    return high


def power_of(variance: float, difference: float, n_units: int, design: Design) -> float:
    """Chance to find ``difference`` with ``n_units`` in both arms (noncentral t)."""
    df = n_units - 2
    critical = float(stdtrit(df, 1 - design.alpha / 2))
    shift = difference / _std_error(variance, n_units, design)
    return beyond(df, abs(shift), critical)


def beyond(df: float, shift: float, critical: float) -> float:
    """P(|T| > critical) for a noncentral t with ``shift`` ≥ 0.

    Far from 0 the lower tail, for which scipy has no number there, is none; where it has none for the upper either
    (few degrees of freedom), that is the mean of Φ(shift − critical·√(V/df)) over quantiles of V ~ χ².
    """
    lower = float(nctdtr(df, shift, -critical)) if shift < _FAR else 0.0
    upper = 1 - float(nctdtr(df, shift, critical))
    if math.isnan(upper):
        spread = np.sqrt(chdtri(df, (np.arange(_QUANTILES) + 0.5) / _QUANTILES) / df)
        upper = float(ndtr(shift - critical * spread).mean())
    return upper + lower


def variance_limits(variance: float, n_units: int) -> tuple[float, float]:
    """95 % interval of a variance estimated on ``n_units`` normal values."""
    df = n_units - 1
    return variance * df / float(chdtri(df, 0.025)), variance * df / float(chdtri(df, 0.975))


def spread_over(values: FloatArray, unit: IntArray, inside: IntArray, period: IntArray, periods: int) -> Spread:
    """Spread of units over windows of ``periods`` periods, counted back from the last; arrays of shape (n,).

    ``unit`` is what would be assigned, ``inside`` the observations within it that repeat over time (equal to ``unit``
    where a unit is its own). Period means are taken out first, so that calendar and entry do not pass for spread.
    """
    left = values - (np.bincount(period, values) / np.maximum(np.bincount(period), 1))[period]
    window = (int(period.max()) - period) // periods
    complete = max(1, (int(period.max()) + 1) // periods)
    means = [_means(left[window == w], unit[window == w], int(unit.max()) + 1) for w in range(complete)]
    variances = [float(np.nanvar(one, ddof=1)) for one in means if np.isfinite(one).sum() > 1]
    recent = window == 0
    own = (unit == inside).all()
    groups = unit[recent]
    parts = left[recent] if own else _means(left[recent], inside[recent], int(inside.max()) + 1)
    if not own:
        seen, first = np.unique(inside[recent], return_index=True)
        parts, groups = parts[seen], unit[recent][first]
    icc, size = intraclass(np.asarray(parts, dtype=np.float64), groups)
    return Spread(
        periods=periods,
        variance=float(np.mean(variances)),
        correlation=_with_window_before(means),
        n_units=int(np.isfinite(means[0]).sum()),
        icc=icc,
        n_inside=size,
    )


def _std_error(variance: float, n_units: int, design: Design) -> float:
    treated = design.share_treated * n_units
    return math.sqrt(variance * (1 / treated + 1 / (n_units - treated)))


def _means(values: FloatArray, codes: IntArray, size: int) -> FloatArray:
    counts = np.bincount(codes, minlength=size)
    sums = np.bincount(codes, values, minlength=size)
    means: FloatArray = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
    return means


def _with_window_before(means: list[FloatArray]) -> float | None:
    pairs = [
        (later[both], earlier[both])
        for later, earlier in zip(means, means[1:], strict=False)
        if (both := np.isfinite(later) & np.isfinite(earlier)).sum() > 2
    ]
    found = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs if a.std() > 0 and b.std() > 0]
    return float(np.mean(found)) if found else None


def intraclass(values: FloatArray, groups: IntArray) -> tuple[float | None, float]:
    """ANOVA estimate of the intraclass correlation, at least 0, and the mean group size (Donner & Koval 1980)."""
    _, codes = np.unique(groups, return_inverse=True)
    sizes = np.bincount(codes)
    k, n = len(sizes), len(values)
    if k < 2 or n <= k:
        return None, float(n / max(k, 1))
    means = np.bincount(codes, values) / sizes
    between = float(sizes @ (means - values.mean()) ** 2) / (k - 1)
    within = float(((values - means[codes]) ** 2).sum()) / (n - k)
    typical = (n - float((sizes**2).sum()) / n) / (k - 1)
    total = between + (typical - 1) * within
    return (max(0.0, (between - within) / total) if total > 0 else None), n / k
