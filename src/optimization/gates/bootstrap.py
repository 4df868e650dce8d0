"""Between which bounds does a mean difference or a ratio of means lie?

The outer of two intervals over questions:

- BCa (Efron 1987), which follows the skewness of scores that end at 1 and 5, with the level widened for small samples
  (Hesterberg 2015, "What teachers should know about the bootstrap", section 5.2);
- Student's, with the jackknife's standard error, which is right where BCa mistakes a single outlier of a symmetric
  heavy-tailed judge for skewness.

Each alone errs up to twice as often as its level in samples of twenty that suit the other. The studentised bootstrap
has no finite bound where most differences tie, as they do on a scale of five points: nineteen gains of one point and
one tie would count as nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_NORMAL = NormalDist()
_CELLS = 2_000_000
_MOST_DRAWS = 20_000
_TAIL_DRAWS = 20


def mean_bounds(values: np.ndarray, *, level: float, draws: int, random_state: int) -> tuple[float, float]:
    """Lower and upper bound of the mean, each one-sided at ``level``: above (below) the truth that often at most.

    values: one per question, at least 2 (ValueError). More than ``draws`` are drawn where the tail demands it.
    """
    _check(len(values))
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    n, total = len(values), values.sum()
    tail = _widened(level, n)
    resampled = _concatenated(values[rows].mean(axis=1) for rows in _resamples(n, _enough(draws, tail), random_state))
    return _outer(float(total / n), resampled, (total - values) / (n - 1), level, tail)


def ratio_bounds(
    numerator: np.ndarray, denominator: np.ndarray, *, level: float, draws: int, random_state: int
) -> tuple[float, float]:
    """The same of the ratio of two means over the same questions, computed on the logarithm.

    Single values may be 0, a mean may not, and none is negative (ValueError).
    """
    _check(len(numerator))
    if min(numerator.min(), denominator.min()) < 0 or min(numerator.max(), denominator.max()) <= 0:
        raise ValueError("a ratio of means needs values of at least 0 that are not all 0")
    n, above, below = len(numerator), numerator.sum(), denominator.sum()
    tail = _widened(level, n)
    resampled = _concatenated(
        _log(numerator[rows].sum(axis=1), above) - _log(denominator[rows].sum(axis=1), below)
        for rows in _resamples(n, _enough(draws, tail), random_state)
    )
    without_one = _log(above - numerator, above) - _log(below - denominator, below)
    low, high = _outer(math.log(above / below), resampled, without_one, level, tail)
    return math.exp(low), math.exp(high)


def _log(sums: np.ndarray, whole: float) -> np.ndarray:
    """A resample that holds nothing but zeros counts as a billionth of the whole."""
    import numpy as np

    found: np.ndarray = np.log(np.maximum(sums, 1e-9 * whole))
    return found


def _check(n: int) -> None:
    if n < 2:
        raise ValueError(f"bounds need at least 2 questions, there are {n}")


def _widened(level: float, n: int) -> float:
    """The nominal level at which a bootstrap interval of ``n`` values is as long as Student's at ``level``."""
    from scipy.special import stdtrit

    return _NORMAL.cdf(math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, level)))


def _enough(draws: int, tail: float) -> int:
    """At least so many draws that a few of them lie beyond the bound."""
    return max(draws, min(_MOST_DRAWS, math.ceil(_TAIL_DRAWS / max(tail, 1e-12))))


def _resamples(n: int, draws: int, random_state: int) -> Iterator[np.ndarray]:
    """Row numbers of the resamples, in blocks that fit into memory."""
    import numpy as np

    rng = np.random.default_rng(random_state)
    block = max(1, _CELLS // n)
    for start in range(0, draws, block):
        yield rng.integers(n, size=(min(block, draws - start), n), dtype=np.int32)


def _concatenated(blocks: Iterator[np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.concatenate(list(blocks))


def _outer(
    estimate: float, resampled: np.ndarray, without_one: np.ndarray, level: float, tail: float
) -> tuple[float, float]:
    from scipy.special import stdtrit

    n = len(without_one)
    error = math.sqrt((n - 1) * float(without_one.var()))
    half = -float(stdtrit(n - 1, level)) * error
    low, high = _bca(estimate, resampled, without_one, tail)
    return min(low, estimate - half), max(high, estimate + half)


def _bca(estimate: float, resampled: np.ndarray, without_one: np.ndarray, tail: float) -> tuple[float, float]:
    """Bias-corrected and accelerated quantiles; ties with the estimate count half to the bias."""
    import numpy as np

    count = len(resampled)
    tolerance = 1e-12 * (1 + abs(estimate))
    below = float((resampled < estimate - tolerance).sum() + 0.5 * (np.abs(resampled - estimate) <= tolerance).sum())
    bias = _NORMAL.inv_cdf(min(max(below / count, 0.5 / count), 1 - 0.5 / count))
    lost = without_one.mean() - without_one
    spread = float((lost**2).sum())
    acceleration = float((lost**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    z = _NORMAL.inv_cdf(max(tail, 1e-15))
    places = _place(z, bias, acceleration), _place(-z, bias, acceleration)
    low, high = (float(bound) for bound in np.quantile(resampled, places))
    return low, high


def _place(z: float, bias: float, acceleration: float) -> float:
    shifted = bias + z
    room = 1 - acceleration * shifted
    if room <= 0:
        return 0.0 if shifted < 0 else 1.0
    return _NORMAL.cdf(bias + shifted / room)
