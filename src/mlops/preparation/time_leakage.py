"""Does a row know something from after its own time, or does training see the time that it will be judged on?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.contracts.model import Dtype, TableContract
from src.contracts.row_checks import row_violations
from src.contracts.rules import NotAfterRule
from src.domain.alerts import AlertSeverity
from src.domain.splits import ASSIGNED
from src.mlops.preparation.columns import Kind, column_of, declared, kind_of, times
from src.mlops.preparation.leakage_report import LeakageFinding, Outcome, Unchecked

if TYPE_CHECKING:
    import pandas as pd

NO_TIME = "no time column was named"


def find_temporal_leakage(
    frame: pd.DataFrame,
    features: Sequence[str],
    split: pd.Series[str],
    *,
    time: str | None,
    by_rows: bool,
    table: TableContract | None = None,
    known_at: Mapping[str, str] | None = None,
) -> Outcome:
    """Values from after their row's ``time``, and rows of a split from after the next split began.

    ``known_at`` names, for a feature, the column that says when its value was known. A feature that is
    itself a time must not lie after the row's, unless ``known_at`` says when it was known. Contract rules
    about the times of features (``features_available_at_prediction``) are applied where ``table`` has them.
    ``by_rows``: the split is one of rows by time; then no row may lie after the first row of a later split.
    Days are compared where one of two times is a day only. Raises UnknownColumn.
    """
    known = dict(known_at or {})
    for name, column in known.items():
        column_of(frame, column, f"time at which '{name}' was known:")
    findings = list(_declared_times(frame, table))
    if time is None:
        return Outcome(tuple(findings), (Unchecked("temporal", NO_TIME),))
    own = times(column_of(frame, time, "time column"), time)
    if not own.notna().any():
        return Outcome(tuple(findings), (Unchecked("temporal", f"'{time}' is empty in every row"),))
    for name in features:
        findings += _late_feature(frame, name, known.get(name), time, own, table)
    if by_rows:
        findings += _out_of_order(own, split, time)
    return Outcome(tuple(findings))


def _rules(frame: pd.DataFrame, table: TableContract | None) -> Iterator[NotAfterRule]:
    for rule in table.row_rules if table is not None else ():
        if isinstance(rule, NotAfterRule) and set(rule.columns) <= set(frame.columns):
            yield rule


def _declared_times(frame: pd.DataFrame, table: TableContract | None) -> Iterator[LeakageFinding]:
    for rule in _rules(frame, table):
        assert table is not None
        n = int(row_violations(table, rule, frame).sum())
        if n:
            message = f"'{rule.times}' holds times after '{rule.cutoff}' in {n} rows: features from the future"
            yield LeakageFinding("temporal", AlertSeverity.CRITICAL, rule.columns, n, message, {"rule": rule.name})


def _late_feature(
    frame: pd.DataFrame, name: str, known: str | None, time: str, own: pd.Series[Any], table: TableContract | None
) -> Iterator[LeakageFinding]:
    column = known or name
    series = column_of(frame, column, "feature")
    if known is None and (name == time or not _is_time(series, name, table)):
        return
    late = _after(times(series, column), own, _is_day(column, table), _is_day(time, table))
    if late:
        what = f"'{name}' was known (by '{known}')" if known else f"'{name}' lies"
        message = f"{what} only after '{time}' in {late} rows; use the value of before, or leave the feature out"
        yield LeakageFinding("temporal", AlertSeverity.ERROR, tuple(dict.fromkeys((name, column))), late, message)


def _is_time(series: pd.Series[Any], name: str, table: TableContract | None) -> bool:
    return declared(name, table) is not Dtype.JSON and kind_of(series, name, table) is Kind.TIME


def _is_day(name: str, table: TableContract | None) -> bool:
    return declared(name, table) is Dtype.DATE


def _after(late: pd.Series[Any], own: pd.Series[Any], *days: bool) -> int:
    """In how many rows ``late`` is after ``own``; empty cells say nothing."""
    if any(days) or _whole_days(late) or _whole_days(own):
        late, own = late.dt.normalize(), own.dt.normalize()
    return int((late.to_numpy() > own.to_numpy()).sum())


def _whole_days(series: pd.Series[Any]) -> bool:
    filled = series.dropna()
    return bool((filled == filled.dt.normalize()).all())


def _out_of_order(own: pd.Series[Any], split: pd.Series[str], time: str) -> Iterator[LeakageFinding]:
    names = split.to_numpy()
    affected: dict[str, int] = {}
    for position, name in enumerate(ASSIGNED[:-1]):
        begins = own[[other in ASSIGNED[position + 1 :] for other in names]].min()
        affected[name] = int((own[names == name] > begins).sum())
    n = sum(affected.values())
    if n:
        message = f"{n} rows lie after the first '{time}' of a later split; cut all splits at the same times"
        yield LeakageFinding("temporal", AlertSeverity.CRITICAL, (time,), n, message, {"rows": affected})
