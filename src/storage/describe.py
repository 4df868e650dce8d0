"""What is in each column of a dataset, without showing a person or a rare value?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.contracts.tables import TABLES

MIN_OCCURRENCES = 11
TOP_VALUES = 5
MAX_DISTINCT = 10_000

_BATCH_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column. ``distinct`` is None above ``MAX_DISTINCT``; ``top`` are values with their counts.

    ``top`` never holds a value that occurs fewer than ``MIN_OCCURRENCES`` times. A ``personal``
    column has neither ``top`` nor ``minimum``/``maximum``; text columns have no minimum.
    """

    name: str
    dtype: str
    missing_share: float
    distinct: int | None
    minimum: Any = None
    maximum: Any = None
    top: tuple[tuple[Any, int], ...] = ()
    personal: bool = False


def personal_names() -> frozenset[str]:
    """Column names that hold personal data in any table of the contract."""
    return frozenset[str]().union(*(table.personal_columns for table in TABLES.values()))


def summarise_file(path: Path, dtypes: dict[str, str]) -> tuple[ColumnSummary, ...]:
    """Summarise a stored Parquet file, one column at a time; memory stays bounded."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
    personal = personal_names()
    return tuple(_summarise(file, name, dtype, personal) for name, dtype in dtypes.items())


def frequent(counts: Counter[Any]) -> tuple[tuple[Any, int], ...]:
    """The most frequent values, most frequent first, ties by value; rare ones never."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return tuple((value, count) for value, count in ranked[:TOP_VALUES] if count >= MIN_OCCURRENCES)


def _summarise(file: Any, name: str, dtype: str, personal: Collection[str]) -> ColumnSummary:
    import pyarrow as pa

    tally = _Tally()
    for batch in file.iter_batches(_BATCH_ROWS, columns=[name]):
        values = batch.column(0)
        tally.add(values.cast(pa.string()) if dtype == "list[str]" and False else values, dtype)
    hidden = name in personal
    ranged = dtype in ("int", "float", "date", "ts") and not hidden
    return ColumnSummary(
        name=name,
        dtype=dtype,
        missing_share=tally.missing / tally.rows if tally.rows else 0.0,
        distinct=tally.distinct,
        minimum=tally.minimum if ranged else None,
        maximum=tally.maximum if ranged else None,
        top=() if hidden or dtype in ("float", "ts", "list[str]") else frequent(tally.counts),
        personal=hidden,
    )


@dataclass
class _Tally:
    rows: int = 0
    missing: int = 0
    minimum: Any = None
    maximum: Any = None
    overflown: bool = False

    def __post_init__(self) -> None:
        self.counts: Counter[Any] = Counter()

    @property
    def distinct(self) -> int | None:
        return None if self.overflown else len(self.counts)

    def add(self, values: Any, dtype: str) -> None:
        import pyarrow.compute as pc

        self.rows += len(values)
        present = values.drop_null() if dtype != "float" else values.filter(pc.invert(pc.is_null(values, nan_is_null=True)))
        self.missing += len(values) - len(present)
        if not len(present):
            return
        if dtype in ("int", "float", "date", "ts"):
            low, high = pc.min_max(present).as_py().values()
            self.minimum = low if self.minimum is None else min(self.minimum, low)
            self.maximum = high if self.maximum is None else max(self.maximum, high)
        if not self.overflown:
            self._count(present, dtype)

    def _count(self, present: Any, dtype: str) -> None:
        import pyarrow.compute as pc

        if dtype == "list[str]":
            self.counts.update(tuple(item) for item in present.to_pylist())
        else:
            counted = pc.value_counts(present)
            self.counts.update(
                dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))
            )
        if len(self.counts) > MAX_DISTINCT:
            self.overflown = True
            self.counts = _keep_common(self.counts)


def _keep_common(counts: Counter[Any]) -> Counter[Any]:
    return Counter()
