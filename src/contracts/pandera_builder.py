"""Which Pandera schema does a table contract imply?"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from src.contracts.coercion import coerce_frame, read_numbers
from src.contracts.describe import ColumnRule, RuleKind, column_rules, describe_failure
from src.contracts.model import Column, Dtype, Range, TableContract
from src.contracts.row_checks import row_violations
from src.contracts.rules import RowRule, Scope
from src.contracts.values import json_text

if TYPE_CHECKING:
    import pandas as pd
    from pandera.pandas import Check, DataFrameSchema

PANDAS_DTYPES = {
    Dtype.STR: "str",
    Dtype.INT: "Int64",
    Dtype.FLOAT: "float64",
    Dtype.BOOL: "boolean",
    Dtype.DATE: "datetime64[ns]",
    Dtype.TS: "datetime64[ns, UTC]",
    Dtype.JSON: "object",
    Dtype.LIST: "object",
}


@lru_cache(maxsize=32)
def build_pandera(table: TableContract) -> DataFrameSchema:
    """The schema of ``table``: coerces, allows further columns, and checks every rule but those across tables.

    Each check is named as its rule (``describe.find_rule`` finds it again) and its error is the
    rule in words.
    """
    import pandera.pandas as pa

    return pa.DataFrameSchema(
        name=table.name,
        columns={column.name: _column(column) for column in table.columns},
        checks=[_row_check(table, rule) for rule in table.row_rules if rule.scope is not Scope.DATABASE],
        parsers=pa.Parser(lambda frame: coerce_frame(table, frame)),
        # The parser has read every column; Pandera would read by rules of its own what the contract refuses.
        coerce=False,
        strict=False,
    )


def _column(column: Column) -> Any:
    import pandera.pandas as pa

    checked = (RuleKind.TYPE, RuleKind.FINITE, RuleKind.RANGE, RuleKind.ALLOWED, RuleKind.PATTERN)
    rules = [rule for rule in column_rules(column) if rule.kind in (*checked, RuleKind.UNIQUE, RuleKind.SIZE)]
    return pa.Column(
        PANDAS_DTYPES[column.dtype],
        checks=[_column_check(rule) for rule in rules],
        nullable=column.nullable,
        required=column.required,
        description=column.description,
    )


def _column_check(rule: ColumnRule) -> Check:
    import pandera.pandas as pa

    return pa.Check(_PASSES[rule.kind](rule.column), name=rule.name, error=describe_failure(rule))


def _row_check(table: TableContract, rule: RowRule) -> Check:
    import pandera.pandas as pa

    def passes(frame: pd.DataFrame) -> pd.Series[bool]:
        return ~row_violations(table, rule, frame)

    return pa.Check(passes, name=rule.name, error=describe_failure(rule), ignore_na=False)


def column_violations(rule: ColumnRule, series: pd.Series[Any]) -> pd.Series[bool]:
    """True for each value of ``series`` that is there and breaks ``rule``, as the schema's check of it decides.

    ``rule`` is about values: not PRESENT and not NOT_NULL (KeyError). Index of ``series``.
    """
    broken = series.notna()
    passes = _PASSES[rule.kind](rule.column)(series[broken])
    broken[broken] = ~passes.to_numpy(dtype=bool)
    return broken


Passes = Callable[["pd.Series[Any]"], "pd.Series[bool]"]


def _type_passes(column: Column) -> Passes:
    if column.dtype is Dtype.DATE:
        return lambda series: _times(series).map(lambda day: day is None or day == day.normalize()).astype(bool)
    if column.dtype is Dtype.JSON:
        return lambda series: series.map(_is_json).astype(bool)
    if column.dtype is Dtype.LIST:
        return lambda series: series.map(lambda value: isinstance(value, list)).astype(bool)
    return lambda series: series.notna()


def _times(series: pd.Series[Any]) -> pd.Series[Any]:
    return series.astype(object).where(series.map(lambda value: hasattr(value, "normalize")), None)


def _is_json(value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    try:
        json_text(value)
    except ValueError:
        return False
    return True


def _finite_passes(column: Column) -> Passes:
    return lambda series: read_numbers(series).abs() != float("inf")


def _range_passes(column: Column) -> Passes:
    bounds = column.range or Range()

    def passes(series: pd.Series[Any]) -> pd.Series[bool]:
        numbers = read_numbers(series)
        outside = numbers > (float("inf") if bounds.maximum is None else bounds.maximum)
        if bounds.minimum is not None:
            outside |= numbers <= bounds.minimum if bounds.above else numbers < bounds.minimum
        return ~outside

    return passes


def _allowed_passes(column: Column) -> Passes:
    words = frozenset(column.words)
    if column.dtype is Dtype.LIST:
        return lambda series: series.map(lambda items: not isinstance(items, list) or words.issuperset(items)).astype(
            bool
        )
    return lambda series: series.isin(list(words))


def _pattern_passes(column: Column) -> Passes:
    import re

    pattern = re.compile(column.regex or "", re.ASCII)

    def matches(value: Any) -> bool:
        items = value if isinstance(value, list) else [value]
        return all(pattern.fullmatch(str(item)) is not None for item in items)

    return lambda series: series.map(matches).astype(bool)


def _unique_passes(column: Column) -> Passes:
    return lambda series: ~series.duplicated(keep="first")


def _size_passes(column: Column) -> Passes:
    limit = column.max_bytes or 0

    def fits(value: Any) -> bool:
        return not _is_json(value) or len(json_text(value).encode()) <= limit

    return lambda series: series.map(fits).astype(bool)


_PASSES: dict[RuleKind, Callable[[Column], Passes]] = {
    RuleKind.TYPE: _type_passes,
    RuleKind.FINITE: _finite_passes,
    RuleKind.RANGE: _range_passes,
    RuleKind.ALLOWED: _allowed_passes,
    RuleKind.PATTERN: _pattern_passes,
    RuleKind.UNIQUE: _unique_passes,
    RuleKind.SIZE: _size_passes,
}
