"""Which rows repeat an earlier key, and which contradict an earlier one, in a table seen batch by batch?"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Hashes = npt.NDArray[np.uint64]
    Flags = npt.NDArray[np.bool_]
    Positions = npt.NDArray[np.int64]

Ignored = Literal["never", "any_value_is_missing", "all_values_are_missing"]
ColumnHash = Callable[["pd.Series[Any]"], "Hashes"]

# More rows than this that look repeated are not compared by value: so many are no chance collisions.
MOST_COMPARED = 1_000_000
_EMPTY, _FACTOR = 0x9E3779B97F4A7C15, 0x100000001B3


@dataclass(frozen=True, slots=True)
class Repetition:
    """``repeated`` are the positions of rows whose key came before; ``members`` counts the first ones too.

    ``compared`` says whether the keys themselves were compared, not only their hashes.
    """

    considered: int
    repeated: Positions
    members: int
    compared: bool = True


class KeyLedger:
    """Remembers 64 bits per row of the key ``columns``, and compares by value only rows that look repeated.

    Rows are left out as Great Expectations does it with ``ignore_row_if``; a column that a batch lacks counts
    as empty. First ``add`` every batch;
    then, if ``has_suspects``, ``compare`` every batch again in the same order.
    """

    def __init__(
        self, columns: Sequence[str], ignore: Ignored, *, rows_named: int = 100, column_hash: ColumnHash | None = None
    ) -> None:
        self.columns = tuple(columns)
        self._ignore = ignore
        self._hash = column_hash or hash_column
        self._hashes: list[Hashes] = []
        self._counted: list[Flags] = []
        self._rows_labelled = 2 * rows_named + 1_000
        self._suspects: Positions | None = None
        self._is_later: Flags
        self._values: list[pd.DataFrame] = []
        self._labels: dict[int, Hashable] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """Take in the next batch."""
        keys = frame.reindex(columns=list(self.columns))
        self._counted.append(_counted(keys.isna().to_numpy(), self._ignore))
        self._hashes.append(hash_rows(keys, self.columns, self._hash))

    @property
    def has_suspects(self) -> bool:
        """Whether any rows look repeated, once all batches were added."""
        return len(self._looking_repeated()) > 0

    def compare(self, offset: int, frame: pd.DataFrame, labels: pd.Index) -> None:
        """Look again at a batch that starts at row ``offset``, whose rows are called ``labels``."""
        import numpy as np

        suspects = self._looking_repeated()
        first, last = np.searchsorted(suspects, [offset, offset + len(frame)])
        local = suspects[first:last] - offset
        if len(suspects) <= MOST_COMPARED:
            self._values.append(frame.reindex(columns=list(self.columns)).iloc[local].astype(object))
        room = self._rows_labelled - len(self._labels)
        later = local[self._is_later[first:last]][:room]
        self._labels |= zip((later + offset).tolist(), labels.take(later).tolist(), strict=True)

    def result(self) -> Repetition:
        """What was found; by hashes alone when too many rows looked repeated."""
        import pandas as pd

        considered = sum(int(flags.sum()) for flags in self._counted)
        suspects = self._looking_repeated()
        if len(suspects) > MOST_COMPARED:
            return Repetition(considered, suspects[self._is_later], len(suspects), compared=False)
        if not len(suspects):
            return Repetition(considered, suspects, 0)
        values = pd.concat(self._values, ignore_index=True)
        later = values.duplicated(keep="first").to_numpy()
        return Repetition(considered, suspects[later], int(values.duplicated(keep=False).sum()))

    def labels(self, repetition: Repetition, most: int) -> tuple[Hashable, ...]:
        """What the first repeated rows are called."""
        known = (position for position in repetition.repeated[:most].tolist() if position in self._labels)
        return tuple(self._labels[position] for position in known)

    def _looking_repeated(self) -> Positions:
        import numpy as np

        if self._suspects is None:
            hashes = np.concatenate(self._hashes) if self._hashes else np.empty(0, np.uint64)
            counted = np.concatenate(self._counted) if self._counted else np.empty(0, np.bool_)
            self._hashes = []
            self._suspects, self._is_later = _recurring(hashes, counted)
        return self._suspects


class ValueLedger:
    """Remembers, per row, the hash of a key and of its value: rows of one key must hold one value.

    Keys and values are compared by their 64-bit hashes only.
    """

    def __init__(self, key: str, value: str) -> None:
        self._key, self._value = key, value
        self._keys: list[Hashes] = []
        self._values: list[Hashes] = []
        self._known: list[Flags] = []

    def add(self, frame: pd.DataFrame) -> None:
        """Take in the next batch; it has both columns."""
        self._known.append(_counted(frame[[self._key, self._value]].isna().to_numpy(), "any_value_is_missing"))
        self._keys.append(hash_rows(frame, (self._key,)))
        self._values.append(hash_rows(frame, (self._value,)))

    def contradicting(self) -> Positions:
        """Positions of rows whose value differs from the first value of their key."""
        import numpy as np

        if not self._known:
            return np.empty(0, np.int64)
        positions = np.flatnonzero(np.concatenate(self._known))
        keys, values = np.concatenate(self._keys)[positions], np.concatenate(self._values)[positions]
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        begins = np.r_[np.ones(min(1, len(keys)), np.bool_), keys[1:] != keys[:-1]]
        first = values[begins][np.cumsum(begins) - 1]
        return np.sort(positions[order][values != first])


def hash_rows(frame: pd.DataFrame, columns: Sequence[str], column_hash: ColumnHash | None = None) -> Hashes:
    """One 64-bit number per row that depends on the values of ``columns`` alone; equal rows have equal ones."""
    import numpy as np

    combined = np.zeros(len(frame), np.uint64)
    for name in columns:
        series = frame[name]
        hashed = (column_hash or hash_column)(series)
        hashed = np.where(series.isna().to_numpy(), np.uint64(_EMPTY), hashed)
        combined = combined * np.uint64(_FACTOR) ^ hashed
    return combined


def hash_column(series: pd.Series[Any]) -> Hashes:
    """Hashes of values; a number, a time and a text hash alike whatever type the batch stores them in."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series.dtype):
        return _hash_numbers(series)
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _hash_times(series)
    values = series.astype(object)
    kind = pd.api.types.infer_dtype(values, skipna=True)
    return _hash_texts(values) if kind == "string" else _hash_mixed(values)


def _hash_numbers(series: pd.Series[Any]) -> Hashes:
    import numpy as np
    from pandas.util import hash_array

    numbers = series.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0  # so that -0.0 is 0.0
    return hash_array(numbers)


def _hash_times(series: pd.Series[Any]) -> Hashes:
    import numpy as np
    from pandas.util import hash_array

    plain = series.dt.tz_convert("UTC").dt.tz_localize(None) if series.dt.tz is not None else series
    return hash_array(plain.to_numpy(dtype="datetime64[ns]").view(np.int64))


def _hash_texts(series: pd.Series[Any]) -> Hashes:
    from pandas.util import hash_array

    return hash_array(series.where(series.notna(), "").to_numpy(dtype=object), categorize=False)


def _hash_mixed(series: pd.Series[Any]) -> Hashes:
    """As above for each kind of value by itself."""
    import numbers

    import pandas as pd

    hashed = _hash_texts(series.map(str, na_action="ignore"))
    is_number = series.map(lambda value: isinstance(value, numbers.Real)).to_numpy(dtype=bool)
    is_time = series.map(lambda value: hasattr(value, "year")).to_numpy(dtype=bool) & series.notna().to_numpy()
    if is_number.any():
        hashed[is_number] = _hash_numbers(series[is_number].astype(float))
    if is_time.any():
        hashed[is_time] = _hash_times(pd.to_datetime(series[is_time], utc=True))
    return hashed


def _counted(empty: Flags, ignore: Ignored) -> Flags:
    import numpy as np

    if ignore == "never":
        return np.ones(len(empty), np.bool_)
    ignored: Flags = np.any(empty, axis=1) if ignore == "any_value_is_missing" else np.all(empty, axis=1)
    return ~ignored


def _recurring(hashes: Hashes, counted: Flags) -> tuple[Positions, Flags]:
    """Positions of the counted rows whose hash occurs more than once, and which of them are not the first of it."""
    import numpy as np

    positions = np.flatnonzero(counted)
    kept = hashes[counted]
    ordered = np.sort(kept)
    recurring = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(recurring):
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    suspect = np.isin(kept, recurring)
    suspects, their = positions[suspect], kept[suspect]
    _, first = np.unique(their, return_index=True)
    later = np.ones(len(their), np.bool_)
    later[first] = False
    return suspects, later
