"""How far apart would two distributions lie by chance, if whole units were drawn again?

Rows of one unit (a prescriber's months) go together, also where a unit has rows in both groups: a distribution that
only looks new because the same few units repeat is not taken for a change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from src.agents.tool_composer.tools.grouping import TwoGroups
from src.causal_engine.study import FloatArray, IntArray

DRAWS = 400
MAX_LEVELS = 1_000
_CELLS = 4_000_000

Statistic = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Levels:
    """Counts of each level in the reference and the current group, shape (L,), and of the same in resamples.

    ``drawn_*`` have the shape (draws, L).
    """

    reference: FloatArray
    current: FloatArray
    drawn_reference: FloatArray
    drawn_current: FloatArray

    def chance(self, distance: Statistic) -> FloatArray:
        """``distance`` of resampled from observed shares, (q* − p*) − (q − p), beside the pooled shares; (draws,).

        That is how the distance of two groups varies that do not differ (the null distribution of the bootstrap,
        Efron and Tibshirani 1993, chapter 16).
        """
        gap = shares(self.current) - shares(self.reference)
        pooled = shares(self.reference + self.current)
        return distance(shares(self.drawn_current) - shares(self.drawn_reference) - gap, pooled)


def shares(counts: FloatArray) -> FloatArray:
    """Counts over their sum along the last axis; 0 where there are none."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(counts, total, out=np.zeros_like(counts, dtype=np.float64), where=total > 0))


def level_counts(groups: TwoGroups, level: IntArray, n_levels: int, rng: np.random.Generator) -> Levels:
    """Counts per level of both groups, observed and in ``DRAWS`` resamples of the units; ``level`` −1 is left out."""
    known = level >= 0
    current, unit = groups.current[known], groups.unit[known]
    observed = [np.bincount(level[known][side], minlength=n_levels).astype(np.float64) for side in (~current, current)]
    if groups.one_row_each:
        drawn = [rng.multinomial(int(counts.sum()), shares(counts), size=DRAWS) for counts in observed]
        return Levels(observed[0], observed[1], drawn[0].astype(np.float64), drawn[1].astype(np.float64))
    n_units = int(groups.unit.max()) + 1
    return Levels(observed[0], observed[1], *_drawn(level[known], current, unit, n_units, n_levels, rng))


def coarse_levels(values: FloatArray) -> tuple[IntArray, FloatArray]:
    """Level of each value in ascending order, and the levels' values; more than a thousand become quantiles."""
    distinct, level = np.unique(values, return_inverse=True)
    if len(distinct) <= MAX_LEVELS:
        return np.asarray(level, dtype=np.int64), distinct
    edges = np.unique(np.quantile(values, np.linspace(0, 1, MAX_LEVELS + 1)[1:], method="higher"))
    return np.asarray(np.searchsorted(edges, values), dtype=np.int64), edges


def tail_probability(statistic: float, chance: FloatArray) -> tuple[float, float]:
    """P value of a quadratic statistic and the value that chance exceeds once in twenty times.

    A multiple of a χ² distribution with the mean and variance of the draws (Satterthwaite 1946) gives both.
    """
    from scipy.stats import chi2

    mean, variance = float(chance.mean()), float(chance.var(ddof=1))
    if mean <= 1e-12 or variance <= 1e-24:
        return (1.0, 0.0) if statistic <= 1e-9 else (0.0, 0.0)
    scale, freedom = variance / (2 * mean), 2 * mean**2 / variance
    return float(chi2.sf(statistic / scale, freedom)), float(scale * chi2.ppf(0.95, freedom))


def _drawn(
    level: IntArray, current: np.ndarray, unit: IntArray, n_units: int, n_levels: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    from scipy.sparse import coo_array

    sides = [
        coo_array((np.ones(int(side.sum())), (unit[side], level[side])), shape=(n_units, n_levels)).tocsr().T.tocsr()
        for side in (~current, current)
    ]
    chunk = max(1, min(DRAWS, _CELLS // max(n_units, n_levels)))
    parts: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for first in range(0, DRAWS, chunk):
        weights = _weights(rng, min(chunk, DRAWS - first), n_units)
        for part, side in zip(parts, sides, strict=True):
            part.append(np.asarray((side @ weights.T).T, dtype=np.float64))
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def _weights(rng: np.random.Generator, count: int, n: int) -> FloatArray:
    """How often each unit is in each resample, shape (count, n)."""
    drawn = rng.integers(0, n, size=(count, n)) + np.arange(count)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)
