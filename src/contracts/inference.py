"""What contract can a dataset be held to that nobody declared one for? Its own names, types and filled columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from src.contracts.model import Column, Dtype, Role, TableContract
from src.contracts.tables import PERSONAL_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

INFERRED = "inferred"
# Rows have no key of their own; no column can be called so.
ROW_NUMBER = "(row number)"


def infer_contract(
    frame: pd.DataFrame, name: str, *, time: str | None = None, unit: str | None = None
) -> TableContract:
    """The contract of ``frame``: each column's type, and whether a cell of it may be empty; no range, no list of words.

    Such rules hold of the frame they were taken from: they say what it was held to, and are no proof that it is
    good. ``time`` (default: none) is the column of each row's time, ``unit`` a key. Columns that are personal in a
    declared table are personal here, by name. Values of several types are text.
    """
    columns = tuple(_column(frame[each], str(each), time, unit) for each in frame.columns)
    return TableContract(re.sub(r"\W+", "_", name).strip("_") or "dataset", ROW_NUMBER, columns, (), INFERRED, None)


def is_inferred(table: TableContract) -> bool:
    """Whether a contract was taken from rows rather than declared."""
    return table.suite_name == INFERRED


def time_columns(table: TableContract) -> tuple[str, ...]:
    """Columns of dates or times without an empty cell, in table order."""
    return tuple(
        column.name for column in table.columns if column.dtype in (Dtype.DATE, Dtype.TS) and not column.nullable
    )


def _column(series: pd.Series[Any], name: str, time: str | None, unit: str | None) -> Column:
    role = Role.TIME if name == time else Role.KEY if name == unit else Role.FEATURE
    return Column(
        name=name,
        dtype=_dtype(series),
        role=role,
        description="as found in the rows",
        nullable=bool(series.isna().any()),
        required=True,
        personal=name in PERSONAL_COLUMNS,
    )


def _dtype(series: pd.Series[Any]) -> Dtype:
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(series.dtype):
        return Dtype.BOOL
    if kinds.is_integer_dtype(series.dtype):
        return Dtype.INT
    if kinds.is_float_dtype(series.dtype):
        return Dtype.FLOAT
    if kinds.is_datetime64_any_dtype(series.dtype):
        return _time_dtype(series)
    return _object_dtype(series)


def _time_dtype(series: pd.Series[Any]) -> Dtype:
    filled = series.dropna()
    whole = getattr(series.dt, "tz", None) is None and bool((filled == filled.dt.normalize()).all())
    return Dtype.DATE if whole else Dtype.TS


def _object_dtype(series: pd.Series[Any]) -> Dtype:
    filled = series.dropna()
    if filled.empty:
        return Dtype.STR
    if filled.map(lambda value: isinstance(value, bool)).all():
        return Dtype.BOOL
    if filled.map(lambda value: isinstance(value, dict)).all():
        return Dtype.JSON
    return Dtype.LIST if filled.map(_is_words).all() else Dtype.STR


def _is_words(value: Any) -> bool:
    items = value.tolist() if hasattr(value, "tolist") else value
    return isinstance(items, list | tuple) and all(isinstance(item, str) for item in items)
