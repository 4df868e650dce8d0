"""How good is a table in each of the six dimensions? Counted from the rules of its contract."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from src.contracts.checking import FrameCheck
from src.contracts.coercion import unreadable
from src.contracts.describe import ColumnRule, Rule, RuleKind, column_rules, table_rules
from src.contracts.model import Column, Dtype, Role, TableContract
from src.contracts.rules import (
    LengthRule,
    PresenceRule,
    PresentWhenRule,
    RatioRule,
    RowRule,
    Scope,
    UniqueTogetherRule,
)
from src.mlops.quality.reading import Reading, reading_of
from src.mlops.quality.result import QualityScores

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Flags = npt.NDArray[np.bool_]
    Positions = npt.NDArray[np.int64]

_SPEAK_OF_EMPTY = (PresenceRule, PresentWhenRule)
_NOT_ABOUT_A_VALUE = (RuleKind.PRESENT, RuleKind.NOT_NULL, RuleKind.UNIQUE)


def quality_scores(table: TableContract, check: FrameCheck, now: datetime) -> QualityScores:
    """The scores of one whole frame at ``now`` (UTC), of which ``check`` is what its contract says."""
    tally = ScoreTally(table, check.frame.columns, now)
    tally.add(reading_of(check))
    return tally.scores()


def event_time(table: TableContract) -> Column | None:
    """The column that says when what a row tells of happened: the first required time, else the feature store's."""
    times = [column for column in table.columns if column.role is Role.TIME]
    needed = [column for column in times if not column.nullable]
    named = [column for column in times if table.feast is not None and column.name == table.feast.event_time]
    return next(iter((*needed, *named, *times)), None)


@dataclass(slots=True)
class Share:
    """``good`` of ``all``; None of nothing."""

    good: int = 0
    all: int = 0

    def add(self, good: int, all_: int) -> None:
        """Count some more."""
        self.good += good
        self.all += all_

    @property
    def value(self) -> float | None:
        """Between 0 and 1."""
        return self.good / self.all if self.all else None


@dataclass(slots=True)
class BrokenRows:
    """Rows that break at least one rule, whichever batch or rule they come from."""

    rows: int = 0
    positions: list[Positions] = field(default_factory=list)

    def add(self, rows: int, offset: int, broken: Flags) -> None:
        """Take in a batch of ``rows`` rows, the first of which is row ``offset`` of all."""
        import numpy as np

        self.rows += rows
        if broken.any():
            self.positions.append(np.flatnonzero(broken) + offset)

    def share(self, *more: Positions) -> float | None:
        """Share of rows that are neither broken nor among ``more``."""
        import numpy as np

        broken = [*self.positions, *more]
        count = len(np.unique(np.concatenate(broken))) if broken else 0
        return (self.rows - count) / self.rows if self.rows else None


class ScoreTally:
    """Adds up the scores of a table over its batches, as if it had been looked at in one piece.

    ``columns`` are those the frames have. With ``across_batches`` the rules over all rows (repeated
    keys, contradictions) are left to the caller, who hands their rows to ``scores``.
    """

    def __init__(
        self, table: TableContract, columns: Collection[object], now: datetime, *, across_batches: bool = False
    ) -> None:
        self._table, self._now = table, now
        self._present = frozenset(str(name) for name in columns)
        self._completeness, self._validity, self._timeliness = Share(), Share(), Share()
        self._consistency, self._accuracy, self._uniqueness = BrokenRows(), BrokenRows(), BrokenRows()
        applicable = {rule.name: rule for rule in table_rules(table) if self._applies(rule)}
        self._consistent = {name for name, rule in applicable.items() if _is_consistency(rule)}
        self._accurate = {name for name, rule in applicable.items() if isinstance(rule, RatioRule | LengthRule)}
        self._unique = {name for name, rule in applicable.items() if is_uniqueness(rule)}
        compares_rows = {name for name, rule in applicable.items() if rule.scope is Scope.TABLE}
        self._left = compares_rows if across_batches else set()
        self._rows = 0

    def add(self, reading: Reading) -> None:
        """Take in a batch."""
        rows, offset = len(reading.frame), self._rows
        self._count_cells(reading)
        self._timeliness.add(*self._timely(reading.frame))
        for broken, rules in (
            (self._consistency, self._consistent),
            (self._accuracy, self._accurate),
            (self._uniqueness, self._unique),
        ):
            if rules:
                broken.add(rows, offset, _broken(reading, rules - self._left))
        self._rows += rows

    def scores(self, *, repeated: Iterable[Positions] = (), contradicting: Iterable[Positions] = ()) -> QualityScores:
        """The six shares so far; None for a dimension without rows, rules or columns."""
        return QualityScores(
            completeness=self._completeness.value,
            validity=self._validity.value,
            consistency=self._consistency.share(*contradicting),
            timeliness=self._timeliness.value,
            uniqueness=self._uniqueness.share(*repeated),
            accuracy=self._accuracy.share(),
        )

    def _applies(self, rule: Rule) -> bool:
        if isinstance(rule, _SPEAK_OF_EMPTY) or (isinstance(rule, UniqueTogetherRule) and rule.nulls_equal):
            return not self._present.isdisjoint(rule.columns)
        return self._present.issuperset(rule.columns)

    def _count_cells(self, reading: Reading) -> None:
        rows = len(reading.frame)
        for column in self._table.columns:
            filled = int(reading.frame[column.name].notna().sum()) if column.name in self._present else 0
            if column.required:
                self._completeness.add(filled, rows)
            about_values = {rule.name for rule in column_rules(column) if rule.kind not in _NOT_ABOUT_A_VALUE}
            broken = int(_broken(reading, about_values).sum())
            self._validity.add(filled - min(broken, filled), filled)

    def _timely(self, frame: pd.DataFrame) -> tuple[int, int]:
        column = event_time(self._table)
        if column is None or (column.name not in self._present and not column.required):
            return 0, 0
        return (_past(frame, column, self._now) if column.name in self._present else 0), len(frame)


def is_uniqueness(rule: Rule) -> bool:
    """Whether ``rule`` forbids a row to repeat another."""
    return isinstance(rule, UniqueTogetherRule) or (isinstance(rule, ColumnRule) and rule.kind is RuleKind.UNIQUE)


def _is_consistency(rule: Rule) -> bool:
    others = (RatioRule, LengthRule, UniqueTogetherRule)
    return isinstance(rule, RowRule) and not isinstance(rule, others) and rule.scope is not Scope.DATABASE


def _broken(reading: Reading, rules: Collection[str]) -> Flags:
    """True for the rows that break one of ``rules``."""
    import numpy as np

    flags = np.zeros(len(reading.frame), np.bool_)
    for rule in rules:
        if rule in reading.broken:
            flags[reading.broken[rule]] = True
    return flags


def _past(frame: pd.DataFrame, column: Column, now: datetime) -> int:
    """Rows whose time was read and is not after ``now``; a date counts from its first UTC moment."""
    import pandas as pd

    series = frame[column.name]
    if series.dtype == object:
        series = series.mask(unreadable(series, column.dtype))
    times = pd.to_datetime(series, utc=True, errors="coerce", format="ISO8601")
    limit = pd.Timestamp(now)
    if column.dtype is Dtype.DATE:
        limit = limit.normalize()
    return int((times.notna() & (times <= limit)).sum())
