"""Which unit and which period is each row, and how does treatment move over time?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import EstimationError, StudyInvalid

_TOLERANCE = 1e-13
_MAX_SWEEPS = 5000


@dataclass(frozen=True)
class Panel:
    """Unit code and calendar period of each row, shape (n,); periods count steps from the first."""

    unit: IntArray
    period: IntArray

    @property
    def n_units(self) -> int:
        """Units observed."""
        return int(self.unit.max()) + 1

    @property
    def n_periods(self) -> int:
        """Distinct periods observed."""
        return len(np.unique(self.period))

    def take(self, rows: IntArray) -> Panel:
        """The panel on some of its rows, units renumbered."""
        return Panel(np.asarray(np.unique(self.unit[rows], return_inverse=True)[1], np.int64), self.period[rows])


@dataclass(frozen=True)
class Adoption:
    """When each unit first has the treatment, shape (n_units,): a period, or −1 for never.

    ``absorbing``: once treated, always treated. ``always_treated``: treated in its first period seen.
    """

    first_period: IntArray
    absorbing: bool
    always_treated: int

    @property
    def dates(self) -> IntArray:
        """Distinct adoption periods."""
        return np.unique(self.first_period[self.first_period >= 0])

    @property
    def staggered(self) -> bool:
        """Whether treatment is absorbing and units adopt it at different times."""
        return self.absorbing and len(self.dates) > 1

    @property
    def common(self) -> bool:
        """Whether treatment is absorbing, starts at one time, and some units never have it."""
        return (
            self.absorbing and len(self.dates) == 1 and self.always_treated == 0 and bool((self.first_period < 0).any())
        )


def panel_of(study: Study) -> Panel:
    """Units and periods of a study; raises StudyInvalid when it names no unit or time key."""
    unit_key, time_key = study.spec.unit_key, study.spec.time_key
    if unit_key is None or time_key is None:
        raise StudyInvalid("this estimator compares units over time; name the unit and the time column of the panel")
    if study.frame[unit_key].isna().any() or study.frame[time_key].isna().any():
        raise StudyInvalid(f"'{unit_key}' or '{time_key}' is missing in some rows; complete or remove them")
    unit, _ = pd.factorize(study.frame[unit_key])
    return Panel(np.asarray(unit, dtype=np.int64), calendar_steps(study.frame[time_key]))


def calendar_steps(series: pd.Series) -> IntArray:
    """Periods as whole calendar steps from the first, so that a gap stays a gap; shape (n,).

    Whole numbers step by their greatest common difference, except that 202412 and 202501 are
    months; dates by months when all share a day of the month, else by their common number of days.
    Numbered labels ("P1", "P2") step by their number. Labels that begin with the year ("2024Q1",
    "2024-W07") are consecutive in sorted order; any other
    text has no order that can be trusted and raises StudyInvalid.
    """
    if pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series):
        values = series.to_numpy(dtype=np.float64)
        if not (values == np.round(values)).all():
            return _ranks(series)
        whole = values.astype(np.int64)
        year, month = whole // 100, whole % 100
        in_calendar = (year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12)
        return _steps(year * 12 + month if in_calendar.all() else whole)
    dates = _dates(series)
    if dates is None:
        labels = series.astype(str)
        numbered = labels.str.extract(r"^(\D*)(\d+)$")
        if numbered.notna().all(axis=None) and numbered[0].nunique() == 1:
            return _steps(numbered[1].to_numpy(dtype=np.int64))
        if not labels.str.match(r"\d{4}\D").all():
            raise StudyInvalid(
                f"time key '{series.name}' holds '{labels.iloc[0][:20]}', whose order in time is unclear; "
                "write dates as YYYY-MM-DD or YYYY-MM, or number the periods"
            )
        return _ranks(labels)
    if dates.dt.day.nunique() == 1:
        return _steps((dates.dt.year * 12 + dates.dt.month).to_numpy(dtype=np.int64))
    return _steps(dates.to_numpy().astype("datetime64[D]").astype(np.int64))


def shifted(values: FloatArray, panel: Panel, periods: int) -> FloatArray:
    """Value of the same unit ``periods`` later (earlier when negative), NaN where not observed; shape (n,)."""
    # Room on both sides of each unit's periods, so that a shift never lands on another unit.
    span = int(panel.period.max()) + 1 + 2 * abs(periods)
    keys = panel.unit * span + panel.period + abs(periods)
    order = np.argsort(keys, kind="stable")
    position = np.searchsorted(keys[order], keys + periods)
    found = order[np.minimum(position, len(keys) - 1)]
    return np.where(keys[found] == keys + periods, values[found], np.nan)


def demean(columns: FloatArray, panel: Panel) -> FloatArray:
    """Project unit and period effects out of ``columns`` (n, k).

    One exact pass for balanced panels; else alternating projections to relative 1e-13 (Guimarães &
    Portugal 2010). Raises EstimationError when they do not converge.
    """
    periods = np.unique(panel.period, return_inverse=True)[1]
    current = columns - columns.mean(axis=0)
    scale = np.maximum(np.sqrt((current**2).mean(axis=0)), 1e-300)
    balanced = len(columns) == panel.n_units * (int(periods.max()) + 1)
    for _ in range(_MAX_SWEEPS):
        swept = less_means(less_means(current, panel.unit), periods)
        change = float((np.abs(swept - current) / scale).max(initial=0.0))
        current = swept
        if balanced or change < _TOLERANCE:
            return current
    raise EstimationError("unit and period effects could not be separated; check that periods link the units")


def adoption_of(study: Study, panel: Panel) -> Adoption | None:
    """How a binary treatment is taken up; None for other treatments."""
    if not study.is_binary:
        return None
    treated = study.t == 1
    never = np.iinfo(np.int64).max
    first = np.full(panel.n_units, never)
    np.minimum.at(first, panel.unit[treated], panel.period[treated])
    start = np.full(panel.n_units, never)
    np.minimum.at(start, panel.unit, panel.period)
    reverted = (~treated) & (panel.period > first[panel.unit])
    always = int(((first == start) & (first < never)).sum())
    return Adoption(np.where(first == never, -1, first), not bool(reverted.any()), always)


def share_within(values: FloatArray, panel: Panel) -> float:
    """Share of the variance of ``values`` (n,) that lies within units."""
    centred = values - values.mean()
    within = less_means(centred[:, None], panel.unit)[:, 0]
    return float(within @ within / (centred @ centred))


def less_means(columns: FloatArray, codes: IntArray) -> FloatArray:
    """Columns (n, k) less the means of the groups given by ``codes`` (n,)."""
    counts = np.bincount(codes)
    result = np.empty_like(columns)
    for j in range(columns.shape[1]):
        means = np.bincount(codes, weights=columns[:, j]) / np.maximum(counts, 1)
        result[:, j] = columns[:, j] - means[codes]
    return result


def _steps(values: IntArray) -> IntArray:
    gaps = np.diff(np.unique(values))
    step = int(np.gcd.reduce(gaps)) if len(gaps) else 1
    return np.asarray((values - values.min()) // step, dtype=np.int64)


def _ranks(series: pd.Series) -> IntArray:
    return np.asarray(pd.factorize(series, sort=True)[0], dtype=np.int64)


def _dates(series: pd.Series) -> pd.Series | None:
    if pd.api.types.is_datetime64_any_dtype(series):
        return series.dt.tz_convert("UTC").dt.tz_localize(None) if series.dt.tz is not None else series
    try:
        return pd.to_datetime(series.astype(str), format="ISO8601", utc=True).dt.tz_localize(None)
    except (ValueError, TypeError):
        return None
