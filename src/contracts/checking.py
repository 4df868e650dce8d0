"""Does a frame keep its contract, and if not, which row breaks which rule?"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.contracts.coercion import unreadable
from src.contracts.describe import ColumnRule, Rule, RuleKind, describe_failure, find_rule, table_rules
from src.contracts.model import TableContract
from src.contracts.pandera_builder import build_pandera

if TYPE_CHECKING:
    import pandas as pd

HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """One broken rule. ``index`` is the frame's row label, None when a whole column is at fault.

    ``column`` joins the columns of a rule between columns with ", "; ``value`` is shown as text,
    ``***`` for personal columns.
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
    messages = {describe_failure(rule): rule for rule in table_rules(table)}
    unread = {str(name) for name in cases.loc[cases["check"].astype(str).str.match(_READING), "column"]}
    for name in unread & set(table.column_names):
        yield from _unreadable(table, name, data)
    # A row that breaks a rule between columns is there once for every column of the frame.
    between = cases["check"].astype(str).isin({describe_failure(rule) for rule in table.row_rules})
    cases = cases[~(between & cases["index"].notna() & cases.duplicated(["check", "index"]))]
    for case in cases.itertuples(index=False):
        check, index = str(case.check), _label(case.index)
        rule = messages.get(check) or _builtin_rule(table, check, str(case.column), str(case.failure_case))
        if rule is not None and not (index is None and check in messages and unread.intersection(rule.columns)):
            yield _failure(table, rule, index, case.failure_case, data)


_READING = r"(coerce_)?dtype\("


def _unreadable(table: TableContract, name: str, data: pd.DataFrame) -> Iterator[RuleFailure]:
    """One failure per value that cannot be read as the column's type; Pandera names those rows only for some types."""
    column = table.column(name)
    rule = ColumnRule(column, RuleKind.TYPE)
    for index, value in data.loc[unreadable(data[name], column.dtype), name].items():
        yield _failure(table, rule, index, value, data)


def _builtin_rule(table: TableContract, check: str, column: str, case: str) -> Rule | None:
    """The rule behind one of Pandera's own checks: presence or not null; types are found by ``_unreadable``."""
    if check == "column_in_dataframe":
        return find_rule(table, f"{case}_{RuleKind.PRESENT}")
    return find_rule(table, f"{column}_{RuleKind.NOT_NULL}") if check == "not_nullable" else None


def _failure(table: TableContract, rule: Rule, index: Hashable | None, case: Any, data: pd.DataFrame) -> RuleFailure:
    present = [name for name in rule.columns if name in data.columns]
    if index is None:
        value = "" if not present else str(case)
    elif isinstance(rule, ColumnRule):
        value = str(case)
    else:
        value = ", ".join(f"{name}={_shown(table, name, data.at[index, name])}" for name in present)
    if isinstance(rule, ColumnRule) and rule.column.is_personal:
        value = HIDDEN
    return RuleFailure(", ".join(rule.columns), rule.name, describe_failure(rule), value, index, rule.critical)


def _shown(table: TableContract, name: str, value: Any) -> str:
    return HIDDEN if name in table.personal_columns else str(value)


def _label(index: Any) -> Hashable | None:
    import pandas as pd

    if index is None or index is pd.NA or (isinstance(index, float) and index != index):
        return None
    return int(index) if isinstance(index, float) else index
