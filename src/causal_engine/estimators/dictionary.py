"""Which smooth functions of covariates may a correction be made of?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.causal_engine.study import FloatArray, IntArray

KNOTS, OUTER_SHARE = 8, 0.01
USUAL_ROWS = 10_000
"""Up to so many rows the splines have ``KNOTS`` knots, the outer ones with ``OUTER_SHARE`` of the rows beyond."""
FEWEST_KNOTS = 4
MAX_COLUMNS_IN_PAIRS = 60


@dataclass(frozen=True)
class Dictionary:
    """Each covariate within its bounds, its natural cubic spline, and products of pairs of covariates.

    ``centre``, ``scale``, ``low`` and ``high`` (p,); ``knots`` of each covariate in standard units,
    empty without a spline; ``bends`` (s, 2): covariate and number of each spline column; ``pairs`` (q, 2).
    """

    centre: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray
    knots: tuple[FloatArray, ...]
    bends: IntArray
    pairs: IntArray

    @property
    def size(self) -> int:
        """Number of functions: p + s + q."""
        return len(self.centre) + len(self.bends) + len(self.pairs)

    def terms(self, x: FloatArray, kept: IntArray) -> FloatArray:
        """The functions at positions ``kept`` (k,) for rows ``x`` (n, p), shape (n, k)."""
        columns, bent = len(self.centre), len(self.bends)
        z, inner = self._inner(x)
        found = np.empty((len(kept), len(x)))
        for place, position in enumerate(kept):
            if position < columns:
                found[place] = inner[:, position]
            elif position >= columns + bent:
                left, right = self.pairs[position - columns - bent]
                found[place] = inner[:, left] * inner[:, right]
        curved = np.flatnonzero((kept >= columns) & (kept < columns + bent))
        bends = self.bends[kept[curved] - columns]
        for j in np.unique(bends[:, 0]):
            own = bends[:, 0] == j
            found[curved[own]] = _bends(z[:, j], self.knots[j], bends[own, 1])
        return found.T

    def moments(self, x: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Σ weight·function, (w, size) for ``weights`` (w, n), and Σ function², (size,), without building products."""
        single = self.terms(x, np.arange(self.size - len(self.pairs)))
        inner = self._inner(x)[1]
        left, right = self.pairs.T
        paired = [((inner * weight[:, None]).T @ inner)[left, right] for weight in weights]
        squares = inner**2
        return (
            np.column_stack([weights @ single, np.array(paired).reshape(len(weights), -1)]),
            np.append((single**2).sum(axis=0), (squares.T @ squares)[left, right]),
        )

    def _inner(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Covariates in standard units, by column in memory, and the same within bounds."""
        z = np.asfortranarray((x - self.centre) / self.scale)
        return z, np.clip(z, self.low, self.high)


def dictionary_of(x: FloatArray) -> Dictionary:
    """The dictionary for covariates (n, p); products only for up to 60 columns, splines where values are many."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    varying = scale > 1e-12 * np.abs(x).max(axis=0)
    scale = np.where(varying, scale, np.inf)
    # More rows show finer curves: n^(1/5) knots keep a cubic spline's bias and variance in step (Stone 1982).
    more = max(len(x) / USUAL_ROWS, 1.0)
    count, beyond = round(KNOTS * more**0.2), OUTER_SHARE / np.sqrt(more)
    by_rank = (np.quantile(x, np.linspace(beyond, 1 - beyond, count), axis=0) - centre) / scale
    curved = [len(np.unique(column)) >= FEWEST_KNOTS for column in by_rank.T]
    ends = np.where(curved, by_rank[[0, -1]], (np.array([x.min(axis=0), x.max(axis=0)]) - centre) / scale)
    # Half way between equal steps and equal numbers of rows: curves bend in the tails too, where rows are few.
    knots = [np.unique((column + np.linspace(column[0], column[-1], count)) / 2) for column in by_rank.T]
    kept = tuple(each if bent else np.empty(0) for each, bent in zip(knots, curved, strict=True))
    bends = [(j, k) for j, each in enumerate(kept) for k in range(max(len(each) - 2, 0))]
    names = np.flatnonzero(varying)
    pairs = np.column_stack([names[side] for side in np.triu_indices(len(names), 1)])
    few = pairs if len(names) <= MAX_COLUMNS_IN_PAIRS else pairs[:0]
    return Dictionary(centre, scale, ends[0], ends[1], kept, np.array(bends, dtype=np.int64).reshape(-1, 2), few)


def _bends(u: FloatArray, knots: FloatArray, wanted: IntArray) -> FloatArray:
    """Natural cubic splines beyond the linear ones, (len(wanted), n) (Hastie et al. 2009, eq. 5.4-5.5)."""
    last = _cube(u - knots[-1])
    before = (_cube(u - knots[-2]) - last) / (knots[-1] - knots[-2])
    return np.stack([(_cube(u - knots[k]) - last) / (knots[-1] - knots[k]) - before for k in wanted])


def _cube(u: FloatArray) -> FloatArray:
    """Third power where positive, else 0; products, as powers take ten times as long."""
    above = np.maximum(u, 0.0)
    return np.asarray(above * above * above, dtype=np.float64)
