"""Which expectations does a table contract imply? Neutral declarations; nothing of Great Expectations is imported."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from src.contracts.describe import ColumnRule, RuleKind, column_rules
from src.contracts.model import Column, Dtype, Range, TableContract
from src.contracts.rules import (
    Comparison,
    PairRule,
    PresenceRule,
    PresentWhenRule,
    RowRule,
    UniqueTogetherRule,
)

Json = dict[str, Any]
_NESTED = (Dtype.JSON, Dtype.LIST)


@dataclass(frozen=True, slots=True)
class ExpectationDeclaration:
    """One expectation: ``type`` in snake case, its arguments, and an id by which its outcome is found again.

    ``critical`` blocks on a single violation. The id is ``<table>.<rule>``, with a suffix where one
    rule takes several expectations.
    """

    type: str
    kwargs: Json
    critical: bool
    id: str


def build_expectations(
    table: TableContract, *, present: Collection[str] | None = None
) -> tuple[ExpectationDeclaration, ...]:
    """The suite of ``table`` for a coerced frame that has the columns ``present`` (default: all).

    Expectations on optional columns that are absent are left out; required columns are always
    expected. A key whose empty cells are values takes an absent column as empty, and is expected of the
    columns that are there. Rules that Great Expectations cannot express (JSON, elements of lists, ratios, dates
    against timestamps, rules across tables) are not in the suite: ``expressible`` says which.
    """
    names = set(table.column_names if present is None else present)
    return tuple(_declare(table, names))


def expressible(table: TableContract) -> frozenset[str]:
    """Names of the rules of ``table`` that its suite can refuse."""
    ids = [declaration.id.split(".", 1)[1].split("#")[0] for declaration in build_expectations(table)]
    return frozenset(ids) - {"row_count"}


def _declare(table: TableContract, present: set[str]) -> Iterator[ExpectationDeclaration]:
    yield ExpectationDeclaration(
        "expect_table_row_count_to_be_between", {"min_value": 1}, critical=True, id=f"{table.name}.row_count"
    )
    for column in table.columns:
        for rule in column_rules(column):
            if column.name not in present and rule.kind is not RuleKind.PRESENT:
                continue
            for kind, arguments in _column_expectations(rule):
                arguments = {"column": column.name, **arguments}
                yield ExpectationDeclaration(kind, arguments, rule.critical, f"{table.name}.{rule.name}")
    for row_rule in table.row_rules:
        found = list(_row_expectations(table, row_rule, present))
        for number, (kind, arguments) in enumerate(found):
            suffix = f"#{number}" if len(found) > 1 else ""
            identity = f"{table.name}.{row_rule.name}{suffix}"
            yield ExpectationDeclaration(kind, arguments, row_rule.critical, identity)


def _column_expectations(rule: ColumnRule) -> Iterator[tuple[str, Json]]:
    column = rule.column
    if rule.kind is RuleKind.PRESENT:
        yield "expect_column_to_exist", {}
    elif rule.kind is RuleKind.NOT_NULL:
        yield "expect_column_values_to_not_be_null", {}
    elif column.dtype in _NESTED:
        return
    elif rule.kind is RuleKind.UNIQUE:
        yield "expect_column_values_to_be_unique", {}
    elif rule.kind is RuleKind.ALLOWED:
        yield "expect_column_values_to_be_in_set", {"value_set": list(column.words)}
    elif rule.kind is RuleKind.PATTERN:
        yield "expect_column_values_to_match_regex", {"regex": rf"\A(?:{column.regex})\Z"}
    elif rule.kind in (RuleKind.RANGE, RuleKind.FINITE):
        yield "expect_column_values_to_be_between", _bounds(column, rule.kind)


def _bounds(column: Column, kind: RuleKind) -> Json:
    """Bounds as arguments; the largest double stands for "finite", since infinity lies above it."""
    largest = sys.float_info.max
    if kind is RuleKind.FINITE:
        return {"min_value": -largest, "max_value": largest}
    bounds = column.range or Range()
    arguments: Json = {}
    if bounds.minimum is not None:
        arguments |= {"min_value": bounds.minimum, "strict_min": bounds.above}
    if bounds.maximum is not None:
        arguments["max_value"] = bounds.maximum
    return arguments


def _row_expectations(table: TableContract, rule: RowRule, present: set[str]) -> Iterator[tuple[str, Json]]:
    if isinstance(rule, UniqueTogetherRule):
        yield from _unique_together(rule, present)
    elif present.issuperset(rule.columns):
        yield from _within_row(table, rule)


def _unique_together(rule: UniqueTogetherRule, present: set[str]) -> Iterator[tuple[str, Json]]:
    there = [name for name in rule.together if name in present]
    # An absent column holds no value in any row, which tells no two rows apart. Great Expectations takes two or more.
    if there == list(rule.together) or (rule.nulls_equal and len(there) > 1):
        ignored = "never" if rule.nulls_equal else "any_value_is_missing"
        yield "expect_compound_columns_to_be_unique", {"column_list": there, "ignore_row_if": ignored}


def _within_row(table: TableContract, rule: RowRule) -> Iterator[tuple[str, Json]]:
    match rule:
        case PairRule():
            yield from _pair(table, rule)
        case PresenceRule(one_of=(first, second)):
            yield (
                "expect_column_values_to_not_be_null",
                {"column": second, "row_condition": _is_null(first)},
            )
        case PresentWhenRule():
            yield from _present_when(rule)
        case _:
            return


def _pair(table: TableContract, rule: PairRule) -> Iterator[tuple[str, Json]]:
    if table.column(rule.left).dtype is not table.column(rule.right).dtype:
        return
    if rule.comparison is Comparison.DIFFERENT:
        arguments: Json = {"column_list": [rule.left, rule.right], "ignore_row_if": "any_value_is_missing"}
        yield "expect_select_column_values_to_be_unique_within_record", arguments
        return
    yield (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {
            "column_A": rule.right,
            "column_B": rule.left,
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        },
    )


def _present_when(rule: PresentWhenRule) -> Iterator[tuple[str, Json]]:
    for column in rule.present:
        for kind, operator in (
            ("expect_column_values_to_not_be_null", "IN"),
            ("expect_column_values_to_be_null", "NOT_IN"),
        ):
            condition = {
                "type": "comparison",
                "column": {"name": rule.when},
                "operator": operator,
                "parameter": list(rule.values),
            }
            yield kind, {"column": column, "row_condition": condition}


def _is_null(column: str) -> Json:
    return {"type": "nullity", "column": {"name": column}, "is_null": True}
