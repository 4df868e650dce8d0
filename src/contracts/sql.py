"""Which PostgreSQL types, tables, constraints and views does the contract imply?"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import combinations

from src.contracts.describe import ColumnRule, RuleKind, column_rules
from src.contracts.enums import ADDED_VALUES, SQL_ENUM_TYPES, Brand, DataSplit, Region
from src.contracts.model import Column, Dtype, Range, Role, TableContract
from src.contracts.rules import UniqueTogetherRule
from src.contracts.sql_rules import FUNCTIONS, check_expression, quoted, trigger_statements
from src.contracts.tables import TABLES

SQL_TYPES = {
    Dtype.STR: "text",
    Dtype.INT: "bigint",
    Dtype.FLOAT: "double precision",
    Dtype.BOOL: "boolean",
    Dtype.DATE: "date",
    Dtype.TS: "timestamptz",
    Dtype.JSON: "jsonb",
    Dtype.LIST: "text[]",
}
_NOTICE = "-- Written by scripts/gen_contract_sql.py from src/contracts; change the contract, not this file.\n"
_SPLIT_VIEWS = (DataSplit.TRAIN, DataSplit.VALIDATION, DataSplit.TEST, DataSplit.HOLDOUT)


def build_enum_sql() -> str:
    """Text of ``database/core/001_enums.sql``."""
    types = (f"CREATE TYPE {name} AS ENUM ({_words(tuple(enum))});" for enum, name in SQL_ENUM_TYPES.items())
    return "\n".join((_NOTICE, *types, ""))


def build_sql() -> str:
    """Text of ``database/core/010_core_tables.sql``: check functions, tables, indexes, triggers and split views."""
    parts = [_NOTICE, *FUNCTIONS]
    for table in _parents_first():
        parts.extend(_table_statements(table))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def build_added_values_sql() -> str:
    """Text of ``database/core/051_added_values.sql``: what the columns of the first tables allow since."""
    statements = [_NOTICE]
    for table in _parents_first():
        for column in table.columns:
            if _added(column):
                name = f"{table.name}_{column.name}_allowed"
                statements.append(
                    f"ALTER TABLE {table.name} DROP CONSTRAINT {name};\n"
                    f"ALTER TABLE {table.name} ADD CONSTRAINT {name}\n"
                    f"    CHECK ({column.name} IN ({_words(column.words)}));"
                )
    return "\n\n".join(part.strip() for part in statements) + "\n"


def sql_type(column: Column) -> str:
    """The PostgreSQL type of ``column``: its enum type where it has one."""
    if column.dtype is Dtype.STR and isinstance(column.allowed, type) and column.allowed in SQL_ENUM_TYPES:
        return SQL_ENUM_TYPES[column.allowed]
    return SQL_TYPES[column.dtype]


def _parents_first() -> list[TableContract]:
    parents = {key.parent for table in TABLES.values() for key in table.foreign_keys}
    return sorted(TABLES.values(), key=lambda table: table.name not in parents)


def _table_statements(table: TableContract) -> Iterator[str]:
    lines = [_column_line(table, column) for column in table.columns]
    lines += [f"CONSTRAINT {name} {definition}" for name, definition in _constraints(table)]
    yield f"CREATE TABLE {table.name} (\n    " + ",\n    ".join(lines) + "\n);"
    yield "\n".join(_index_statements(table))
    yield from trigger_statements(table)
    if table.has_split:
        yield "\n".join(
            f"CREATE VIEW v_{split}_{table.name} AS SELECT * FROM {table.name} WHERE data_split = '{split}';"
            for split in _SPLIT_VIEWS
        )


def _column_line(table: TableContract, column: Column) -> str:
    default = f" DEFAULT {column.sql_default}" if column.sql_default else ""
    return f"{column.name} {sql_type(column)}{'' if column.nullable else ' NOT NULL'}{default}"


def _constraints(table: TableContract) -> Iterator[tuple[str, str]]:
    """Name and definition of each constraint; the name is the rule's, after the table's."""
    yield f"{table.name}_pk", f"PRIMARY KEY ({table.primary_key})"
    for column in table.columns:
        for rule in column_rules(column):
            definition = _column_constraint(table, rule)
            if definition:
                yield f"{table.name}_{rule.name}", definition
    for row_rule in table.row_rules:
        if isinstance(row_rule, UniqueTogetherRule):
            if not row_rule.nulls_equal:
                yield f"{table.name}_{row_rule.name}", f"UNIQUE ({', '.join(row_rule.together)})"
            continue
        expression = check_expression(table, row_rule)
        if expression:
            yield f"{table.name}_{row_rule.name}", f"CHECK ({expression})"
    for columns in _referenced(table):
        yield f"{table.name}_{'_'.join(columns)}_referenced", f"UNIQUE ({', '.join(columns)})"
    for key in table.foreign_keys:
        target = f"{key.parent} ({', '.join(key.parent_columns)})"
        yield f"{table.name}_{key.name}", f"FOREIGN KEY ({', '.join(key.columns)}) REFERENCES {target}"


def _referenced(table: TableContract) -> Iterator[tuple[str, ...]]:
    """Column groups other tables refer to, which PostgreSQL wants unique."""
    for other in TABLES.values():
        for key in other.foreign_keys:
            if key.parent == table.name and key.parent_columns != (table.primary_key,):
                yield key.parent_columns


def _column_constraint(table: TableContract, rule: ColumnRule) -> str | None:
    column = rule.column
    if rule.kind is RuleKind.UNIQUE:
        return None if column.name == table.primary_key else f"UNIQUE ({column.name})"
    expression = {
        RuleKind.TYPE: _type_check,
        RuleKind.FINITE: _finite_check,
        RuleKind.RANGE: _range_check,
        RuleKind.ALLOWED: _allowed_check,
        RuleKind.PATTERN: _pattern_check,
        RuleKind.SIZE: _size_check,
    }.get(rule.kind, _no_check)(column)
    return f"CHECK ({expression})" if expression else None


def _no_check(column: Column) -> str | None:
    return None


def _type_check(column: Column) -> str | None:
    """What the SQL type alone lets through: JSON scalars, and empty elements of lists."""
    if column.dtype is Dtype.JSON:
        return f"jsonb_typeof({column.name}) IN ('object', 'array')"
    return f"array_position({column.name}, NULL) IS NULL" if column.dtype is Dtype.LIST else None


def _finite_check(column: Column) -> str | None:
    # NaN sorts above infinity in PostgreSQL, so this refuses all three.
    return f"{column.name} > '-Infinity' AND {column.name} < 'Infinity'"


def _range_check(column: Column) -> str | None:
    bounds = column.range or Range()
    parts = []
    if bounds.minimum is not None:
        parts.append(f"{column.name} {'>' if bounds.above else '>='} {bounds.minimum:g}")
    if bounds.maximum is not None:
        parts.append(f"{column.name} <= {bounds.maximum:g}")
    return " AND ".join(parts)


def _allowed_check(column: Column) -> str | None:
    if sql_type(column) in SQL_ENUM_TYPES.values():
        return None
    if column.dtype is Dtype.LIST:
        return f"{column.name} <@ ARRAY[{_words(column.words)}]::text[]"
    added = _added(column)
    return f"{column.name} IN ({_words(tuple(one for one in column.words if one not in added))})"


def _added(column: Column) -> frozenset[StrEnum]:
    """Values of the column that the first file does not know."""
    return ADDED_VALUES.get(column.allowed, frozenset()) if isinstance(column.allowed, type) else frozenset()


def _pattern_check(column: Column) -> str | None:
    pattern = quoted(f"^(?:{column.regex})$")
    if column.dtype is Dtype.LIST:
        return f"contract_all_match({column.name}, {pattern})"
    return f"{column.name} ~ {pattern}"


def _size_check(column: Column) -> str | None:
    return f"octet_length({column.name}::text) <= {column.max_bytes}"


def _words(words: tuple[StrEnum, ...] | tuple[str, ...]) -> str:
    return ", ".join(quoted(str(word)) for word in words)


def _index_statements(table: TableContract) -> Iterator[str]:
    for columns in _indexed(table):
        name = f"{table.name}_{'_'.join(columns)}_idx"
        yield f"CREATE INDEX {name} ON {table.name} ({', '.join(columns)});"
    for rule in table.row_rules:
        if isinstance(rule, UniqueTogetherRule) and rule.nulls_equal:
            yield from _partial_unique_indexes(table, rule)


def _indexed(table: TableContract) -> Iterator[tuple[str, ...]]:
    """Keys other than the primary one, the event time, and brand with region."""
    time = next(column for column in table.columns if column.role is Role.TIME)
    keys = [column for column in table.columns if column.role is Role.KEY and column.name != table.primary_key]
    for column in (*keys, time):
        yield (column.name,)
    place = tuple(column.name for column in table.columns if column.allowed in (Brand, Region))
    if place:
        yield place


def _partial_unique_indexes(table: TableContract, rule: UniqueTogetherRule) -> Iterator[str]:
    """One unique index per set of empty columns: NULL then counts as a value, on PostgreSQL 14 as well."""
    nullable = [name for name in rule.together if table.column(name).nullable]
    for size in range(len(nullable) + 1):
        for empty in combinations(nullable, size):
            present = [name for name in rule.together if name not in empty]
            filled = [f"{name} IS NOT NULL" for name in nullable if name not in empty]
            condition = " AND ".join([*filled, *(f"{name} IS NULL" for name in empty)])
            suffix = f"_by_{'_'.join(name for name in nullable if name not in empty) or 'none'}"
            yield (
                f"CREATE UNIQUE INDEX {table.name}_{rule.name}{suffix} "
                f"ON {table.name} ({', '.join(present)}) WHERE {condition};"
            )
