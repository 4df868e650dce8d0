"""Which rules does a column carry, and how is a broken rule named to a person?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from src.contracts.model import Column, Dtype, TableContract
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
    Scope,
    UniqueTogetherRule,
    WithinParentRule,
)

TYPE_WORDS = {
    Dtype.STR: "text",
    Dtype.INT: "a whole number",
    Dtype.FLOAT: "a number",
    Dtype.BOOL: "true or false",
    Dtype.DATE: "a date (YYYY-MM-DD)",
    Dtype.TS: "a time (ISO 8601)",
    Dtype.JSON: "a JSON object or array",
    Dtype.LIST: "a list of texts",
}


class RuleKind(StrEnum):
    """What is checked on a single column; also the suffix of check, constraint and expectation names."""

    PRESENT = "present"
    NOT_NULL = "not_null"
    TYPE = "type"
    FINITE = "finite"
    RANGE = "range"
    ALLOWED = "allowed"
    PATTERN = "pattern"
    UNIQUE = "unique"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """One rule of one column."""

    column: Column
    kind: RuleKind

    @property
    def name(self) -> str:
        """Unique within the table: ``confidence_score_range``."""
        return f"{self.column.name}_{self.kind}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column.name,)

    @property
    def critical(self) -> bool:
        return self.column.critical

    @property
    def scope(self) -> Scope:
        return Scope.TABLE if self.kind is RuleKind.UNIQUE else Scope.ROW


Rule = ColumnRule | RowRule


def column_rules(column: Column) -> tuple[ColumnRule, ...]:
    """Every rule that ``column`` declares, in the order they are checked."""
    holds = {
        RuleKind.PRESENT: column.required,
        RuleKind.NOT_NULL: not column.nullable,
        RuleKind.TYPE: True,
        RuleKind.FINITE: column.dtype is Dtype.FLOAT,
        RuleKind.RANGE: column.range is not None,
        RuleKind.ALLOWED: column.allowed is not None,
        RuleKind.PATTERN: column.regex is not None,
        RuleKind.UNIQUE: column.unique,
        RuleKind.SIZE: column.max_bytes is not None,
    }
    return tuple(ColumnRule(column, kind) for kind, declared in holds.items() if declared)


def table_rules(table: TableContract) -> tuple[Rule, ...]:
    """Every rule of ``table``: those of its columns, then those between columns or rows."""
    return (*(rule for column in table.columns for rule in column_rules(column)), *table.row_rules)


def find_rule(table: TableContract, name: str) -> Rule | None:
    """The rule of that name, also when given as the SQL constraint ``<table>_<rule>``, or None."""
    short = name.removeprefix(f"{table.name}_")
    if short == "pk":
        short = f"{table.primary_key}_{RuleKind.UNIQUE}"
    for rule in table_rules(table):
        if rule.name in (name, short) or short.startswith(f"{rule.name}_by_"):
            return rule
    return None


def describe_failure(rule: Rule) -> str:
    """Say in a few words what a row that breaks ``rule`` should have been."""
    return _describe_column_rule(rule) if isinstance(rule, ColumnRule) else _describe_row_rule(rule)


def _describe_column_rule(rule: ColumnRule) -> str:
    column = rule.column
    each = "each element of " if column.dtype is Dtype.LIST else ""
    words = {
        RuleKind.PRESENT: "column is missing",
        RuleKind.NOT_NULL: "must not be empty",
        RuleKind.TYPE: f"must be {TYPE_WORDS[column.dtype]}",
        RuleKind.FINITE: "must be a finite number",
        RuleKind.RANGE: f"must be {column.range}",
        RuleKind.ALLOWED: f"must be one of {', '.join(column.words)}",
        RuleKind.PATTERN: f"must look like {column.regex}",
        RuleKind.UNIQUE: "must be unique",
        RuleKind.SIZE: f"must not exceed {column.max_bytes} bytes",
    }[rule.kind]
    prefix = each if rule.kind in (RuleKind.ALLOWED, RuleKind.PATTERN) else ""
    return f"{prefix}{column.name} {words}"


def _describe_row_rule(rule: RowRule) -> str:
    match rule:
        case UniqueTogetherRule():
            return f"({', '.join(rule.together)}) must be unique"
        case OneValuePerRule():
            return f"one {rule.key} must have one {rule.value} only"
        case WithinParentRule():
            return f"{rule.column} must lie between {rule.start} and {rule.end} of its {rule.parent} row"
        case _:
            return _describe_rule_within_row(rule)


def _describe_rule_within_row(
    rule: PairRule | RatioRule | PresenceRule | PresentWhenRule | LengthRule | NoRepeatRule | NotAfterRule,
) -> str:
    match rule:
        case PairRule():
            verb = "must not be after or above" if rule.comparison is Comparison.AT_MOST else "must differ from"
            return f"{rule.left} {verb} {rule.right}"
        case RatioRule():
            return f"{rule.ratio} must equal {rule.numerator} / {rule.denominator} within {rule.tolerance:.0%}"
        case PresenceRule():
            return f"{' or '.join(rule.one_of)} must be present"
        case PresentWhenRule():
            columns = " and ".join(rule.present)
            return f"{columns} must be present when {rule.when} is {' or '.join(rule.values)}, and only then"
        case LengthRule():
            return f"{rule.length} must equal the number of {rule.items} plus {rule.offset}"
        case NoRepeatRule():
            return f"no value may occur twice among {', '.join(rule.columns)}"
        case NotAfterRule():
            return f"every time in {rule.times} must be at or before {rule.cutoff}"
