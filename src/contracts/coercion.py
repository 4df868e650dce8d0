"""Which values of a frame can be read as the type the contract names?"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from src.contracts.model import Dtype, TableContract
from src.contracts.values import NOT_A_VALUE, as_json, as_list

if TYPE_CHECKING:
    import pandas as pd

_TRUE_FALSE = {"true": True, "false": False, "t": True, "f": False, "1": True, "0": False, "1.0": True, "0.0": False}
_MOMENT = re.compile(r"(?:\d{4}-\d{2}-\d{2}|\d{8})(?:[T ][\d:.]+(?P<zone> ?(?:Z|[+-]\d{1,2}(?::?\d{2})?))?)?", re.ASCII)


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


def read_series(series: pd.Series[Any], dtype: Dtype) -> pd.Series[Any]:
    """Read ``series`` as ``dtype`` with empty cells for what cannot be read."""
    return _READERS[dtype](series)


def _read_text(series: pd.Series[Any]) -> pd.Series[Any]:
    raw = series.astype(object)
    return raw.map(_text, na_action="ignore").where(raw.notna(), None)


def _text(value: Any) -> str:
    return value if type(value) is str else str(value)


def _read_int(series: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if pd.api.types.is_unsigned_integer_dtype(series.dtype):
        series = series.astype("UInt64").mask(lambda whole: whole > 2**63 - 1)
    if pd.api.types.is_integer_dtype(series.dtype):
        return series.astype("Int64")
    numbers = read_numbers(series)
    return numbers.where((numbers % 1 == 0) & (numbers.abs() < 2**53)).astype("Int64")


def read_numbers(series: pd.Series[Any]) -> pd.Series[Any]:
    """``series`` as float64, NaN for what is no number: neither a number (a truth value is none) nor text of one."""
    import numpy as np
    import pandas as pd

    kind = pd.api.types
    if not kind.is_numeric_dtype(series.dtype) or kind.is_bool_dtype(series.dtype):
        series = _numbers_or_none(series.astype(object))
    elif kind.is_complex_dtype(series.dtype):
        series = pd.Series(np.nan, index=series.index, name=series.name)
    numbers = pd.to_numeric(series, errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=np.float64, na_value=np.nan), index=series.index, name=series.name)


def _numbers_or_none(raw: pd.Series[Any]) -> pd.Series[Any]:
    types = raw.map(type)
    # pandas would count a time as its nanoseconds since 1970, and a missing time as a number too.
    refused = [found for found in types.unique() if not _is_numeric(found)]
    return raw.mask(types.isin(refused), None) if refused else raw


def _is_numeric(found: type) -> bool:
    from decimal import Decimal

    import numpy as np

    numeric = issubclass(found, str | int | float | Decimal | np.integer | np.floating)
    return numeric and not issubclass(found, bool | np.timedelta64)


def _read_bool(series: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if pd.api.types.is_bool_dtype(series.dtype):
        return series.astype("boolean")
    words = series.astype(object).map(lambda value: str(value).lower(), na_action="ignore")
    return words.map(_TRUE_FALSE.get, na_action="ignore").astype("boolean")


def _read_date(series: pd.Series[Any]) -> pd.Series[Any]:
    days: pd.Series[Any] = read_times(series).dt.tz_localize(None)
    return days


def read_times(series: pd.Series[Any]) -> pd.Series[Any]:
    """``series`` as UTC times (ns), NaT for what is no time; what has no zone is UTC, whatever stands beside it.

    A text is a time when it begins with a whole day of ISO 8601: no bare year, no "now".
    """
    import numpy as np
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _moments(series)
    raw = series.astype(object)
    zoned = np.array([_zoned(value) for value in raw], dtype=object)
    times = pd.Series(pd.NaT, index=series.index, name=series.name, dtype="datetime64[ns, UTC]")
    # pandas gives a text without an offset that of the text before it, so the two kinds are read apart.
    for kind in (False, True):
        places = np.flatnonzero(zoned == kind)
        if len(places):
            times.iloc[places] = _moments(raw.iloc[places]).array
    return times


def _moments(raw: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    times: pd.Series[Any] = pd.to_datetime(raw, utc=True, errors="coerce", format="ISO8601")
    within = times.between(pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC"))
    return times.where(within).astype("datetime64[ns, UTC]")


def _zoned(value: Any) -> bool | None:
    """Whether a time says its zone; None for what is no time."""
    import numpy as np

    if isinstance(value, str):
        found = _MOMENT.fullmatch(value)
        return None if found is None else found["zone"] is not None
    if isinstance(value, datetime):
        return value.tzinfo is not None
    return False if isinstance(value, date | np.datetime64) else None


def _read_each(series: pd.Series[Any], reader: Callable[[Any], Any]) -> pd.Series[Any]:
    raw = series.astype(object)
    read = raw.map(reader, na_action="ignore")
    return read.where(read.map(lambda value: value is not NOT_A_VALUE) & raw.notna(), None)


_READERS: dict[Dtype, Callable[[pd.Series[Any]], pd.Series[Any]]] = {
    Dtype.STR: _read_text,
    Dtype.INT: _read_int,
    Dtype.FLOAT: read_numbers,
    Dtype.BOOL: _read_bool,
    Dtype.DATE: _read_date,
    Dtype.TS: read_times,
    Dtype.JSON: lambda raw: _read_each(raw, as_json),
    Dtype.LIST: lambda raw: _read_each(raw, as_list),
}
