"""Which settings promise most, judged by all that this search and like ones before it have tried?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Values of one search below this many are too few to say what is usual there.
FEWEST = 3
# Worse than the usual by more than this many times what the best is better: bad, how bad does not matter.
_WORST = -3.0
# Variance of a search's own level, in the units of ``standardised``: that of another table says nothing here.
_LEVEL = 4.0
# Natural logarithm: typical value and spread, least and most of a length scale (1 being the whole range of a
# parameter), of the variances of the signal and of the noise, and of a search's own share of the signal.
_SCALE, _SIGNAL, _NOISE, _OWN = (
    (math.log(typical), spread, math.log(least), math.log(most))
    for typical, spread, least, most in ((0.8, 0.7, 0.2, 5), (1, 1, 0.05, 10), (0.5, 1.5, 0.003, 3), (0.3, 1, 0.02, 3))
)


def lead(values: Sequence[float]) -> float:
    """By how much the best value of one search, more being better, is ahead of the usual one; 0 of too few."""
    return float(np.max(values) - np.median(values)) if len(values) >= FEWEST else 0.0


def standardised(values: Sequence[float], least: float = 0.0) -> Floats | None:
    """Values of one search, more being better, with the median at 0 and the best at 1; None where they tell nothing.

    So searches on tables of other noise, or of targets in other units, can be put side by side. ``least`` is the lead
    that counts as 1 where the search's own is smaller: one that tried good settings only would make much of nothing.
    """
    if len(values) < FEWEST or not (unit := max(lead(values), least)) > 0:
        return None
    shown: Floats = np.maximum((np.asarray(values, dtype=np.float64) - np.median(values)) / unit, _WORST)
    return shown


@dataclass(frozen=True, slots=True)
class Tried:
    """What searches tried: ``points`` (n, d) in 0-1, ``values`` (n,) as ``standardised``, ``search`` (n,) of each."""

    points: Floats
    values: Floats
    search: NDArray[np.int64]


class TransferModel:
    """A Gaussian process over the trials of several searches, asked about one of them.

    A value is what its setting is worth everywhere (Matérn 5/2, one length scale for each dimension), what it is
    worth in its search alone (the same with a share of the variance), the level of its search, and noise: that is
    the intrinsic coregionalisation of Swersky, Snoek and Adams (2013, Multi-Task Bayesian Optimization, eq. 5) with
    equal correlations. Lengths and variances are the most probable ones given the trials and weak priors.
    """

    def __init__(self, tried: Tried, search: int) -> None:
        """``search`` is the one that predictions are for, whether or not it has a trial."""
        from scipy.linalg import cho_factor, cho_solve

        self._tried, self._here = tried, tried.search == search
        self._same = (tried.search[:, None] == tried.search[None, :]).astype(np.float64)
        self._squares = np.moveaxis((tried.points[:, None, :] - tried.points[None, :, :]) ** 2, -1, 0)
        self._fitted = self._most_probable()
        self._factor = cho_factor(self._covariance(self._fitted)[0], lower=True)
        self._weights = cho_solve(self._factor, tried.values)

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of what ``points`` (m, d) are worth in the search, as ``standardised`` there.

        Above its level where the search has no trial: then it is not known.
        """
        from scipy.linalg import cho_solve

        _, signal, _, own = self._parts(self._fitted)
        covariance = self._between(points, self._tried.points, self._here) + _LEVEL * self._here
        known = (covariance * cho_solve(self._factor, covariance.T).T).sum(1)
        variance = signal * (1 + own) + _LEVEL * bool(self._here.any()) - known
        return covariance @ self._weights, np.sqrt(np.maximum(variance, 1e-12))

    def draw(self, points: Floats, rng: np.random.Generator) -> Floats:
        """What ``points`` (m, d) may be worth in the search, above its level: one draw of all from the posterior."""
        from scipy.linalg import cho_solve, cholesky

        covariance = self._between(points, self._tried.points, self._here)
        among = self._between(points, points, np.ones(len(points), dtype=bool))
        spread = among - covariance @ cho_solve(self._factor, covariance.T)
        root = cholesky(spread + 1e-6 * float(among[0, 0]) * np.eye(len(points)), lower=True)
        drawn: Floats = covariance @ self._weights + root @ rng.normal(size=len(points))
        return drawn

    def _between(self, points: Floats, others: Floats, here: NDArray[np.bool_]) -> Floats:
        """Covariance (m, n) of settings in the search with ``others``, of which some are ``here``, in it as well."""
        lengths, signal, _, own = self._parts(self._fitted)
        squares = (((points[:, None, :] - others[None, :, :]) / lengths) ** 2).sum(-1)
        covariance: Floats = signal * _matern(squares) * (1 + own * here)
        return covariance

    def expected_improvement(self, points: Floats) -> Floats:
        """How much better than the best setting of the search ``points`` (m, d) are expected to be, chances counted.

        Before its first trial the best one is that of all the searches, as far as it is known here.
        """
        from scipy.special import ndtr

        known = self._tried.points[self._here] if self._here.any() else self._tried.points
        best = float(self.predict(known)[0].max())
        mean, deviation = self.predict(points)
        ahead = (mean - best) / deviation
        density = np.exp(-0.5 * ahead**2) / math.sqrt(2 * math.pi)
        improvement: Floats = deviation * (ahead * ndtr(ahead) + density)
        return improvement

    def _most_probable(self) -> Floats:
        from scipy.optimize import minimize

        priors = self._priors()
        found = minimize(
            self._improbability,
            priors[:, 0],
            jac=True,
            method="L-BFGS-B",
            bounds=priors[:, 2:].tolist(),
            options={"maxiter": 60},
        )
        return np.asarray(found.x, dtype=np.float64)

    def _priors(self) -> Floats:
        dimensions = self._tried.points.shape[1]
        return np.array([_SCALE] * dimensions + [_SIGNAL, _NOISE, _OWN])

    def _improbability(self, logs: Floats) -> tuple[float, Floats]:
        """Negative log of the probability of values and parameters (but for a constant), and its gradient."""
        from scipy.linalg import cho_factor, cho_solve

        covariance, gradients = self._covariance(logs)
        factor = cho_factor(covariance, lower=True)
        weights = cho_solve(factor, self._tried.values)
        inner = cho_solve(factor, np.eye(len(weights))) - np.outer(weights, weights)
        typical, spread = self._priors()[:, :2].T
        away = (logs - typical) / spread
        value = 0.5 * self._tried.values @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * (away**2).sum()
        slope = np.array([0.5 * (inner * gradient).sum() for gradient in gradients]) + away / spread
        return float(value), slope

    def _covariance(self, logs: Floats) -> tuple[Floats, list[Floats]]:
        """Of the values, and its derivatives by each of ``logs``."""
        lengths, signal, noise, own = self._parts(logs)
        scaled = self._squares / lengths[:, None, None] ** 2
        squares = scaled.sum(0)
        shared, shares = signal * _matern(squares), 1 + own * self._same
        white = noise * np.eye(len(squares))
        slope = signal * _matern_slope(squares) * shares
        gradients = [*(slope * part for part in scaled), shared * shares, white, shared * own * self._same]
        return shared * shares + _LEVEL * self._same + white, gradients

    @staticmethod
    def _parts(logs: Floats) -> tuple[Floats, Any, Any, Any]:
        parts = np.exp(logs)
        return parts[:-3], parts[-3], parts[-2], parts[-1]


def _matern(squares: Floats) -> Floats:
    """Matérn 5/2 of squared scaled distances (Rasmussen and Williams 2006, eq. 4.17)."""
    distance = np.sqrt(5 * squares)
    value: Floats = (1 + distance + distance**2 / 3) * np.exp(-distance)
    return value


def _matern_slope(squares: Floats) -> Floats:
    """Its derivative by the log of a length scale, divided by that dimension's squared scaled distance."""
    distance = np.sqrt(5 * squares)
    value: Floats = 5 / 3 * (1 + distance) * np.exp(-distance)
    return value
