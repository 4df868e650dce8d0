"""How would a loss have come out on other draws of the same units?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.results import Interval
from src.causal_engine.study import FloatArray, IntArray

DRAWS = 100


def resampled_counts(units: IntArray | None, n: int, draws: int, rng: np.random.Generator) -> FloatArray:
    """How often each of ``n`` rows is drawn, shape (n, draws): whole units with replacement.

    ``units`` (n,) are cluster codes; None: every row is its own unit.
    """
    size = n if units is None else int(units.max()) + 1
    counts = rng.multinomial(size, np.full(size, 1 / size), size=draws).T.astype(np.float64)
    return counts if units is None else counts[units]


def recentred_interval(value: float, draws: FloatArray) -> Interval:
    """95 % percentiles of the draws moved so that their mean is the estimate.

    A distance between resamples is larger than between the samples themselves, for every candidate
    alike: repeated rows are no new points. The spread is kept, that shift is not.
    """
    moved = draws - draws.mean() + value
    lower, upper = np.quantile(moved, [0.025, 0.975])
    return Interval(min(float(lower), value), max(float(upper), value))
