"""Which row is which in a dataset without a key? The hash of all its cells, the same in every process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# No column of a dataset is called so.
ROW = "(row)"
# In the name of a column that was joined from the feature store, as in view:feature.
OF_VIEW = ":"


def row_hashes(frame: pd.DataFrame) -> pd.Series[str]:
    """16 hex digits for each row (index of ``frame``), made of every cell: rows that are alike have the same.

    What is split by them keeps copies of a row together. Columns joined from the feature store do not count, since
    a row is the same whichever are joined.
    """
    import numpy as np
    import pandas as pd

    plain = pd.DataFrame(
        {str(name): _hashable(frame[name]) for name in frame.columns if OF_VIEW not in str(name)}, index=frame.index
    )
    hashes = pd.util.hash_pandas_object(plain, index=False).to_numpy(dtype=np.uint64)
    return pd.Series([f"{value:016x}" for value in hashes.tolist()], index=frame.index, name=ROW, dtype=object)


def _hashable(series: pd.Series[Any]) -> pd.Series[Any]:
    """Objects as texts, since the library hashes neither lists nor cells of several types."""
    if series.dtype != object:
        return series
    return series.map(_text, na_action="ignore").where(series.notna(), None)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    plain = value.tolist() if hasattr(value, "tolist") else value
    return json.dumps(plain, sort_keys=True, default=str)
