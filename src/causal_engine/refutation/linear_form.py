"""Which estimates have a closed form, and what would they be on other rows, treatments or controls?

Everything is a Gram matrix: one least-squares estimate needs only sums of products, so hundreds of
resamples are one matrix product (Frisch & Waugh 1933, Lovell 1963) and equal refits exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from src.causal_engine.estimators.inference import independent_columns
from src.causal_engine.results import EffectEstimate
from src.causal_engine.sensitivity.partial import absorb_panel, demeaned
from src.causal_engine.study import FloatArray, IntArray, Study, encode

DRAWN = 2_000_000
KEPT = 16_000_000
ROWS_PER_GROUP = 8
SAME = 1e-6
_SINGULAR = 1e-9


@dataclass(frozen=True)
class LinearForm:
    """A least-squares estimate as arrays.

    ``y`` and ``t`` (n,); ``q`` (n, p) spans the controls, constant included, with q'q = n·I; ``z``
    (n, m) instruments; ``groups`` (n,) codes of what is resampled whole, None for rows.
    ``interacted``: separate regressions per arm, contrasted at the mean covariates of all units, or of
    the treated (``on_treated``). ``units`` (n,) codes of the units whose means are projected out.
    """

    y: FloatArray
    t: FloatArray
    q: FloatArray
    z: FloatArray | None
    groups: IntArray | None
    interacted: bool = False
    on_treated: bool = False
    units: IntArray | None = None

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.y)

    @property
    def n_units(self) -> int:
        """Rows, or groups of rows, that are resampled."""
        return self.n if self.groups is None else int(self.groups.max()) + 1

    @cached_property
    def columns(self) -> FloatArray:
        """Controls, instruments, treatment, outcome side by side, (n, k); without treatment when interacted."""
        if self.interacted:
            return np.column_stack([self.q, self.y])
        blocks = [self.q] if self.z is None else [self.q, self.z]
        return np.column_stack([*blocks, self.t, self.y])

    @cached_property
    def products(self) -> Products:
        """Sums of products over all rows."""
        return Products(self.columns, self.groups)

    @cached_property
    def products_of_treated(self) -> Products:
        """Sums of products over treated rows."""
        return Products(self.columns, self.groups, self.t)

    @cached_property
    def constant(self) -> FloatArray:
        """Coefficients (p,) with which the controls add up to the constant 1."""
        return np.asarray(self.q.sum(axis=0) / self.n, dtype=np.float64)

    def value(self) -> float:
        """The estimate on the data as they are."""
        return float(self.resampled(np.ones((1, self.n_units)))[0])

    def resampled(self, weights: FloatArray) -> FloatArray:
        """Estimates (b,) when row or group i occurs ``weights[:, i]`` times; weights (b, n_units)."""
        everyone = self.products.grams(weights)
        if not self.interacted:
            return self._solve(everyone)
        treated = self.products_of_treated.grams(weights)
        return self._contrast(treated, everyone - treated, self.constant)

    def with_treatment(self, treatments: FloatArray) -> FloatArray:
        """Estimates (b,) under other treatments (b, n)."""
        if self.interacted:
            treated = Products(self.columns, None).grams(treatments)
            everyone = (self.columns.T @ self.columns)[None]
            return self._contrast(treated, everyone - treated, self.constant)
        treatments = self._within(treatments)
        base = np.column_stack([self.q, self.y])
        fixed = base.T @ base
        cross = treatments @ base
        grams = np.empty((len(treatments), base.shape[1] + 1, base.shape[1] + 1))
        order = [*range(base.shape[1] - 1), base.shape[1], base.shape[1] - 1]
        grams[:, :-1, :-1] = fixed
        grams[:, -1, :-1] = grams[:, :-1, -1] = cross
        grams[:, -1, -1] = np.einsum("bi,bi->b", treatments, treatments)
        return self._solve(grams[:, order][:, :, order])

    def with_permutation(self, order: IntArray) -> float:
        """Estimate when treatment and instruments are moved together to the rows ``order`` (n,)."""
        moved = replace(self, t=self.t[order], z=None if self.z is None else self.z[order])
        return float(moved._solve((moved.columns.T @ moved.columns)[None])[0])

    def with_cause(self, causes: FloatArray) -> FloatArray:
        """Estimates (b,) when each row of ``causes`` (b, n) in turn is one more control."""
        if self.interacted:
            treated = _extended_grams(self.columns, causes, self.t)
            control = _extended_grams(self.columns, causes, 1 - self.t)
            constant = np.concatenate([[0.0], self.constant])
            return self._contrast(treated, control, constant)
        return self._solve(_extended_grams(self.columns, self._within(causes), np.ones(self.n)))

    def _within(self, rows: FloatArray) -> FloatArray:
        """Each row of ``rows`` (b, n) less its mean, or less its unit means on a panel."""
        if self.units is None:
            return np.asarray(rows - rows.mean(axis=1, keepdims=True), dtype=np.float64)
        return np.ascontiguousarray(demeaned(rows.T, self.units).T)

    def _solve(self, grams: FloatArray) -> FloatArray:
        ends = 2 + (0 if self.z is None else self.z.shape[1])
        inside, outside = slice(0, grams.shape[1] - ends), slice(grams.shape[1] - ends, None)
        cross = grams[:, inside, outside]
        left = grams[:, outside, outside] - np.swapaxes(cross, 1, 2) @ _solve_symmetric(grams[:, inside, inside], cross)
        if self.z is None:
            return np.asarray(left[:, 0, 1] / left[:, 0, 0], dtype=np.float64)
        zz, zt, zy = left[:, :-2, :-2], left[:, :-2, -2:-1], left[:, :-2, -1:]
        first = _solve_symmetric(zz, np.concatenate([zt, zy], axis=2))
        numerator, denominator = (np.einsum("bij,bi->bj", zt, first[:, :, j])[:, 0] for j in (1, 0))
        return np.asarray(numerator / denominator, dtype=np.float64)

    def _contrast(self, treated: FloatArray, control: FloatArray, constant: FloatArray) -> FloatArray:
        p = len(constant)
        population = treated if self.on_treated else treated + control
        sums = population[:, :p, :p] @ constant
        means = sums / (sums @ constant)[:, None]
        slopes = [
            _solve_symmetric(grams[:, :p, :p], grams[:, :p, p : p + 1])[:, :, 0]
            for grams in (treated, np.broadcast_to(control, treated.shape))
        ]
        return np.asarray(np.einsum("bp,bp->b", means, slopes[0] - slopes[1]), dtype=np.float64)


def linear_form(study: Study, estimate: EffectEstimate) -> LinearForm | None:
    """The closed form of ``estimate``, or None when it has none.

    The form is used only when it reproduces the estimate on the data as they are; an estimate on
    trimmed rows, or of a design the form does not describe exactly, is refitted instead.
    """
    if estimate.n_dropped or study.spec.trim:
        return None
    builder = {
        "difference_in_means": lambda: _regression(study, np.empty((study.n, 0))),
        "ols": lambda: _regression(study, study.x),
        "lin": lambda: _interacted(study),
        "iv_2sls": lambda: _regression(study, study.x, encode(study.frame, study.spec.instruments)[0]),
        "anderson_rubin": lambda: _regression(study, study.x, encode(study.frame, study.spec.instruments)[0]),
        "twfe": lambda: _two_way(study),
    }.get(estimate.estimator)
    if builder is None:
        return None
    form = builder()
    return form if abs(form.value() - estimate.value) <= SAME * estimate.std_error else None


def _regression(study: Study, x: FloatArray, z: FloatArray | None = None) -> LinearForm:
    q = _orthonormal(np.column_stack([np.ones(study.n), x[:, independent_columns(x)]]))
    if z is not None:
        # Kept as they are: what is exchanged is the treatment and the instrument, not their residuals.
        z = (z - z.mean(axis=0))[:, independent_columns(_residual(q, z))]
    return LinearForm(_residual(q, study.y), study.t - study.t.mean(), q, z, study.clusters)


def _interacted(study: Study) -> LinearForm:
    x = study.x
    kept = set.intersection(*(set(independent_columns(x[study.t == arm]).tolist()) for arm in (0.0, 1.0)))
    q = _orthonormal(np.column_stack([np.ones(study.n), x[:, sorted(kept)]]))
    on_treated = study.spec.estimand.on_treated
    return LinearForm(_residual(q, study.y), study.t, q, None, study.clusters, interacted=True, on_treated=on_treated)


def _two_way(study: Study) -> LinearForm:
    values, periods, units = absorb_panel(study, np.column_stack([study.y, study.t, study.x]))
    q = _orthonormal(np.column_stack([periods, values[:, 2:]]))
    y, t = _residual(q, values[:, 0]), _residual(q, values[:, 1])
    return LinearForm(y, t, q, None, study.clusters, units=units)


def _orthonormal(controls: FloatArray) -> FloatArray:
    """An equivalent basis with q'q = n·I, collinear columns dropped."""
    from scipy.linalg import qr

    scale = np.sqrt((controls**2).mean(axis=0))
    used = controls[:, scale > 0] / scale[scale > 0]
    basis, upper, _ = qr(used, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(upper))
    rank = int((diagonal > _SINGULAR * diagonal[0]).sum()) if len(diagonal) else 0
    return np.asarray(basis[:, :rank] * np.sqrt(len(controls)), dtype=np.float64, order="C")


def _residual(q: FloatArray, values: FloatArray) -> FloatArray:
    left = values - q @ (q.T @ values) / len(q)
    return np.asarray(left - q @ (q.T @ left) / len(q), dtype=np.float64)


@dataclass(frozen=True)
class Products:
    """Products of all pairs of ``columns`` (n, k), summed by resampled unit; ``rows`` (n,) multiplies each row's."""

    columns: FloatArray
    groups: IntArray | None
    rows: FloatArray | None = None

    def grams(self, weights: FloatArray) -> FloatArray:
        """Σᵢ wᵢ·cᵢcᵢ' for each row of ``weights`` (b, n_units), shape (b, k, k)."""
        k = self.columns.shape[1]
        upper = np.triu_indices(k)
        if self._sums_fit:
            sums = weights @ self._by_group
        else:
            sums = np.zeros((len(weights), len(upper[0])))
            for units, products in self._kept or self._blocks():
                sums += weights[:, units] @ products
        grams = np.empty((len(weights), k, k))
        grams[:, upper[0], upper[1]] = sums
        grams[:, upper[1], upper[0]] = sums
        return grams

    @cached_property
    def _sums_fit(self) -> bool:
        """Whether groups of many rows each leave sums that fit in memory."""
        if self.groups is None:
            return False
        count, k = int(self.groups.max()) + 1, self.columns.shape[1]
        return len(self.groups) >= ROWS_PER_GROUP * count and count * k * (k + 1) // 2 <= KEPT

    @cached_property
    def _by_group(self) -> FloatArray:
        """Products summed within each group, (n_units, k(k + 1)/2)."""
        assert self.groups is not None
        sizes = np.bincount(self.groups)
        ends = np.cumsum(sizes)
        order = np.argsort(self.groups, kind="stable")
        columns = self.columns[order]
        weighted = columns if self.rows is None else columns * self.rows[order, None]
        upper = np.triu_indices(columns.shape[1])
        sums = np.empty((len(sizes), len(upper[0])))
        for group, (start, end) in enumerate(zip(ends - sizes, ends, strict=True)):
            sums[group] = (weighted[start:end].T @ columns[start:end])[upper]
        return sums

    @cached_property
    def _kept(self) -> tuple[tuple[slice | IntArray, FloatArray], ...]:
        """All blocks, when they fit in memory."""
        k = self.columns.shape[1]
        return tuple(self._blocks()) if len(self.columns) * k * (k + 1) // 2 <= KEPT else ()

    def _blocks(self) -> Iterator[tuple[slice | IntArray, FloatArray]]:
        upper = np.triu_indices(self.columns.shape[1])
        step = max(1, KEPT // (4 * len(upper[0])))
        for start in range(0, len(self.columns), step):
            part = self.columns[start : start + step]
            products = part[:, upper[0]] * part[:, upper[1]]
            if self.rows is not None:
                products *= self.rows[start : start + step, None]
            if self.groups is None:
                yield slice(start, start + step), products
            else:
                codes, local = np.unique(self.groups[start : start + step], return_inverse=True)
                yield codes, _sum_by(products, local, len(codes))


def _sum_by(values: FloatArray, codes: IntArray, count: int) -> FloatArray:
    from scipy.sparse import csr_array

    indicator = csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(count, len(codes)))
    return np.asarray(indicator @ values, dtype=np.float64)


def _extended_grams(columns: FloatArray, causes: FloatArray, rows: FloatArray) -> FloatArray:
    """Gram matrices with one more first column, one per row of ``causes``, (b, k + 1, k + 1)."""
    k = columns.shape[1]
    weighted = columns * rows[:, None]
    grams = np.empty((len(causes), k + 1, k + 1))
    grams[:, 1:, 1:] = weighted.T @ columns
    grams[:, 0, 1:] = grams[:, 1:, 0] = causes @ weighted
    grams[:, 0, 0] = (causes**2) @ rows
    return grams


def _solve_symmetric(matrices: FloatArray, right: FloatArray) -> FloatArray:
    """Solve a batch of normal equations; directions without variation get coefficient 0 (least norm)."""
    if matrices.shape[1] == 0:
        return np.zeros((*matrices.shape[:2], right.shape[2]))
    diagonal = np.abs(np.einsum("bii->bi", matrices))
    try:
        root = np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        root = None
    if root is not None and (np.einsum("bii->bi", root) ** 2 > 1e-8 * diagonal).all():
        return np.asarray(np.linalg.solve(matrices, right), dtype=np.float64)
    return np.asarray(np.linalg.pinv(matrices, rcond=1e-10, hermitian=True) @ right, dtype=np.float64)
