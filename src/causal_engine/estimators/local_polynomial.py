"""What does a curve reach from one side of a point, with the bias of a straight line taken out?

Everything follows Calonico, Cattaneo & Titiunik (2014, Econometrica 82:2295, "CCT"): local linear
fits with a triangular kernel, a bandwidth that minimises the mean squared error of the jump, and a
local quadratic fit that estimates and removes the leading bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.causal_engine.study import FloatArray

NEIGHBOURS = 3
LEAST_IN_BANDWIDTH = 20
LEAST_DISTINCT_IN_BANDWIDTH = 6
_PILOT = 2.576


@dataclass(frozen=True)
class Side:
    """One side of the cutoff: distances from it (m,) in ascending order, and the rows (m,) they are."""

    x: FloatArray
    rows: np.ndarray

    @property
    def reach(self) -> float:
        """Distance of the farthest unit."""
        return float(np.abs(self.x).max())


@dataclass(frozen=True)
class Bandwidths:
    """``main`` for the local linear fit, ``bias`` for the quadratic one that corrects it; in units of x."""

    main: float
    bias: float


def kernel_weights(x: FloatArray, h: float) -> FloatArray:
    """Triangular kernel (1 − |x/h|)₊ / h, shape of ``x``."""
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(x / h)) / h, dtype=np.float64)


def powers(x: FloatArray, degree: int) -> FloatArray:
    """Columns 1, x, …, x^degree, shape (m, degree + 1)."""
    return np.vander(x, degree + 1, increasing=True)


def boundary_weights(side: Side, widths: Bandwidths) -> tuple[FloatArray, FloatArray]:
    """Weights (m,) with which outcomes add up to the value of the curve at the point: plain, and bias-corrected.

    Local linear at ``widths.main`` less h²·B̂ from a local quadratic at ``widths.bias`` (CCT, eq. 7).
    """
    x, h = side.x, widths.main
    near, wide = kernel_weights(x, h), kernel_weights(x, widths.bias)
    line, bow = powers(x, 1), powers(x, 2)
    plain = np.linalg.solve((line * near[:, None]).T @ line, (line * near[:, None]).T)[0]
    curvature = np.linalg.solve((bow * wide[:, None]).T @ bow, (bow * wide[:, None]).T)[2]
    return plain, plain - float(plain @ x**2) * curvature


def nearest_neighbour_residuals(x: FloatArray, y: FloatArray) -> FloatArray:
    """√(J/(J+1))·(y − mean of the J = 3 units nearest in x) (Abadie & Imbens 2006); x ascending, y (m, k)."""
    m = len(x)
    offsets = [k for k in range(-NEIGHBOURS, NEIGHBOURS + 1) if k]
    positions = np.arange(m)[:, None] + np.array(offsets)
    inside = (positions >= 0) & (positions < m)
    distance = np.where(inside, np.abs(x[np.clip(positions, 0, m - 1)] - x[:, None]), np.inf)
    nearest = np.take_along_axis(positions, np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS], axis=1)
    return np.asarray(np.sqrt(NEIGHBOURS / (NEIGHBOURS + 1)) * (y - y[nearest].mean(axis=1)), dtype=np.float64)


def mse_bandwidths(left: Side, right: Side, y_left: FloatArray, y_right: FloatArray) -> Bandwidths:
    """Common bandwidths that minimise the mean squared error of the jump in y (CCT, section S.2.6; "mserd").

    Three steps: derivatives of order 3 on all units give the bandwidth for the curvature, which gives the
    one for the jump; variances at a pilot bandwidth; regularised so that a curve without curvature
    does not ask for an infinite bandwidth. Never fewer than 20 units, nor than six distinct values, of
    either side within: a parabola through three values of a discrete variable has no error to measure.
    """
    pooled = np.concatenate([left.x, right.x])
    spread = min(float(pooled.std(ddof=1)), float(np.subtract(*np.quantile(pooled, [0.75, 0.25]))) / 1.349)
    spread = spread if spread > 0 else float(pooled.std(ddof=1))
    most = max(left.reach, right.reach)
    least = max(_distance_of(side, LEAST_IN_BANDWIDTH) for side in (left, right))

    def kept(h: float) -> float:
        return min(max(h, least), most * (1 + 1e-9))

    pilot = kept(_PILOT * spread * len(pooled) ** -0.2)
    residuals = [
        nearest_neighbour_residuals(side.x, y[:, None])[:, 0] for side, y in _pairs(left, right, y_left, y_right)
    ]
    sides = ((left, y_left, residuals[0]), (right, y_right, residuals[1]))

    def step(degree: int, derivative: int, widths: tuple[float, float], *, regularised: bool) -> float:
        parts = [_error_parts(*side, degree, derivative, pilot, h) for side, h in zip(sides, widths, strict=True)]
        variance = sum(part[0] for part in parts)
        # The bias of a difference: an odd derivative changes sign with the side, which the parts already carry.
        bias = (parts[1][1] - parts[0][1]) ** 2 + (sum(part[2] for part in parts) if regularised else 0.0)
        return kept(float((variance / max(bias, 1e-300)) ** (1.0 / (2 * degree + 3))))

    third = step(3, 3, (left.reach * (1 + 1e-9), right.reach * (1 + 1e-9)), regularised=False)
    bias = step(2, 2, (third, third), regularised=True)
    return Bandwidths(step(1, 0, (bias, bias), regularised=True), bias)


def _pairs(
    left: Side, right: Side, y_left: FloatArray, y_right: FloatArray
) -> tuple[tuple[Side, FloatArray], tuple[Side, FloatArray]]:
    return (left, y_left), (right, y_right)


def _distance_of(side: Side, position: int) -> float:
    """Distance within which at least ``position`` units and six values of a side lie, a little farther than these."""
    distances = np.sort(np.abs(side.x))
    values = np.unique(distances)
    last = values[min(LEAST_DISTINCT_IN_BANDWIDTH, len(values)) - 1]
    return float(max(distances[min(position, len(distances)) - 1], last)) * 1.01


def _error_parts(
    side: Side, y: FloatArray, residuals: FloatArray, degree: int, derivative: int, pilot: float, h_bias: float
) -> tuple[float, float, float]:
    """Variance, bias and regularisation constants of one side (CCT 2014, supplement S.2)."""
    x = side.x
    near = kernel_weights(x, pilot)
    basis = powers(x, degree)
    bread = np.linalg.inv((basis * near[:, None]).T @ basis)
    scores = basis * (near * residuals)[:, None]
    noise = float((bread @ scores.T @ scores @ bread)[derivative, derivative])
    moment = (basis * near[:, None]).T @ (x / pilot) ** (degree + 1)
    shift = float((bread @ moment)[derivative]) * pilot**derivative
    wide = kernel_weights(x, h_bias)
    higher = powers(x, degree + 1)
    bread_wide = np.linalg.inv((higher * wide[:, None]).T @ higher)
    coefficient = float((bread_wide @ ((higher * wide[:, None]).T @ y))[degree + 1])
    wide_scores = higher * (wide * residuals)[:, None]
    uncertainty = float((bread_wide @ wide_scores.T @ wide_scores @ bread_wide)[degree + 1, degree + 1])
    power = 2 * (degree + 1 - derivative)
    return (
        (2 * derivative + 1) * pilot ** (2 * derivative + 1) * noise,
        np.sqrt(power) * shift * coefficient,
        power * 3 * shift**2 * uncertainty,
    )
