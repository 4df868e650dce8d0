"""What is in each column of a dataset, without showing a person or a rare value?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.contracts.tables import PERSONAL_COLUMNS

MIN_OCCURRENCES = 11
TOP_VALUES = 5
MAX_DISTINCT = 10_000
RANGED = ("int", "float", "date", "ts")
COUNTED = ("str", "int", "bool", "date")


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


def frequent(counts: Counter[Any]) -> tuple[tuple[Any, int], ...]:
    """The most frequent values, most frequent first, ties by value; rare ones never."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return tuple((value, count) for value, count in ranked[:TOP_VALUES] if count >= MIN_OCCURRENCES)


class Summariser:
    """Summarises a table from its batches; memory does not grow with the number of rows."""

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self._tallies = {name: _Tally(dtype) for name, dtype in dtypes.items()}

    def add(self, batch: Any) -> None:
        """Take in a pyarrow record batch that has all the columns."""
        for name, tally in self._tallies.items():
            tally.add(batch.column(name))

    def finish(self) -> tuple[ColumnSummary, ...]:
        """The summaries, in column order."""
        personal = PERSONAL_COLUMNS
        return tuple(tally.summary(name, hidden=name in personal) for name, tally in self._tallies.items())


@dataclass
class _Tally:
    """Running figures of one column."""

    dtype: str
    rows: int = 0
    missing: int = 0
    minimum: Any = None
    maximum: Any = None
    overflown: bool = False
    counts: Counter[Any] = field(default_factory=Counter)

    def add(self, values: Any) -> None:
        import pyarrow.compute as pc

        present = values.filter(pc.invert(pc.is_null(values, nan_is_null=True)))
        self.rows += len(values)
        self.missing += len(values) - len(present)
        if not len(present):
            return
        if self.dtype in RANGED:
            self._widen(*pc.min_max(present).as_py().values())
        if not self.overflown:
            self._count(present)

    def summary(self, name: str, *, hidden: bool) -> ColumnSummary:
        return ColumnSummary(
            name=name,
            dtype=self.dtype,
            missing_share=self.missing / self.rows if self.rows else 0.0,
            distinct=None if self.overflown else len(self.counts),
            minimum=None if hidden else self.minimum,
            maximum=None if hidden else self.maximum,
            top=() if hidden or self.dtype not in COUNTED else frequent(self.counts),
            personal=hidden,
        )

    def _widen(self, low: Any, high: Any) -> None:
        self.minimum = low if self.minimum is None else min(self.minimum, low)
        self.maximum = high if self.maximum is None else max(self.maximum, high)

    def _count(self, present: Any) -> None:
        import pyarrow.compute as pc

        if self.dtype == "list[str]":
            self.counts.update(tuple(item) for item in present.to_pylist())
        else:
            counted = pc.value_counts(present)
            pairs = zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)
            self.counts.update(dict(pairs))
        if len(self.counts) > MAX_DISTINCT:
            self.overflown = True
            self.counts.clear()
