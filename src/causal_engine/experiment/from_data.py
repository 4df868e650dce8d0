"""How does an outcome vary over units, clusters and time in rows that are there, and how surely is that known?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import fdtri, ndtri

from src.causal_engine.experiment.sizing import Baseline
from src.causal_engine.experiment.trial_size import Spread, intraclass, spread_over
from src.causal_engine.results import Interval
from src.causal_engine.spec import OutcomeKind
from src.causal_engine.study import FloatArray, IntArray
from src.domain.small_cells import SMALLEST_CELL
from src.errors import StudyInvalid, TooFewRows, UnknownColumn

Z = float(ndtri(0.975))


@dataclass(frozen=True, slots=True)
class Estimated:
    """A quantity with its 95 % interval."""

    value: float
    ci: Interval


@dataclass(frozen=True, slots=True)
class Variation:
    """What a design needs to know of the outcome; None for what the columns named do not tell.

    ``sd`` and ``mean`` are those of a row. ``cluster_size`` and ``cluster_cv`` describe rows (units, where they are
    named) per cluster. ``autocorrelation`` is that of a unit's neighbouring periods once period means are taken out,
    persistent differences between units included; ``correlation`` is with the covariate.
    """

    kind: OutcomeKind
    n: int
    mean: Estimated
    sd: Estimated
    dispersion: float
    icc: Estimated | None
    n_clusters: int | None
    cluster_size: float | None
    cluster_cv: float | None
    autocorrelation: Estimated | None
    correlation: Estimated | None
    windows: tuple[Spread, ...]

    @property
    def baseline(self) -> Baseline:
        """The outcome without treatment, as in these rows."""
        return Baseline(self.kind, self.mean.value, self.sd.value, self.dispersion)


def variation_of(
    frame: pd.DataFrame,
    outcome: str,
    *,
    unit: str | None = None,
    time: str | None = None,
    cluster: str | None = None,
    covariate: str | None = None,
    lengths: tuple[int, ...] = (1, 2, 3, 6, 9, 12),
) -> Variation:
    """Estimate it from rows with the outcome (and everything named) present.

    With ``unit`` and ``time`` the rows are a panel: ``windows`` then say how unit means vary over tests of each length
    that fits twice. With ``unit`` alone its rows are averaged: a unit is measured by the mean of as many rows. Raises
    UnknownColumn, StudyInvalid for an outcome or covariate that is no number or does not vary, TooFewRows below eleven
    rows, units or two clusters.
    """
    named = [name for name in (outcome, unit, time, cluster, covariate) if name]
    for name in named:
        if name not in frame.columns:
            raise UnknownColumn(name, list(frame.columns))
    rows = frame.loc[:, list(dict.fromkeys(named))].dropna()
    if unit is not None and time is None:
        rows = _one_row_each(rows, unit, cluster)
    y = _numbers(rows, outcome)
    groups = None if cluster is None else _codes(rows[cluster])
    units = np.arange(len(y), dtype=np.int64) if unit is None else _codes(rows[unit])
    if len(y) < SMALLEST_CELL or int(units.max()) + 1 < SMALLEST_CELL:
        raise TooFewRows(f"a design cannot be estimated on fewer than {SMALLEST_CELL} rows and units")
    kind, mean = _kind(y), float(y.mean())
    icc, sizes = (None, None) if groups is None else _clustered(y, units, groups)
    periods = None if unit is None or time is None else _codes(rows[time])
    return Variation(
        kind=kind,
        n=len(y),
        mean=Estimated(mean, _around(mean, float(y.std(ddof=1)) / np.sqrt(len(y)))),
        sd=_sd(y),
        dispersion=max(0.0, (float(y.var(ddof=1)) - mean) / mean**2) if kind is OutcomeKind.COUNT else 0.0,
        icc=icc,
        n_clusters=None if sizes is None else len(sizes),
        cluster_size=None if sizes is None else float(sizes.mean()),
        cluster_cv=None if sizes is None else float(sizes.std() / sizes.mean()),
        autocorrelation=None if periods is None else _autocorrelation(y, units, periods),
        correlation=None if covariate is None else _correlation(y, _numbers(rows, covariate)),
        windows=() if periods is None else _windows(y, units, periods, lengths),
    )


def _one_row_each(rows: pd.DataFrame, unit: str, cluster: str | None) -> pd.DataFrame:
    grouped = rows.groupby(unit, sort=True)
    if cluster is not None and (grouped[cluster].nunique() > 1).any():
        raise StudyInvalid("a unit lies in two clusters; name the cluster that holds whole units")
    numbers = [name for name in rows.columns if name not in (unit, cluster)]
    for name in numbers:
        _numbers(rows, name)
    means = grouped[numbers].mean()
    if cluster is not None:
        means[cluster] = grouped[cluster].first()
    return means.reset_index()


def _numbers(rows: pd.DataFrame, name: str) -> FloatArray:
    if not (pd.api.types.is_numeric_dtype(rows[name]) or pd.api.types.is_bool_dtype(rows[name])):
        raise StudyInvalid(f"'{name}' is no number; name a numeric or 0/1 column")
    values = rows[name].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise StudyInvalid(f"'{name}' is infinite in some rows; leave these out (--where)")
    if len(values) == 0 or float(values.min()) == float(values.max()):
        raise StudyInvalid(f"'{name}' does not vary in these rows")
    return values


def _kind(y: FloatArray) -> OutcomeKind:
    if set(np.unique(y)) <= {0.0, 1.0}:
        return OutcomeKind.BINARY
    whole = bool(np.all(y >= 0) and np.all(y == np.round(y)) and y.mean() < 30)
    return OutcomeKind.COUNT if whole else OutcomeKind.CONTINUOUS


def _codes(values: pd.Series) -> IntArray:
    return np.asarray(pd.factorize(values, sort=True)[0], dtype=np.int64)


def _around(value: float, error: float) -> Interval:
    return Interval(value - Z * error, value + Z * error)


def _sd(y: FloatArray) -> Estimated:
    """With the interval of log s² by its delta-method error √((γ₄ − (n−3)/(n−1))/n), γ₄ the sample kurtosis."""
    n, centred = len(y), y - y.mean()
    sd = float(y.std(ddof=1))
    kurtosis = float((centred**4).mean() / (centred**2).mean() ** 2)
    half = 0.5 * Z * np.sqrt(max(kurtosis - (n - 3) / (n - 1), 0.0) / n)
    return Estimated(sd, Interval(sd * float(np.exp(-half)), sd * float(np.exp(half))))


def _clustered(y: FloatArray, units: IntArray, groups: IntArray) -> tuple[Estimated, FloatArray]:
    """Intraclass correlation of unit means with Searle's (1971) interval, and units per cluster."""
    counts = np.bincount(units)
    values = np.bincount(units, y) / counts
    _, first = np.unique(units, return_index=True)
    of_unit = groups[first]
    if (of_unit[units] != groups).any():
        raise StudyInvalid("a unit lies in two clusters; name the cluster that holds whole units")
    sizes = np.bincount(of_unit).astype(np.float64)
    k, n = len(sizes), len(values)
    icc, _ = intraclass(values, of_unit)
    if icc is None:
        raise TooFewRows("an intraclass correlation needs two clusters with more than one unit each")
    typical = (n - float((sizes**2).sum()) / n) / (k - 1)
    means = np.bincount(of_unit, values) / sizes
    between = float(sizes @ (means - values.mean()) ** 2) / (k - 1)
    within = float(((values - means[of_unit]) ** 2).sum()) / (n - k)
    ratios = [between / within / float(fdtri(k - 1, n - k, p)) for p in (0.975, 0.025)]
    lower, upper = (max(0.0, (ratio - 1) / (ratio + typical - 1)) for ratio in ratios)
    return Estimated(icc, Interval(lower, upper)), sizes


def _correlation(x: FloatArray, y: FloatArray, n: int | None = None) -> Estimated:
    """Pearson's, with Fisher's interval over ``n`` independent pieces."""
    found = float(np.corrcoef(x, y)[0, 1])
    half = Z / np.sqrt(max((n or len(x)) - 3, 1))
    centre = np.arctanh(np.clip(found, -0.999999, 0.999999))
    return Estimated(found, Interval(float(np.tanh(centre - half)), float(np.tanh(centre + half))))


def _autocorrelation(y: FloatArray, units: IntArray, periods: IntArray) -> Estimated | None:
    """Of neighbouring periods, period means taken out; its interval counts units, not rows, as independent."""
    means = np.bincount(periods, y) / np.bincount(periods)
    table = pd.Series(y - means[periods], index=pd.MultiIndex.from_arrays([units, periods]))
    if table.index.has_duplicates:
        table = table.groupby(level=[0, 1]).mean()
    wide = table.unstack().to_numpy(dtype=np.float64)  # noqa: PD010 - one row per unit, one column per period
    earlier, later = wide[:, :-1].ravel(), wide[:, 1:].ravel()
    both = np.isfinite(earlier) & np.isfinite(later)
    if both.sum() < SMALLEST_CELL or earlier[both].std() == 0 or later[both].std() == 0:
        return None
    return _correlation(earlier[both], later[both], wide.shape[0])


def _windows(y: FloatArray, units: IntArray, periods: IntArray, lengths: tuple[int, ...]) -> tuple[Spread, ...]:
    fitting = [length for length in lengths if 2 * length <= int(periods.max()) + 1]
    return tuple(spread_over(y, units, units, periods, length) for length in fitting)
