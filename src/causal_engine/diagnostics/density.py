"""Do units pile up on one side of the cutoff, as if they had chosen their side?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from src.causal_engine.estimators.local_polynomial import kernel_weights, powers
from src.causal_engine.study import FloatArray

DEGREE = 3
LEAST_WITHIN = 20
LEAST_DISTINCT = 8
_RULE_OF_THUMB = 2.5


@dataclass(frozen=True, slots=True)
class DensityTest:
    """Density of the running variable just left and right of the cutoff (per its unit), and whether they differ."""

    left: float
    right: float
    p_value: float
    bandwidth: float


def density_test(distance: FloatArray) -> DensityTest | None:
    """Test that the density of ``distance`` (n,) from the cutoff is continuous at 0.

    The slope at 0 of a cubic, fitted with a triangular kernel to the empirical distribution function on
    each side, estimates the density there (Cattaneo, Jansson & Ma 2020, JASA 115:1449); the error is
    that of the fit as a functional of the distribution function. The bandwidth is 2.5 spreads times
    n^(-1/5): one degree more than it is meant for, so that no bias is left to be mistaken for a jump.
    None with fewer than 20 units, or eight distinct values, of either side within the bandwidth: a distribution
    function of few steps has no slope.
    """
    spread = _spread(distance)
    x = np.sort(distance) / spread
    n = len(x)
    h = _RULE_OF_THUMB * n**-0.2
    cumulative = np.searchsorted(x, x, side="right") / n
    left, right = (x < 0) & (x > -h), (x >= 0) & (x < h)
    if any(side.sum() < LEAST_WITHIN or len(np.unique(x[side])) < LEAST_DISTINCT for side in (left, right)):
        return None
    (low, low_variance), (high, high_variance) = (_slope(x, cumulative, side, h) for side in (left, right))
    error = float(np.sqrt(low_variance + high_variance))
    p_value = 2.0 * float(ndtr(-abs(high - low) / error)) if error > 0 else 1.0
    return DensityTest(low / spread, high / spread, p_value, h * spread)


def _spread(distance: FloatArray) -> float:
    low, high = np.quantile(distance, [0.25, 0.75])
    deviation = float(distance.std())
    return min(deviation, float(high - low) / 1.349) or deviation


def _slope(x: FloatArray, cumulative: FloatArray, side: np.ndarray, h: float) -> tuple[float, float]:
    """Slope at 0 of the distribution function fitted on one side, and its variance."""
    n = len(x)
    near, basis = kernel_weights(x[side], h), powers(x[side], DEGREE)
    weights = np.linalg.solve((basis * near[:, None]).T @ basis, (basis * near[:, None]).T)[1]
    # Unit j moves the distribution function by 1/n at every point to its right.
    from_right = np.zeros(n)
    from_right[side] = weights
    influence = np.cumsum(from_right[::-1])[::-1] - float(weights @ cumulative[side])
    return float(weights @ cumulative[side]), float(influence @ influence) / n**2
