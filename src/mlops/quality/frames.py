"""Can this be validated at all, and how are its rows named?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.contracts.coercion import coerce_series, unreadable
from src.contracts.model import Dtype, TableContract
from src.errors import ContractViolation

if TYPE_CHECKING:
    import pandas as pd

# Name of an index that holds the line each row stands on in its file.
LINE = "line"
_ALWAYS_OBJECTS = (Dtype.STR, Dtype.JSON, Dtype.LIST)


def readable(frame: object, table: TableContract) -> pd.DataFrame:
    """``frame`` itself; ContractViolation unless it is a DataFrame whose columns have one name each."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ContractViolation(f"{table.name}: a pandas DataFrame is needed, this is a {type(frame).__name__}")
    if isinstance(frame.columns, pd.MultiIndex):
        raise ContractViolation(f"{table.name}: the columns have names of several levels; give each a single name")
    twice = [str(name) for name in frame.columns[frame.columns.duplicated()].unique()]
    if twice:
        raise ContractViolation(f"{table.name}: there is more than one column named {', '.join(twice)}; rename or drop")
    return frame


def row_labels(frame: pd.DataFrame, table: TableContract, offset: int = 0) -> pd.Index:
    """What the rows of ``frame`` are called, where ``offset`` rows came before it.

    Its own labels; positions over all rows where it has none of its own (a default index) and where a label
    names two rows. In a table with personal columns labels are shown only where the index is named as the
    primary key or as ``LINE``: any other may hold personal values, whatever it is called.
    """
    import pandas as pd

    index = frame.index
    default = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
    if default or not index.is_unique or _may_be_personal(index, table):
        return pd.RangeIndex(offset, offset + len(frame))
    return index


def _may_be_personal(index: pd.Index, table: TableContract) -> bool:
    shown = {table.primary_key, LINE} - table.personal_columns
    return bool(table.personal_columns) and not shown.issuperset(map(str, index.names))


def at_positions(frame: pd.DataFrame) -> pd.DataFrame:
    """The same data with rows labelled 0 … n − 1; nothing is copied."""
    import pandas as pd

    bare = frame.copy(deep=False)
    bare.index = pd.RangeIndex(len(frame))
    return bare


def typed(frame: pd.DataFrame, table: TableContract) -> pd.DataFrame:
    """``frame``, read by the contract, with empty cells for values that could not be read.

    They are reported as such; here they would keep a whole column from being compared or counted.
    """
    mixed = {}
    for column in table.columns:
        if column.dtype not in _ALWAYS_OBJECTS and column.name in frame.columns:
            series = frame[column.name]
            if series.dtype == object:
                mixed[column.name] = coerce_series(series.mask(unreadable(series, column.dtype)), column.dtype)
    return frame.assign(**mixed) if mixed else frame
