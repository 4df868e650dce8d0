"""What type does each column of a text table have, judged by every one of its values?

Each block rules types out; none is ever ruled in again. So the answer does not depend on where
blocks begin, and a column is whole numbers only if all of it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """A column type; the value is the name shown to users. Order: the more specific first."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    DATE = "date"
    TS_NAIVE = "ts without zone"
    TS = "ts"
    STR = "str"


ALL_KINDS = tuple(Kind)
MISSING_TOKENS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null")
_EARLY_ROWS = 1_000
_WHOLE_NUMBER = r"^-?(0|[1-9][0-9]*)$"
# A leading zero marks a code (a ZIP, an NDC), and beyond 15 digits float64 merges neighbours.
_CODE_NOT_FLOAT = r"^[+-]?(0[0-9]|[0-9]{16,}$)"


@dataclass
class _Verdict:
    """What some values of one column allow so far."""

    possible: tuple[Kind, ...] = ALL_KINDS
    seen: bool = False

    def take(self, values: Any) -> None:
        self.seen = self.seen or _has_value(values)
        self.possible = still_possible(self.possible, values)

    @property
    def kind(self) -> Kind:
        return self.possible[0] if self.seen else Kind.STR


class ColumnTypes:
    """Running inference over the blocks of a table whose columns are all text."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._rows = 0
        self._early = [_Verdict() for _ in self.columns]
        self._all = [_Verdict() for _ in self.columns]

    def update(self, batch: Any) -> None:
        """Rule out what the values of ``batch`` (a pyarrow RecordBatch of strings) contradict."""
        early_rows = max(0, _EARLY_ROWS - self._rows)
        for position, values in enumerate(batch.columns):
            self._all[position].take(values)
            if early_rows:
                self._early[position].take(values.slice(0, early_rows))
        self._rows += len(batch)

    def kinds(self) -> tuple[Kind, ...]:
        """The most specific type each column allows; a column without any value is text."""
        return tuple(verdict.kind for verdict in self._all)

    def notes(self) -> tuple[str, ...]:
        """One line per column whose type at the top of the file did not last, or whose zone is assumed."""
        found = []
        for name, early, kind in zip(self.columns, self._early, self.kinds(), strict=True):
            if early.seen and early.kind is not kind:
                found.append(
                    f"column '{name}' begins as {early.kind} but is {kind} further down; all is read as {kind}"
                )
            if kind is Kind.TS_NAIVE:
                found.append(f"column '{name}' has times without a zone; they are taken as UTC")
        return tuple(found)


def still_possible(possible: tuple[Kind, ...], values: Any) -> tuple[Kind, ...]:
    """Keep the kinds of ``possible`` that every present value of a pyarrow string array allows."""
    if possible == (Kind.STR,):
        return possible
    cleaned = _clean(values).drop_null()
    if not len(cleaned):
        return possible
    return tuple(kind for kind in possible if kind is Kind.STR or _fits(kind, cleaned))


def convert(values: Any, kind: Kind) -> Any:
    """Convert a pyarrow string array to ``kind``; text stays as it is, times become UTC microseconds."""
    import pyarrow as pa

    if kind is Kind.STR:
        return values
    converted = _clean(values).cast(_arrow_type(kind))
    return converted.cast(pa.timestamp("us", "UTC")) if kind is Kind.TS_NAIVE else converted


def stored_type(kind: Kind) -> Any:
    """The pyarrow type ``convert`` returns for ``kind``."""
    import pyarrow as pa

    return pa.timestamp("us", "UTC") if kind is Kind.TS_NAIVE else _arrow_type(kind)


def shown_type(arrow_type: Any) -> str:
    """Name of a stored pyarrow type as users see it: str, int, float, bool, date, ts or list[str]."""
    import pyarrow.types as pt

    tests = (
        (pt.is_boolean, "bool"),
        (pt.is_integer, "int"),
        (pt.is_floating, "float"),
        (pt.is_date, "date"),
        (pt.is_timestamp, "ts"),
        (pt.is_list, "list[str]"),
    )
    return next((name for test, name in tests if test(arrow_type)), "str")


def _has_value(values: Any) -> bool:
    return bool(values.null_count < len(values) and _clean(values).null_count < len(values))


def _clean(values: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.is_in(trimmed, pa.array(MISSING_TOKENS)), pa.scalar(None, pa.string()), trimmed)


def _arrow_type(kind: Kind) -> Any:
    import pyarrow as pa

    return {
        Kind.BOOL: pa.bool_(),
        Kind.INT: pa.int64(),
        Kind.FLOAT: pa.float64(),
        Kind.DATE: pa.date32(),
        Kind.TS_NAIVE: pa.timestamp("us"),
        Kind.TS: pa.timestamp("us", "UTC"),
        Kind.STR: pa.string(),
    }[kind]


def _fits(kind: Kind, values: Any) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind is Kind.BOOL:
        return bool(pc.all(pc.is_in(pc.utf8_lower(values), pa.array(["true", "false"]))).as_py())
    if kind is Kind.INT and not pc.all(pc.match_substring_regex(values, _WHOLE_NUMBER)).as_py():
        return False
    if kind is Kind.FLOAT and pc.any(pc.match_substring_regex(values, _CODE_NOT_FLOAT)).as_py():
        return False
    try:
        values.cast(_arrow_type(kind))
    except pa.ArrowInvalid:
        return False
    return True
