"""What is the outcome's mean if covariates act through one weighted sum of them, along a smooth curve?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.causal_engine.study import FloatArray

KNOT_SHARES = (0.0, 0.05, 0.275, 0.5, 0.725, 0.95, 1.0)
"""Harrell's five quantiles and both ends: a multiplicative outcome bends most where its rows are few."""
STEPS = 30
LEAST_STEP = 0.05
LEAST_GAIN = 1e-5
CURVATURE_PENALTY = 1e-3


@dataclass(frozen=True)
class _Curve:
    """A natural cubic spline in the weighted sum, and how it fits."""

    spread: float
    knots: FloatArray
    coefficients: FloatArray
    slope: FloatArray
    residual: FloatArray
    loss: float

    def at(self, index: FloatArray) -> FloatArray:
        return np.asarray(_spline(index / self.spread, self.knots)[0] @ self.coefficients, dtype=np.float64)


def predict_single_index(x: FloatArray, target: FloatArray, x_new: FloatArray, weight: FloatArray) -> FloatArray:
    """Predictions g(w'x), shape (m,), of one ridge function fitted by least squares.

    One term of projection pursuit regression (Friedman & Stuetzle 1981): g is a natural cubic spline,
    linear beyond its outer knots, w is found by Gauss-Newton steps from the linear fit. It follows
    multiplicative and saturating outcomes with about as few parameters as a linear model.
    ``x`` (n, p), ``x_new`` (m, p) standardised; ``weight`` (n,) counts rows.
    """
    w = weight / weight.mean()
    centre = float(np.average(target, weights=w))
    spread = float(np.sqrt(np.average((target - centre) ** 2, weights=w)))
    y = (target - centre) / spread
    slopes = _ridge(x, y, w, np.ones(x.shape[1]))
    curve = _curve(x @ slopes, y, w)
    for _ in range(STEPS if curve is not None else 0):
        assert curve is not None
        moved = _improved(x, y, w, slopes, curve)
        if moved is None:
            break
        gained = curve.loss - moved[1].loss
        slopes, curve = moved
        if gained < LEAST_GAIN * (curve.loss + gained):
            break
    return np.full(len(x_new), centre) if curve is None else centre + spread * curve.at(x_new @ slopes)


def _improved(
    x: FloatArray, y: FloatArray, w: FloatArray, slopes: FloatArray, curve: _Curve
) -> tuple[FloatArray, _Curve] | None:
    """A Gauss-Newton step, halved until the fit is better; None when no step is."""
    penalty = np.full(x.shape[1], float(np.average(curve.slope**2, weights=w)))
    step = _ridge(x * curve.slope[:, None], curve.residual, w, penalty)
    size = 1.0
    while size >= LEAST_STEP:
        trial = slopes + size * step
        found = _curve(x @ trial, y, w)
        if found is not None and found.loss < curve.loss:
            return trial, found
        size /= 2
    return None


def _curve(index: FloatArray, y: FloatArray, w: FloatArray) -> _Curve | None:
    """The spline in ``index`` with the least squares; None when the index does not vary enough to bend."""
    spread = float(index.std())
    if spread == 0.0:
        return None
    knots = np.unique(np.quantile(index / spread, KNOT_SHARES))
    if len(knots) < 3:
        return None
    basis, derivative = _spline(index / spread, knots)
    penalty = CURVATURE_PENALTY * len(y) * basis.var(axis=0)
    penalty[:2] = 1e-9
    coefficients = _ridge(basis, y, w, penalty)
    residual = y - basis @ coefficients
    slope = derivative @ coefficients / spread
    return _Curve(spread, knots, coefficients, slope, residual, float(w @ residual**2))


def _spline(u: FloatArray, knots: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Natural cubic spline basis and its derivative, each (n, len(knots)) (Hastie et al. 2009, eq. 5.4-5.5)."""
    last = knots[-1]
    beyond = np.maximum(u - last, 0.0)
    above = [np.maximum(u - knot, 0.0) for knot in knots[:-1]]
    widths = last - knots[:-1]
    cubes = [(a**3 - beyond**3) / width for a, width in zip(above, widths, strict=True)]
    squares = [3 * (a**2 - beyond**2) / width for a, width in zip(above, widths, strict=True)]
    ones, zeros = np.ones_like(u), np.zeros_like(u)
    basis = np.column_stack([ones, u, *(cube - cubes[-1] for cube in cubes[:-1])])
    derivative = np.column_stack([zeros, ones, *(square - squares[-1] for square in squares[:-1])])
    return basis, derivative


def _ridge(x: FloatArray, y: FloatArray, w: FloatArray, penalty: FloatArray) -> FloatArray:
    gram = (x * w[:, None]).T @ x + np.diag(penalty)
    return np.asarray(np.linalg.solve(gram, x.T @ (w * y)), dtype=np.float64)
