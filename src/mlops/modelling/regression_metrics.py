"""How far are predicted numbers from the true ones, for one weighting of the rows or for many at once?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def rmse(y: Floats, predicted: Floats, weights: Floats) -> Floats:
    """Root of the mean squared error, in units of the target; ``weights`` of shape (B, n)."""
    import numpy as np

    return np.sqrt(_mean((y - predicted) ** 2, weights))


def neg_rmse(y: Floats, predicted: Floats, weights: Floats) -> Floats:
    """Minus ``rmse``, for searches that maximise."""
    return -rmse(y, predicted, weights)


def mae(y: Floats, predicted: Floats, weights: Floats) -> Floats:
    """Mean absolute error, in units of the target."""
    return _mean(abs(y - predicted), weights)


def r2(y: Floats, predicted: Floats, weights: Floats) -> Floats:
    """1 − squared error / squared distance from the mean; NaN for a target that does not vary."""
    import numpy as np

    centre = y - y.mean()
    spread = _mean(centre**2, weights) - _mean(centre, weights) ** 2
    floor = 1e-12 * float((centre**2).mean())
    error = _mean((y - predicted) ** 2, weights)
    value: Floats = 1 - np.divide(error, spread, out=np.full(error.shape, np.nan), where=spread > floor)
    return value


def _mean(values: Floats, weights: Floats) -> Floats:
    mean: Floats = (weights @ values) / weights.sum(axis=1)
    return mean


BY_NAME: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "neg_rmse": neg_rmse,
    "rmse": rmse,
    "mae": mae,
    "r2": r2,
}
NAMES = tuple(BY_NAME)
