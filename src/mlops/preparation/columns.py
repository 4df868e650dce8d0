"""How is a column of a frame read for modelling: as numbers, times, lists or words?"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from src.contracts.coercion import coerce_series, unreadable
from src.contracts.model import Dtype, TableContract
from src.errors import ContractViolation, UnknownColumn

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Texts = NDArray[np.object_]


class Kind(StrEnum):
    """What a column's values are to a model."""

    NUMBER = "number"
    TEXT = "text"
    TIME = "time"
    LIST = "list"


_KINDS = {
    Dtype.STR: Kind.TEXT,
    Dtype.INT: Kind.NUMBER,
    Dtype.FLOAT: Kind.NUMBER,
    Dtype.BOOL: Kind.NUMBER,
    Dtype.DATE: Kind.TIME,
    Dtype.TS: Kind.TIME,
    Dtype.LIST: Kind.LIST,
}
_DTYPES = {Kind.NUMBER: Dtype.FLOAT, Kind.TEXT: Dtype.STR, Kind.TIME: Dtype.TS, Kind.LIST: Dtype.LIST}
DAY_NS = 86_400 * 10**9


def column_of(frame: pd.DataFrame, name: str, role: str = "column") -> pd.Series[Any]:
    """The column of that name; UnknownColumn without one, ContractViolation with several."""
    if name not in frame.columns:
        raise UnknownColumn(name, [str(column) for column in frame.columns], role=role)
    found = frame[name]
    if found.ndim != 1:
        raise ContractViolation(f"{role} '{name}' is there {found.shape[1]} times; name each column differently")
    return found


def declared(name: str, table: TableContract | None) -> Dtype | None:
    """The type that the contract gives the column, if there is a contract and it has the column."""
    if table is None or name not in table.column_names:
        return None
    return table.column(name).dtype


def kind_of(series: pd.Series[Any], name: str, table: TableContract | None = None) -> Kind:
    """Kind of a column by its contract, otherwise by its values; ContractViolation for JSON objects."""
    import pandas as pd

    dtype = declared(name, table)
    if dtype in _KINDS:
        return _KINDS[dtype]
    first = next((value for value in series.dropna().head(1)), None)
    if dtype is Dtype.JSON or isinstance(first, dict):
        raise ContractViolation(f"column '{name}' holds JSON objects; name the values in it as columns of their own")
    if isinstance(series.dtype, pd.CategoricalDtype):
        return Kind.TEXT
    if pd.api.types.is_numeric_dtype(series.dtype) or isinstance(first, bool):
        return Kind.NUMBER
    if pd.api.types.is_datetime64_any_dtype(series.dtype) or hasattr(first, "year"):
        return Kind.TIME
    return Kind.LIST if isinstance(first, list | tuple) or hasattr(first, "tolist") else Kind.TEXT


def numbers(series: pd.Series[Any], name: str) -> Floats:
    """Values as floats, truth as 0 or 1, NaN where empty; ContractViolation for words and infinite values."""
    import numpy as np
    import pandas as pd

    if series.dtype == object and series.map(lambda value: isinstance(value, bool), na_action="ignore").any():
        series = series.astype("boolean")
    if pd.api.types.is_bool_dtype(series.dtype):
        series = series.astype("Float64")
    values = _read(series, name, Kind.NUMBER).to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise ContractViolation(f"column '{name}' has {infinite} infinite values; remove them or leave them empty")
    return values


def times(series: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Values as UTC timestamps, NaT where empty; text without a zone is UTC. ContractViolation for what is no time."""
    return _read(series, name, Kind.TIME)


def days(series: pd.Series[Any], name: str) -> Floats:
    """Values as days since 1970 in UTC, with the part of the day; NaN where empty."""
    import numpy as np

    read = times(series, name).dt.tz_localize(None)
    passed = read.to_numpy().astype("datetime64[ns]").astype(np.int64) / DAY_NS
    return np.where(read.isna(), np.nan, passed)


def texts(series: pd.Series[Any], name: str) -> Texts:
    """Values as text, None where empty."""
    return _read(series, name, Kind.TEXT).to_numpy(dtype=object)


def lists(series: pd.Series[Any], name: str) -> Texts:
    """Values as lists of texts, None where empty; ContractViolation for what is no such list."""
    return _read(series, name, Kind.LIST).to_numpy(dtype=object)


def _read(series: pd.Series[Any], name: str, kind: Kind) -> pd.Series[Any]:
    dtype = _DTYPES[kind]
    wrong = int(unreadable(series, dtype).sum())
    if wrong:
        raise ContractViolation(f"column '{name}' has {wrong} values that cannot be read as {dtype}; correct them")
    return coerce_series(series, dtype)
