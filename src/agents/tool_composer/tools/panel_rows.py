"""What do the rows given to a tool hold: whose are they, of which month, and which columns say something?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from src.agents.tool_composer.tools.contract import ToolInputs
from src.causal_engine.study import IntArray
from src.errors import DataUnavailable, UnknownColumn

UNIT_COLUMNS = ("hcp_id", "patient_id")
TIME_COLUMNS = ("month", "prediction_timestamp", "metric_date")
MAX_LEVELS = 30


def rows_of(inputs: ToolInputs) -> pd.DataFrame:
    """The frame. Raises DataUnavailable when no row is left."""
    if inputs.frame is None or inputs.frame.empty:
        raise DataUnavailable("no rows are left after the filters; ask for another brand, region or period")
    return inputs.frame


def checked_columns(frame: pd.DataFrame, names: Sequence[str]) -> tuple[str, ...]:
    """``names``, each once. Raises UnknownColumn naming the nearest for one the frame does not have."""
    for name in names:
        if name not in frame.columns:
            raise UnknownColumn(name, [str(column) for column in frame.columns])
    return tuple(dict.fromkeys(names))


def unit_key(inputs: ToolInputs) -> str | None:
    """The column of units (prescribers, else patients): the declared one, or the usual name; None without any."""
    return _key(inputs, "unit_key", UNIT_COLUMNS)


def time_key(inputs: ToolInputs) -> str:
    """The column of time. Raises DataUnavailable without any."""
    key = _key(inputs, "time_key", TIME_COLUMNS)
    if key is None:
        raise DataUnavailable(f"these rows have no column of time; one of {', '.join(TIME_COLUMNS)} is needed")
    return key


def unit_codes(frame: pd.DataFrame, key: str | None) -> IntArray:
    """Number of each row's unit from 0 in the order of the names, (n,); a row without one is a unit of its own."""
    if key is None:
        return np.arange(len(frame), dtype=np.int64)
    codes, known = pd.factorize(frame[key], sort=True)
    alone = np.flatnonzero(codes < 0)
    codes[alone] = len(known) + np.arange(len(alone))
    return np.asarray(codes, dtype=np.int64)


def is_number(series: pd.Series) -> bool:
    """Whether the values are quantities rather than levels."""
    return pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)


def telling_columns(frame: pd.DataFrame, keys: Sequence[str | None]) -> tuple[str, ...]:
    """Columns with something to compare: no keys or dates, no constants, no text with more than thirty levels."""
    found = []
    for name in frame.columns:
        series = frame[name]
        if name in keys or str(name).endswith(("_id", "_key")) or pd.api.types.is_datetime64_any_dtype(series):
            continue
        levels = _levels(series)
        if levels > 1 and (is_number(series) or levels <= MAX_LEVELS):
            found.append(str(name))
    return tuple(found)


def is_clock(values: pd.Series, units: IntArray, months: IntArray) -> bool:
    """Whether the values only count the time: a number that rises in every unit with every month."""
    if not is_number(values):
        return False
    order = np.lexsort((months, units))
    same = units[order][1:] == units[order][:-1]
    steps = np.diff(values.to_numpy(dtype=np.float64)[order])[same]
    return bool(steps.size) and bool((steps > 0).all())


def _key(inputs: ToolInputs, name: str, usual: Sequence[str]) -> str | None:
    declared = inputs.declared.get(name)
    candidates = ([str(declared)] if declared else []) + list(usual)
    return next((column for column in candidates if column in inputs.frame.columns), None)


def _levels(series: pd.Series) -> int:
    """How many different values there are; 0 for lists and mappings, which are nothing to compare."""
    try:
        return int(series.nunique(dropna=False))
    except TypeError:
        return 0
