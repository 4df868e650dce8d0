"""Do several estimates differ, which stand out, and which ranks can they have?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, stdtr

from src.causal_engine.study import FloatArray, IntArray

LEVEL = 0.05
_NORMAL = 1e7
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class Estimates:
    """Values (s,) with their covariance (s, s); ``df`` is that of the t reference."""

    values: FloatArray
    covariance: FloatArray
    df: float

    def heterogeneity_p_value(self) -> float | None:
        """P-value that all are equal (Wald F), None for a single estimate or where it cannot be computed."""
        k = len(self.values) - 1
        if k < 1 or self.df <= k:
            return None
        contrasts = np.column_stack([-np.ones(k), np.eye(k)])
        difference, spread = contrasts @ self.values, contrasts @ self.covariance @ contrasts.T
        wald = float(difference @ np.linalg.pinv(spread, hermitian=True) @ difference)
        return float(fdtrc(k, self.df, wald / k))

    def against_the_rest(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Each less the weighted mean of the others, and p-values adjusted for their number, shape (s,) each."""
        from scipy.stats import false_discovery_control

        s = len(self.values)
        others = np.where(np.eye(s, dtype=bool), 0.0, weights[None, :])
        contrasts = np.eye(s) - others / np.maximum(others.sum(axis=1, keepdims=True), 1e-300)
        differences, raw = self._tested(contrasts)
        return differences, np.asarray(false_discovery_control(raw), dtype=np.float64)

    def possible_ranks(self) -> tuple[IntArray, IntArray]:
        """Best and worst rank (1 is the largest value) of each that pairwise tests at 5 % leave open (Holm 1979)."""
        s = len(self.values)
        first, second = np.triu_indices(s, 1)
        contrasts = np.zeros((len(first), s))
        contrasts[np.arange(len(first)), first], contrasts[np.arange(len(first)), second] = 1.0, -1.0
        differences, raw = self._tested(contrasts)
        sure = holm(raw) < LEVEL
        above = np.zeros((s, s), dtype=np.int64)
        above[first, second] = sure & (differences > 0)
        above[second, first] = sure & (differences < 0)
        return 1 + above.sum(axis=0), s - above.sum(axis=1)

    def shrunken(self) -> FloatArray:
        """Each pulled towards the common mean as far as chance alone would spread them (DerSimonian & Laird 1986)."""
        variances = np.diag(self.covariance)
        precision = 1.0 / variances
        mean = float(precision @ self.values / precision.sum())
        excess = float(precision @ (self.values - mean) ** 2) - (len(self.values) - 1)
        scale = float(precision.sum() - (precision**2).sum() / precision.sum())
        between = max(0.0, excess / scale) if scale > 0 else 0.0
        weight = 1.0 / (between + variances)
        centre = float(weight @ self.values / weight.sum())
        return np.asarray(centre + between / (between + variances) * (self.values - centre), dtype=np.float64)

    def _tested(self, contrasts: FloatArray) -> tuple[FloatArray, FloatArray]:
        differences = contrasts @ self.values
        errors = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", contrasts, self.covariance, contrasts), 1e-300))
        return differences, 2 * stdtr(self.df, -np.abs(differences) / errors)


def jointly(
    values: Sequence[float],
    std_errors: Sequence[float],
    sums: Sequence[FloatArray] | None,
    dfs: Sequence[float | None],
) -> Estimates:
    """Estimates with the covariance that their influence implies.

    ``sums`` (s times (g,)) are their influence functions summed by the clusters they share, None where they share
    none. ``dfs`` are the degrees of freedom of their own t references: each variance is widened by df/(df − 2), that
    of the t distribution, so that few clusters in a segment do not look like differences between segments.
    """
    known = [df for df in dfs if df is not None]
    widened = [1.0 if df is None else df / (df - 2) if df > 2 else float("inf") for df in dfs]
    errors = np.maximum(np.asarray(std_errors, dtype=np.float64) * np.sqrt(widened), _least(values))
    correlation = np.eye(len(errors))
    if sums is not None:
        stacked = np.stack(sums)
        lengths = np.maximum(np.sqrt((stacked**2).sum(axis=1)), 1e-100)
        correlation = stacked @ stacked.T / np.outer(lengths, lengths)
        np.fill_diagonal(correlation, 1.0)
    covariance = np.asarray(correlation * np.outer(errors, errors), dtype=np.float64)
    df = float(sum(known)) if len(known) == len(dfs) and known else _NORMAL
    return Estimates(np.asarray(values, dtype=np.float64), covariance, df)


def _least(values: Sequence[float]) -> float:
    """A spread that stands for none, so that segments without any variation can be compared."""
    return _NEGLIGIBLE * max(1.0, float(np.abs(values).max()))


def holm(p_values: FloatArray) -> FloatArray:
    """P-values adjusted so that any false one is controlled (1979)."""
    n = len(p_values)
    order = np.argsort(p_values)
    adjusted = np.maximum.accumulate(p_values[order] * (n - np.arange(n)))
    result = np.empty(n)
    result[order] = np.minimum(adjusted, 1.0)
    return result
