"""Which rows does a request mean, and which contract must they keep?"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from src.agents.ml_foundation.data_preparer.state import PrepareRequest, PrepareScope
from src.agents.runtime import Filter
from src.contracts.inference import INFERRED, infer_contract, is_inferred, time_columns
from src.contracts.model import Dtype, Role, TableContract
from src.contracts.tables import ALIASES, TABLES, get_table
from src.errors import ContractViolation, DataUnavailable, UnknownColumn, nearest_names
from src.storage.gateway import Op

if TYPE_CHECKING:
    import pandas as pd

TABLE_PREFIX = "table:"
REGION_COLUMNS = ("geographic_region", "region")


def source_of(request: PrepareRequest) -> tuple[str, TableContract | None]:
    """The dataset to load and its contract; None for one to be inferred from the rows.

    A contract table's own name means the table, unless ``suite`` says that a dataset of that name is meant.
    """
    name = request.data_source
    short = name.removeprefix(TABLE_PREFIX)
    if name.startswith(TABLE_PREFIX) or (request.suite is None and short in (*TABLES, *ALIASES)):
        return _table_source(short, request.suite)
    if request.suite is None:
        raise DataUnavailable(
            f"'{name}' is no contract table ({nearest_names(name, TABLES)}); "
            f"name the contract that a dataset must keep with suite=, or '{INFERRED}'"
        )
    return name, None if request.suite == INFERRED else _suite(request.suite)


def inferred_contract(request: PrepareRequest, frame: pd.DataFrame) -> TableContract:
    """What the rows of a dataset without a contract are held to, with the column of their time where there is one.

    That is ``request.time``, otherwise the first filled column of times other than target. Raises UnknownColumn,
    and ContractViolation for a ``time`` without times.
    """
    columns = [str(name) for name in frame.columns]
    for role in ("time", "unit"):
        name = getattr(request, role)
        if name is not None and name not in columns:
            raise UnknownColumn(name, columns, role=role)
    plain = infer_contract(frame, request.data_source)
    if request.time is not None and plain.column(request.time).dtype not in (Dtype.DATE, Dtype.TS):
        raise ContractViolation(f"the time column '{request.time}' holds no times; name another, or leave it out")
    found = (name for name in time_columns(plain) if name != request.scope.target)
    time = request.time or next(found, None)
    return infer_contract(frame, request.data_source, time=time, unit=request.unit)


def _table_source(short: str, suite: str | None) -> tuple[str, TableContract]:
    if short not in (*TABLES, *ALIASES):
        raise DataUnavailable(f"there is no table '{short}'; {nearest_names(short, TABLES)}")
    table = get_table(short)
    if suite is not None and _suite(suite) is not table:
        raise ContractViolation(f"table {table.name} is held to its own contract, not to that of {suite}")
    return f"{TABLE_PREFIX}{table.name}", table


def _suite(name: str) -> TableContract:
    by_suite = {table.suite_name: table for table in TABLES.values()}
    return by_suite[name] if name in by_suite else get_table(name)


def filters_of(scope: PrepareScope, table: TableContract) -> tuple[Filter, ...]:
    """Conditions for brand, region and period; raises UnknownColumn where the table does not have the column."""
    found = []
    if scope.brand is not None:
        found.append(Filter(_column(table, ("brand",)), Op.EQ, scope.brand))
    if scope.region is not None:
        found.append(Filter(_column(table, REGION_COLUMNS), Op.EQ, scope.region))
    if scope.period is not None:
        column = time_column(table)
        if column is None:
            raise ContractViolation("a period needs a time column; name it, or leave out the days")
        if scope.period.start is not None:
            found.append(Filter(column, Op.GE, _moment(table, column, scope.period.start)))
        if scope.period.end is not None:
            found.append(Filter(column, Op.LT, _moment(table, column, scope.period.end + timedelta(days=1))))
    return tuple(found)


def scope_texts(request: PrepareRequest, dataset_id: str) -> dict[str, str]:
    """What the rows of a run were chosen by, as part of the identity of their split."""
    scope = request.scope
    named = {"dataset": dataset_id, "brand": scope.brand, "region": scope.region, "period": scope.period}
    return {name: str(value) for name, value in named.items() if value is not None}


def time_column(table: TableContract) -> str | None:
    """The column that says when a row happened: the table's first of that role, None for a dataset without one."""
    return next((column.name for column in table.columns if column.role is Role.TIME), None)


def _column(table: TableContract, names: tuple[str, ...]) -> str:
    for name in names:
        if name in table.column_names:
            return name
    raise UnknownColumn(names[-1], table.column_names)


def _moment(table: TableContract, column: str, day: date) -> str:
    if table.column(column).dtype is Dtype.DATE:
        return day.isoformat()
    return datetime.combine(day, time(), UTC).isoformat()


def refuse_identifying(scope: PrepareScope, table: TableContract) -> None:
    """Raise ContractViolation when target or a feature is a key or personal: people would be learnt by heart."""
    for name in (scope.target, *scope.required_features):
        if name not in table.column_names:
            continue
        column = table.column(name)
        if column.is_personal or column.role is Role.KEY:
            raise ContractViolation(f"'{name}' identifies somebody or something; it can be neither feature nor target")


def held_to(table: TableContract) -> str | TableContract:
    """How a contract is named to those who validate: a table by its name, an inferred contract by itself."""
    return table if is_inferred(table) else table.name
