"""What is known of each unit of a panel up to a month, and what came afterwards?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.agents.tool_composer.tools.contract import ToolInputs
from src.agents.tool_composer.tools.panel_rows import (
    checked_columns,
    is_clock,
    is_number,
    rows_of,
    telling_columns,
    time_key,
    unit_codes,
    unit_key,
)
from src.agents.tool_composer.tools.periods import BoolArray, Months, month_numbers
from src.causal_engine.study import FloatArray, IntArray
from src.errors import DataUnavailable, StudyInvalid, UnknownColumn

RECENT = 3
MAX_LEVELS = 12


@dataclass(frozen=True)
class History:
    """Units × months. ``seen`` marks months with a row; ``values`` has one matrix per column that changes over time;
    ``profile`` one row per unit with what never changes; both are NaN where nothing is known."""

    seen: BoolArray
    values: Mapping[str, FloatArray]
    profile: pd.DataFrame
    months: Months
    n_rows: int

    @property
    def n_units(self) -> int:
        """Units."""
        return len(self.profile)

    @property
    def last(self) -> int:
        """Index of the last month."""
        return self.months.count - 1

    def throughout(self, first: int, last: int) -> BoolArray:
        """Units with a row in every month from ``first`` to ``last``, shape (units,)."""
        return np.asarray(self.seen[:, first : last + 1].all(axis=1), dtype=np.bool_)

    def mean(self, column: str, first: int, last: int) -> FloatArray:
        """Mean over the months from ``first`` to ``last`` that have a value, shape (units,); NaN where none has."""
        window = self.values[column][:, first : last + 1]
        known = ~np.isnan(window)
        n = known.sum(axis=1)
        total = np.where(known, window, 0.0).sum(axis=1)
        return np.asarray(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))


def history_of(inputs: ToolInputs, outcome: str, features: Sequence[str], by: Sequence[str]) -> History:
    """The rows by unit and month.

    Time-varying columns are ``features``, or without any all that change within units but counters of time. Raises
    DataUnavailable without rows or units, UnknownColumn, StudyInvalid where a unit has two rows in a month.
    """
    frame = rows_of(inputs)
    key, time = unit_key(inputs), time_key(inputs)
    if key is None:
        raise DataUnavailable("a prediction needs rows of single prescribers over time; these have no hcp_id")
    checked_columns(frame, (outcome, *features, *by))
    if not is_number(frame[outcome]):
        numbers = [str(name) for name in frame.columns if is_number(frame[name])]
        raise UnknownColumn(outcome, numbers, role="numeric outcome")
    unit, month = unit_codes(frame, key), month_numbers(frame[time])
    place = _places(unit, month, key, time)
    n_units, n_months = int(unit.max()) + 1, int(month.max() - month.min()) + 1
    last_row = np.zeros(n_units, dtype=np.int64)
    order = np.argsort(month, kind="stable")
    last_row[unit[order]] = order
    named = telling_columns(frame, (key, time, inputs.declared.get("cluster_key")))
    varying = {name for name in named if is_number(frame[name]) and _varies(frame[name], unit, last_row)}
    moving = [name for name in features or sorted(varying) if name != outcome and name in varying]
    clocks = {name for name in moving if not features and is_clock(frame[name], unit, month)}
    fixed = [name for name in named if name not in varying and (not features or name in features or name in by)]
    return History(
        seen=_matrix(np.ones(len(frame)), place, n_units, n_months) == 1,
        values={
            name: _matrix(frame[name].to_numpy(dtype=np.float64), place, n_units, n_months)
            for name in (outcome, *(name for name in moving if name not in clocks))
        },
        profile=frame[list(dict.fromkeys((*fixed, *by)))].iloc[last_row].reset_index(drop=True),
        months=Months(int(month.min()), int(month.max())),
        n_rows=len(frame),
    )


def features_at(history: History, outcome: str, origin: int, lookback: int) -> pd.DataFrame:
    """What is known of every unit at the end of month ``origin``: no later month is read.

    Means of each column over the last three months and over ``lookback`` months, the outcome's last month, and the
    unit's profile.
    """
    columns: dict[str, FloatArray] = {f"{outcome} last month": history.values[outcome][:, origin]}
    for name in history.values:
        columns[f"{name} recently"] = history.mean(name, max(0, origin - RECENT + 1), origin)
        columns[f"{name} before"] = history.mean(name, origin - lookback + 1, origin)
    return pd.concat([pd.DataFrame(columns), history.profile], axis=1)


@dataclass(frozen=True)
class Encoding:
    """How features become a matrix: centre and scale of numbers, levels of texts, as they were in training."""

    numbers: tuple[str, ...]
    centre: FloatArray
    scale: FloatArray
    levels: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, features: pd.DataFrame) -> Encoding:
        """Learn from training rows; texts with more than twelve levels are left out, as are constants."""
        numbers = [name for name in features.columns if is_number(features[name]) and features[name].nunique() > 1]
        values = features[numbers].to_numpy(dtype=np.float64)
        levels = {
            str(name): tuple(sorted(features[name].astype(str).unique())[1:])
            for name in features.columns
            if not is_number(features[name]) and 1 < features[name].nunique() <= MAX_LEVELS
        }
        return cls(tuple(numbers), np.nanmean(values, axis=0), np.nanstd(values, axis=0), levels)

    def matrix(self, features: pd.DataFrame) -> FloatArray:
        """Standardised numbers (a missing one is the mean) and indicators, shape (n, k)."""
        values = (features[list(self.numbers)].to_numpy(dtype=np.float64) - self.centre) / self.scale
        parts = [np.nan_to_num(values)]
        for name, levels in self.levels.items():
            texts = features[name].astype(str).to_numpy()
            parts.append(np.column_stack([texts == level for level in levels]).astype(np.float64))
        return np.column_stack(parts)


def _places(unit: IntArray, month: IntArray, key: str, time: str) -> IntArray:
    width = int(month.max() - month.min()) + 1
    place = unit * width + (month - month.min())
    if len(np.unique(place)) < len(place):
        raise StudyInvalid(f"some {key} have several rows for one {time}; ask for one brand, or sum the rows first")
    return np.asarray(place, dtype=np.int64)


def _matrix(values: FloatArray, place: IntArray, n_units: int, n_months: int) -> FloatArray:
    matrix = np.full(n_units * n_months, np.nan)
    matrix[place] = values
    # Windows of months are read: the months of all units lie together.
    return np.asfortranarray(matrix.reshape(n_units, n_months))


def _varies(series: pd.Series, unit: IntArray, last_row: IntArray) -> bool:
    values = series.to_numpy(dtype=np.float64)
    ours = values[last_row][unit]
    return bool(((values != ours) & ~(np.isnan(values) & np.isnan(ours))).any())
