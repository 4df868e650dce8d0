"""Which rows of a frame break a rule between columns or rows?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from src.contracts.coercion import coerce_series, read_series, read_times
from src.contracts.model import Dtype, TableContract
from src.contracts.rules import (
    Comparison,
    LengthRule,
    NoRepeatRule,
    NotAfterRule,
    OneValuePerRule,
    PairRule,
    PresenceRule,
    PresentWhenRule,
    RatioRule,
    RowRule,
    UniqueTogetherRule,
    WithinParentRule,
)

if TYPE_CHECKING:
    import pandas as pd

    Flags = pd.Series[bool]


def row_violations(table: TableContract, rule: RowRule, frame: pd.DataFrame) -> Flags:
    """True for each row of ``frame`` that breaks ``rule``; shape (n,), index of ``frame``.

    Columns that are absent count as empty, and a rule that needs a value says nothing about an
    empty one. Rules of scope DATABASE need another table and are not decided here: all False.
    """
    return _VIOLATIONS[type(rule)](rule, _Cells(table, frame))


class _Cells:
    """Columns of a frame read as their declared types; unreadable values, reported elsewhere, count as empty."""

    def __init__(self, table: TableContract, frame: pd.DataFrame) -> None:
        self._table = table
        self._frame = frame

    def __getitem__(self, name: str) -> pd.Series[Any]:
        import pandas as pd

        dtype = self._table.column(name).dtype
        if name not in self._frame.columns:
            empty: pd.Series[Any] = pd.Series(None, index=self._frame.index, dtype=_EMPTY[dtype])
            return empty
        series = self._frame[name]
        return coerce_series(series, dtype) if _EMPTY[dtype] == "object" else read_series(series, dtype)

    def frame_of(self, names: tuple[str, ...]) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame({name: self[name] for name in names}, index=self._frame.index)

    def dtype(self, name: str) -> Dtype:
        return self._table.column(name).dtype

    def none_at_all(self) -> Flags:
        import pandas as pd

        return pd.Series(False, index=self._frame.index)


_EMPTY: dict[Dtype, Any] = {
    Dtype.STR: "object",
    Dtype.INT: "Int64",
    Dtype.FLOAT: "float64",
    Dtype.BOOL: "boolean",
    Dtype.DATE: "datetime64[ns]",
    Dtype.TS: "datetime64[ns, UTC]",
    Dtype.JSON: "object",
    Dtype.LIST: "object",
}


def _pair(rule: PairRule, cells: _Cells) -> Flags:
    left, right = cells[rule.left], cells[rule.right]
    if cells.dtype(rule.left) is not cells.dtype(rule.right):
        left, right = _utc_day(left), _utc_day(right)
    both = left.notna() & right.notna()
    broken = left == right if rule.comparison is Comparison.DIFFERENT else left > right
    return both & broken.fillna(False).astype(bool)


def _utc_day(series: pd.Series[Any]) -> pd.Series[Any]:
    day: pd.Series[Any] = series.dt.tz_localize(None).dt.normalize()
    return day


def _ratio(rule: RatioRule, cells: _Cells) -> Flags:
    ratio, numerator, denominator = (cells[name] for name in rule.columns)
    known = ratio.notna() & numerator.notna() & denominator.notna() & (denominator > 0)
    expected = numerator / denominator.where(known)
    return known & ((ratio - expected).abs() > rule.tolerance * expected.abs() + 1e-9)


def _present_when(rule: PresentWhenRule, cells: _Cells) -> Flags:
    due = cells[rule.when].isin(rule.values)
    present = cells.frame_of(rule.present).notna()
    return (due & ~present.all(axis=1)) | (~due & present.any(axis=1))


def _length(rule: LengthRule, cells: _Cells) -> Flags:
    counted = cells[rule.items].map(lambda items: len(items) if isinstance(items, list) else 0)
    length = cells[rule.length]
    return (length.notna() & (length != counted + rule.offset).fillna(False)).astype(bool)


def _no_repeat(rule: NoRepeatRule, cells: _Cells) -> Flags:
    import pandas as pd

    scalars, items = cells.frame_of(rule.scalars), cells[rule.items]

    def repeats(row: tuple[Any, ...]) -> bool:
        names = [name for name in row[:-1] if isinstance(name, str)] + (row[-1] if isinstance(row[-1], list) else [])
        return len(set(names)) < len(names)

    rows = zip(*(scalars[name] for name in rule.scalars), items, strict=True)
    return pd.Series([repeats(row) for row in rows], index=items.index, dtype=bool)


def _not_after(rule: NotAfterRule, cells: _Cells) -> Flags:
    times, cutoff = cells[rule.times], cells[rule.cutoff]
    flags = cells.none_at_all()
    given = times.notna() & cutoff.notna()
    if not given.any():
        return flags
    named = times[given].map(lambda value: [str(v) for v in value.values()] if isinstance(value, dict) else [""])
    each = named.explode().dropna()
    parsed = read_times(each.astype(str))
    limit = cutoff.loc[each.index] if cutoff.index.is_unique else cutoff
    late = ~(parsed <= limit.to_numpy())
    flags.loc[late[late].index.unique()] = True
    return flags


def _unique_together(rule: UniqueTogetherRule, cells: _Cells) -> Flags:
    rows = cells.frame_of(rule.together)
    repeated: Flags = rows.duplicated(keep="first")
    return repeated if rule.nulls_equal else repeated & rows.notna().all(axis=1)


def _one_value_per(rule: OneValuePerRule, cells: _Cells) -> Flags:
    rows = cells.frame_of((rule.key, rule.value))
    first = rows.groupby(rule.key)[rule.value].transform("first")
    return rows[rule.value].notna() & first.notna() & (rows[rule.value] != first)


def _presence(rule: PresenceRule, cells: _Cells) -> Flags:
    return cells.frame_of(rule.one_of).isna().all(axis=1)


def _undecided(rule: WithinParentRule, cells: _Cells) -> Flags:
    return cells.none_at_all()


_VIOLATIONS: dict[type[Any], Callable[[Any, _Cells], Flags]] = {
    PairRule: _pair,
    RatioRule: _ratio,
    PresenceRule: _presence,
    PresentWhenRule: _present_when,
    LengthRule: _length,
    NoRepeatRule: _no_repeat,
    NotAfterRule: _not_after,
    UniqueTogetherRule: _unique_together,
    OneValuePerRule: _one_value_per,
    WithinParentRule: _undecided,
}
