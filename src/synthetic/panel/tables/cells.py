"""How are dates, gaps, measurement errors and choices put into table columns?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from src.synthetic.panel.world import FIRST_MONTH
from src.synthetic.streams import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

MISSING_SHARE = {
    "insurance_type": 0.08,
    "age_group": 0.05,
    "comorbidities": 0.12,
    "previous_treatment": 0.15,
    "digital_engagement_score": 0.10,
}
# Standard deviation of the measurement error as a fraction of the variable's own.
ERROR_SHARE = {"severity": 0.10, "engagement": 0.15, "outcome": 0.12}

FIRST_DAY = int(np.datetime64(FIRST_MONTH, "D").astype(np.int64))
LAST_DAY = int(np.datetime64("2024-12-31", "D").astype(np.int64))
MINUTES_PER_DAY = 1_440


def month_start(months: IntArray) -> IntArray:
    """Days since 1970 of the first day of each panel month."""
    dates = (np.datetime64(FIRST_MONTH, "M") + months).astype("datetime64[D]")
    return np.asarray(dates.astype(np.int64), dtype=np.int64)


def dates(days: IntArray, present: BoolArray | None = None) -> np.ndarray:
    """Python dates from days since 1970, None where not present; shape (n,), dtype object."""
    found = days.astype("datetime64[D]").astype(object)
    return found if present is None else only_where(present, found)


def timestamps(minutes: IntArray, present: BoolArray | None = None) -> pd.Series[Any]:
    """UTC timestamps from minutes since 1970, NaT where not present."""
    import pandas as pd

    times = minutes.astype("datetime64[m]").astype("datetime64[us]")
    if present is not None:
        times = np.where(present, times, np.datetime64("NaT"))
    return pd.Series(times).dt.tz_localize("UTC")


def choose(rng: np.random.Generator, options: Sequence[str], shares: Sequence[float], n: int) -> np.ndarray:
    """``n`` options drawn with the given shares; dtype object."""
    return np.array(options, dtype=object)[rng.choice(len(options), size=n, p=np.asarray(shares) / sum(shares))]


def with_gaps(rng: np.random.Generator, column: str, values: np.ndarray) -> np.ndarray:
    """``values`` with the column's share of cells missing: NaN in floats, None otherwise."""
    missing = rng.random(len(values)) < MISSING_SHARE[column]
    if values.dtype.kind == "f":
        return np.where(missing, np.nan, values)
    gaps = values.copy()
    gaps[missing] = None
    return gaps


def measured(rng: np.random.Generator, kind: str, values: FloatArray) -> FloatArray:
    """``values`` with normal measurement error of ``ERROR_SHARE[kind]`` standard deviations."""
    return values + ERROR_SHARE[kind] * float(values.std()) * rng.standard_normal(len(values))


def only_where(present: BoolArray, values: np.ndarray | str) -> np.ndarray:
    """``values`` where present, None elsewhere; dtype object."""
    column = np.empty(len(present), dtype=object)
    column[present] = values if isinstance(values, str) else values[present]
    return column


def objects(items: Sequence[Any]) -> np.ndarray:
    """A column whose cells are the given lists, mappings or None; dtype object."""
    column = np.empty(len(items), dtype=object)
    column[:] = items
    return column


def keys(prefix: str, numbers: IntArray, width: int) -> list[str]:
    """Text keys with zero-padded numbers."""
    return [f"{prefix}{number:0{width}d}" for number in numbers.tolist()]
