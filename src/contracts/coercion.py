"""Which values of a frame can be read as the type the contract names?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from src.contracts.model import Dtype, TableContract
from src.contracts.values import NOT_A_VALUE, as_json, as_list

if TYPE_CHECKING:
    import pandas as pd

_TRUE_FALSE = {"true": True, "false": False, "t": True, "f": False, "1": True, "0": False, "1.0": True, "0.0": False}


def coerce_frame(table: TableContract, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of ``frame`` with each contract column read as its declared type.

    A value that cannot be read stays as it is, so that the type check names its row. Text without
    a zone is read as UTC. Columns outside the contract are left alone.
    """
    result = frame.copy(deep=False)
    for column in table.columns:
        if column.name in result.columns:
            result[column.name] = coerce_series(result[column.name], column.dtype)
    return result


def coerce_series(series: pd.Series[Any], dtype: Dtype) -> pd.Series[Any]:
    """Read ``series`` as ``dtype``; unreadable values are kept, and the result is then of object dtype."""
    converted = _READERS[dtype](series)
    unread = converted.isna() & series.notna()
    if not unread.any():
        return converted
    kept = converted.astype(object)
    kept[unread] = series[unread].astype(object)
    return kept


def unreadable(series: pd.Series[Any], dtype: Dtype) -> pd.Series[bool]:
    """True for each value of ``series`` that is there and cannot be read as ``dtype``."""
    return _READERS[dtype](series).isna() & series.notna()


def _read_text(series: pd.Series[Any]) -> pd.Series[Any]:
    raw = series.astype(object)
    return raw.map(_text, na_action="ignore").where(raw.notna(), None)


def _text(value: Any) -> str:
    return value if type(value) is str else str(value)


def _read_int(series: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if pd.api.types.is_integer_dtype(series.dtype):
        return series.astype("Int64")
    numbers = _numbers(series)
    return numbers.where((numbers % 1 == 0) & (numbers.abs() < 2**53)).astype("Int64")


def _numbers(series: pd.Series[Any]) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    numbers = pd.to_numeric(series, errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=np.float64, na_value=np.nan), index=series.index, name=series.name)


def _read_bool(series: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if pd.api.types.is_bool_dtype(series.dtype):
        return series.astype("boolean")
    words = series.astype(object).map(lambda value: str(value).lower(), na_action="ignore")
    return words.map(_TRUE_FALSE.get, na_action="ignore").astype("boolean")


def _read_date(series: pd.Series[Any]) -> pd.Series[Any]:
    days: pd.Series[Any] = _read_time(series).dt.tz_localize(None)
    return days


def _read_time(series: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series.dtype):
        series = series.where(series.isna())
    raw = series.astype(object) if isinstance(series.dtype, pd.CategoricalDtype) else series
    if raw.dtype == object:
        raw = raw.where(raw.map(lambda value: isinstance(value, str) or hasattr(value, "year")), None)
    times: pd.Series[Any] = pd.to_datetime(raw, utc=True, errors="coerce", format="ISO8601")
    return times.astype("datetime64[ns, UTC]")


def _read_each(series: pd.Series[Any], reader: Callable[[Any], Any]) -> pd.Series[Any]:
    raw = series.astype(object)
    read = raw.map(reader, na_action="ignore")
    return read.where(read.map(lambda value: value is not NOT_A_VALUE) & raw.notna(), None)


_READERS: dict[Dtype, Callable[[pd.Series[Any]], pd.Series[Any]]] = {
    Dtype.STR: _read_text,
    Dtype.INT: _read_int,
    Dtype.FLOAT: _numbers,
    Dtype.BOOL: _read_bool,
    Dtype.DATE: _read_date,
    Dtype.TS: _read_time,
    Dtype.JSON: lambda raw: _read_each(raw, as_json),
    Dtype.LIST: lambda raw: _read_each(raw, as_list),
}
