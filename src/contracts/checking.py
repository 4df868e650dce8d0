"""Does a frame keep its contract, and if not, which row breaks which rule?"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.contracts.coercion import unreadable
from src.contracts.describe import ColumnRule, Rule, RuleKind, describe_failure, table_rules
from src.contracts.model import Column, TableContract
from src.contracts.pandera_builder import build_pandera

if TYPE_CHECKING:
    import pandas as pd

HIDDEN = "***"
LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """One broken rule. ``index`` is the frame's row label, None when a whole column is at fault.

    ``column`` joins the columns of a rule between columns with ", "; ``value`` is shown as text of
    at most ``LONGEST_VALUE`` characters (a cell), ``***`` for personal columns.
    """

    column: str
    rule: str
    message: str
    value: str
    index: Hashable | None
    critical: bool


@dataclass(frozen=True, slots=True)
class FrameCheck:
    """``frame`` is the coerced frame; its rows may be stored only when ``failures`` is empty."""

    frame: pd.DataFrame
    failures: tuple[RuleFailure, ...]

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.failures


def check_frame(table: TableContract, frame: pd.DataFrame) -> FrameCheck:
    """Coerce ``frame`` and check every rule of ``table`` that one table can decide.

    Failures come in row order, column-wide ones first. Row labels are those of ``frame``, which
    must be unique (ValueError).
    """
    from pandera.errors import SchemaErrors

    if not frame.index.is_unique:
        raise ValueError("row labels must be unique so that a failure can name its row")
    try:
        with warnings.catch_warnings():
            # Pandera joins its tables of failures in a way that pandas is to change; both ways name the same rows.
            warnings.filterwarnings("ignore", "The behavior of DataFrame concatenation", FutureWarning)
            return FrameCheck(build_pandera(table).validate(frame, lazy=True), ())
    except SchemaErrors as errors:
        found = {
            (failure.index, failure.rule): failure for failure in _failures(table, errors.failure_cases, errors.data)
        }
        order = {label: position for position, label in enumerate(frame.index)}
        return FrameCheck(errors.data, tuple(sorted(found.values(), key=lambda failure: _position(failure, order))))


def _position(failure: RuleFailure, order: dict[Hashable, int]) -> tuple[int, str]:
    return (-1 if failure.index is None else order[failure.index], failure.rule)


def _failures(table: TableContract, cases: pd.DataFrame, data: pd.DataFrame) -> Iterator[RuleFailure]:
    told = _Told(table, data)
    unread = {str(name) for name in cases.loc[cases["check"].astype(str).str.match(_READING), "column"]}
    for name in unread & set(table.column_names):
        yield from _unreadable(told, table.column(name))
    # A row that breaks a rule between columns is there once for every column of the frame.
    between = cases["check"].astype(str).isin({describe_failure(rule) for rule in table.row_rules})
    cases = cases[~(between & cases["index"].notna() & cases.duplicated(["check", "index"]))]
    for case in cases.itertuples(index=False):
        check, index = str(case.check), _label(case.index)
        rule = told.by_words.get(check) or _builtin_rule(told, check, str(case.column), str(case.failure_case))
        if rule is not None and not (index is None and check in told.by_words and unread.intersection(rule.columns)):
            yield told.failure(rule, index, case.failure_case)


_READING = r"dtype\("


def _unreadable(told: _Told, column: Column) -> Iterator[RuleFailure]:
    """One failure per value that cannot be read as the column's type; Pandera names those rows only for some types."""
    rule = ColumnRule(column, RuleKind.TYPE)
    series = told.data[column.name]
    for index, value in series[unreadable(series, column.dtype)].items():
        yield told.failure(rule, index, value)


def _builtin_rule(told: _Told, check: str, column: str, case: str) -> Rule | None:
    """The rule behind one of Pandera's own checks: presence or not null; types are found by ``_unreadable``."""
    if check == "column_in_dataframe":
        return told.by_name.get(f"{case}_{RuleKind.PRESENT}")
    return told.by_name.get(f"{column}_{RuleKind.NOT_NULL}") if check == "not_nullable" else None


class _Told:
    """How failures of one frame are told; what many failures share is put together once."""

    def __init__(self, table: TableContract, data: pd.DataFrame) -> None:
        self.data = data
        rules = table_rules(table)
        self.by_name = {rule.name: rule for rule in rules}
        self.by_words = {describe_failure(rule): rule for rule in rules}
        self._words = {rule.name: words for words, rule in self.by_words.items()}
        self._personal = table.personal_columns
        self._cells: dict[str, dict[Hashable, Any]] = {}

    def failure(self, rule: Rule, index: Hashable | None, case: Any) -> RuleFailure:
        """``index`` and ``case`` are Pandera's: row and value, or None and what it says of the whole column."""
        words = self._words.get(rule.name) or describe_failure(rule)
        return RuleFailure(
            ", ".join(rule.columns), rule.name, words, self._value(rule, index, case), index, rule.critical
        )

    def _value(self, rule: Rule, index: Hashable | None, case: Any) -> str:
        if isinstance(rule, ColumnRule) and rule.column.is_personal:
            return HIDDEN
        present = [name for name in rule.columns if name in self.data.columns]
        if index is None:
            return _short(case) if present else ""
        if isinstance(rule, ColumnRule):
            return _short(case)
        return ", ".join(f"{name}={self._shown(name, index)}" for name in present)

    def _shown(self, name: str, index: Hashable) -> str:
        if name in self._personal:
            return HIDDEN
        if name not in self._cells:
            self._cells[name] = dict(zip(self.data.index, self.data[name], strict=True))
        return _short(self._cells[name][index])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _label(index: Any) -> Hashable | None:
    import pandas as pd

    if index is None or index is pd.NA or (isinstance(index, float) and index != index):
        return None
    return int(index) if isinstance(index, float) else index
