"""How wide must many intervals be for all of them to hold at once?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src.causal_engine.estimators.inference import cluster_sums, count_clusters
from src.causal_engine.heterogeneity.report import Bounded
from src.causal_engine.study import FloatArray, IntArray

CONFIDENCE = 0.95
DRAWS = 10_000


class Simultaneous:
    """Intervals for k estimates at once by the Gaussian multiplier bootstrap of the largest |t|.

    Chernozhukov, Chetverikov & Kato (2013): given the data, means of influence functions times
    standard normal multipliers are normal with the functions' covariance, from which they are drawn
    directly. ``influence`` (n, k), mean 0; with ``clusters`` (n,) multipliers are per cluster, and the draws
    are multivariate t with G − 1 degrees of freedom, as few clusters leave the errors themselves uncertain.
    """

    def __init__(self, influence: FloatArray, clusters: IntArray | None, rng: np.random.Generator) -> None:
        n = len(influence)
        centred = influence - influence.mean(axis=0)
        freedom = None
        if clusters is not None:
            groups = count_clusters(clusters)
            freedom = groups - 1
            centred = cluster_sums(centred, clusters) * np.sqrt(groups / (groups - 1))
        covariance = centred.T @ centred / n**2
        self.std_errors = np.sqrt(np.diag(covariance))
        scale = np.where(self.std_errors > 0, self.std_errors, 1.0)
        self._largest = _largest(covariance / np.outer(scale, scale), rng, freedom)

    @property
    def critical(self) -> float:
        """Standard errors to go either way so that all intervals hold together in 95 % of samples."""
        return float(np.quantile(self._largest, CONFIDENCE))

    def bounded(self, values: Sequence[float] | FloatArray) -> tuple[Bounded, ...]:
        """The estimates with simultaneous limits."""
        reach = self.critical * self.std_errors
        return tuple(
            Bounded(float(v), float(v - r), float(v + r)) for v, r in zip(np.asarray(values), reach, strict=True)
        )

    def p_value(self, values: Sequence[float] | FloatArray) -> float:
        """Chance of as large a |t| among all estimates if each true value is 0."""
        found = np.abs(np.asarray(values)) / np.where(self.std_errors > 0, self.std_errors, np.inf)
        return float((1 + (self._largest >= found.max()).sum()) / (1 + len(self._largest)))


def _largest(correlation: FloatArray, rng: np.random.Generator, freedom: int | None) -> FloatArray:
    """Draws of the largest absolute coordinate of a normal, or t, vector with this correlation, shape (DRAWS,)."""
    values, vectors = np.linalg.eigh(correlation)
    # The symmetric root does not depend on which eigenvectors were found, nor, through these, on the rows' order.
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    largest = np.abs(rng.standard_normal((DRAWS, len(root))) @ root).max(axis=1)
    if freedom is not None:
        largest = largest / np.sqrt(rng.chisquare(freedom, DRAWS) / freedom)
    return np.asarray(largest, dtype=np.float64)
