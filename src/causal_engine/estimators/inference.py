"""How uncertain is an estimate: sandwich variances, influence functions, intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from src.causal_engine.results import EffectEstimate, Interval, SegmentEffect
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import EstimationError, TooFewRows

MIN_CLUSTERS = 6
CONFIDENCE = 0.95
_COLLINEAR = 1e-9


@dataclass(frozen=True)
class Uncertainty:
    """Standard error, how it was made, and the degrees of freedom of the t reference (None: normal)."""

    std_error: float
    method: str
    df: float | None


@dataclass(frozen=True)
class LinearFit:
    """Least squares with a robust covariance.

    ``coefficients`` (k,); ``covariance`` (k, k); ``influence`` (n, k), column j that of coefficient
    j, in its units, so that without clusters Σ influence²/n² is the variance. ``design`` (n, k) and
    ``clusters`` (n,) are what it was fitted to.
    """

    coefficients: FloatArray
    covariance: FloatArray
    influence: FloatArray
    residuals: FloatArray
    df: float
    se_method: str
    design: FloatArray | None = None
    clusters: IntArray | None = None

    def uncertainty(self, position: int) -> Uncertainty:
        """Standard error of one coefficient."""
        return Uncertainty(float(np.sqrt(self.covariance[position, position])), self.se_method, self.df)


def cluster_sums(values: FloatArray, clusters: IntArray) -> FloatArray:
    """Sum the rows of ``values`` (n, k) or (n,) within clusters; shape (G, k) or (G,)."""
    sums = np.zeros((int(clusters.max()) + 1, *values.shape[1:]))
    np.add.at(sums, clusters, values)
    return sums


def count_clusters(clusters: IntArray) -> int:
    """Number of clusters; raises TooFewRows below MIN_CLUSTERS, where cluster-robust errors mislead."""
    found = len(np.unique(clusters))
    if found < MIN_CLUSTERS:
        raise TooFewRows(
            f"there are {found} clusters; cluster-robust errors need at least {MIN_CLUSTERS}: "
            "cluster on a finer key or collect more clusters"
        )
    return found


def independent_columns(x: FloatArray) -> IntArray:
    """Positions of columns of ``x`` (n, p) that are linearly independent of one another and of a constant."""
    if x.shape[1] == 0:
        return np.empty(0, dtype=np.int64)
    centred = x - x.mean(axis=0)
    scale = np.sqrt((centred**2).mean(axis=0))
    varying = np.flatnonzero(scale > _COLLINEAR * np.abs(x).max(axis=0))
    if len(varying) == 0:
        return varying.astype(np.int64)
    gram_root = centred[:, varying] / scale[varying]
    _, upper, order = qr(gram_root, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(upper))
    rank = int((diagonal > _COLLINEAR * diagonal[0]).sum())
    return np.sort(varying[order[:rank]]).astype(np.int64)


def fit_linear(y: FloatArray, design: FloatArray, clusters: IntArray | None, *, absorbed: int = 0) -> LinearFit:
    """Regress ``y`` (n,) on ``design`` (n, k) of full column rank.

    Without clusters HC3 (MacKinnon & White 1985): score x·u/(1−h). With clusters CR1
    (Liang & Zeger 1986) times G/(G−1)·(n−1)/(n−k−absorbed) and t(G−1); ``absorbed`` counts fixed
    effects already projected out that are not nested in the clusters.
    """
    n, k = design.shape
    if n <= k + absorbed:
        raise TooFewRows(f"{n} rows cannot determine {k + absorbed} coefficients; adjust for fewer columns")
    bread = np.linalg.inv(design.T @ design)
    coefficients = bread @ (design.T @ y)
    residuals = y - design @ coefficients
    if clusters is None:
        room = 1.0 - np.einsum("ij,jk,ik->i", design, bread, design)
        inflated = np.divide(residuals, room, out=np.zeros(n), where=room > 1e-10)
        influence = n * (design * inflated[:, None]) @ bread
        return LinearFit(coefficients, influence.T @ influence / n**2, influence, residuals, float(n - k), "HC3")
    groups = count_clusters(clusters)
    influence = n * (design * residuals[:, None]) @ bread
    sums = cluster_sums(influence, clusters)
    factor = groups / (groups - 1) * (n - 1) / (n - k - absorbed)
    covariance = factor * sums.T @ sums / n**2
    return LinearFit(
        coefficients, covariance, influence, residuals, float(groups - 1), "cluster-robust CR1", design, clusters
    )


def of_influence(influence: FloatArray, clusters: IntArray | None, method: str = "influence function") -> Uncertainty:
    """Standard error of a mean-zero influence function (n,): √Σψ²/n, or summed by cluster with t(G−1)."""
    n = len(influence)
    if clusters is None:
        return Uncertainty(float(np.sqrt(influence @ influence) / n), method, None)
    groups = count_clusters(clusters)
    sums = cluster_sums(influence, clusters)
    std_error = float(np.sqrt(groups / (groups - 1) * (sums @ sums)) / n)
    return Uncertainty(std_error, f"cluster-robust {method}", float(groups - 1))


def widened(uncertainty: Uncertainty, nuisance: float) -> Uncertainty:
    """The uncertainty with the standard deviation that estimated nuisances add, √(se² + nuisance²)."""
    std_error = float(np.hypot(uncertainty.std_error, nuisance))
    return Uncertainty(std_error, f"{uncertainty.method}, nuisances refitted on halves", uncertainty.df)


def ratio(numerator: FloatArray, denominator: FloatArray) -> tuple[float, FloatArray]:
    """Ratio of means and its influence function (numerator − θ·denominator)/mean(denominator)."""
    value = float(numerator.sum() / denominator.sum())
    return value, (numerator - value * denominator) / denominator.mean()


def interval(value: float, uncertainty: Uncertainty) -> Interval:
    """Two-sided 95 % interval."""
    tail = 0.5 + CONFIDENCE / 2
    df = uncertainty.df
    critical = float(ndtri(tail) if df is None else stdtrit(df, tail))
    return Interval(value - critical * uncertainty.std_error, value + critical * uncertainty.std_error)


def p_value(value: float, uncertainty: Uncertainty) -> float:
    """Two-sided p-value of a zero effect."""
    statistic = -abs(value) / uncertainty.std_error
    return float(2 * (ndtr(statistic) if uncertainty.df is None else stdtr(uncertainty.df, statistic)))


def make_estimate(
    study: Study,
    *,
    estimator: str,
    estimand: Estimand,
    value: float,
    uncertainty: Uncertainty,
    n: int | None = None,
    adjusted_for: tuple[str, ...] | None = None,
    n_treated: int | None = None,
    n_dropped: int = 0,
    segments: tuple[SegmentEffect, ...] = (),
    diagnostics: tuple[tuple[str, float], ...] = (),
) -> EffectEstimate:
    """Assemble the estimate; raises EstimationError when its standard error is zero or not finite."""
    if not np.isfinite(value) or not np.isfinite(uncertainty.std_error) or uncertainty.std_error <= 0:
        raise EstimationError(
            f"{estimator} has no standard error on these data (the outcome is fully determined, or the design is "
            "degenerate); check that outcome and controls are not copies of one another"
        )
    if n_treated is None and study.is_binary:
        n_treated = int(study.t.sum())
    return EffectEstimate(
        estimator=estimator,
        estimand=estimand,
        value=float(value),
        std_error=uncertainty.std_error,
        se_method=uncertainty.method,
        ci=interval(value, uncertainty),
        p_value=p_value(value, uncertainty),
        n=study.n if n is None else n,
        n_treated=n_treated,
        n_dropped=n_dropped,
        adjusted_for=source_columns(study) if adjusted_for is None else adjusted_for,
        segments=segments,
        diagnostics=diagnostics,
    )


def source_columns(study: Study) -> tuple[str, ...]:
    """Names of the frame's columns behind the adjustment matrix, each once."""
    return tuple(dict.fromkeys(study.design[2]))
