"""What rows does a contract table hold, as a stream with the types of a dataset?"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from src.contracts.model import Column, Dtype, TableContract
from src.contracts.sql import SQL_TYPES
from src.contracts.values import json_text
from src.errors import ContractViolation
from src.storage.database import Database
from src.storage.gateway import Op

BATCH_ROWS = 20_000

Condition = tuple[str, Op, Any]

_OPERATORS = {Op.EQ: "=", Op.NE: "<>", Op.LT: "<", Op.LE: "<=", Op.GT: ">", Op.GE: ">=", Op.LIKE: "LIKE"}


def table_schema(table: TableContract, columns: Sequence[str]) -> Any:
    """pyarrow schema of the chosen columns; JSON is text."""
    import pyarrow as pa

    types = {
        Dtype.STR: pa.string(),
        Dtype.INT: pa.int64(),
        Dtype.FLOAT: pa.float64(),
        Dtype.BOOL: pa.bool_(),
        Dtype.DATE: pa.date32(),
        Dtype.TS: pa.timestamp("us", "UTC"),
        Dtype.JSON: pa.string(),
        Dtype.LIST: pa.list_(pa.string()),
    }
    return pa.schema([(name, types[table.column(name).dtype]) for name in columns])


async def stream_table(
    db: Database, table: TableContract, columns: Sequence[str], conditions: Sequence[Condition] = ()
) -> AsyncIterator[Any]:
    """pyarrow record batches of the rows that meet every condition, in key order, through a server-side cursor.

    Raises ContractViolation for a condition whose value does not suit its column.
    """
    import pyarrow as pa

    schema = table_schema(table, columns)
    where, values = _where(table, conditions)
    query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} COLLATE {}").format(
        _selected(table, columns),
        sql.Identifier(table.name),
        where,
        sql.Identifier(table.primary_key),
        sql.Identifier("C"),
    )
    texts = [name for name in columns if table.column(name).dtype is Dtype.JSON]
    try:
        async with db.transaction() as session, session.connection.cursor("table_rows") as cursor:
            await cursor.execute(query, values)
            while rows := await cursor.fetchmany(BATCH_ROWS):
                for name in texts:
                    for row in rows:
                        row[name] = None if row[name] is None else json_text(row[name])
                yield pa.RecordBatch.from_pylist(rows, schema=schema)
    except psycopg.DataError as error:
        raise ContractViolation(
            f"table '{table.name}': {error.diag.message_primary or 'a filter value is wrong'}"
        ) from error


async def fingerprint(db: Database, table: TableContract) -> tuple[str, int]:
    """SHA-256 over all rows in key order (PostgreSQL's COPY text, UTC, ISO dates), and their number."""
    query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {} COLLATE {}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, table.column_names)),
        sql.Identifier(table.name),
        sql.Identifier(table.primary_key),
        sql.Identifier("C"),
    )
    digest = hashlib.sha256()
    async with db.transaction() as session:
        await session.execute("SET LOCAL datestyle TO 'ISO, YMD'")
        await session.execute("SET LOCAL timezone TO 'UTC'")
        async with session.connection.cursor() as cursor:
            async with cursor.copy(query) as copy:
                async for block in copy:
                    digest.update(block)
            return digest.hexdigest(), cursor.rowcount


async def count_rows(db: Database, table: TableContract) -> int:
    """Number of rows."""
    row = await db.fetchrow(sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(table.name)))
    assert row is not None
    return int(row["n"])


def _selected(table: TableContract, columns: Sequence[str]) -> sql.Composed:
    """Enum columns are read as text."""
    return sql.SQL(", ").join(
        sql.SQL("{0}::text AS {0}" if table.column(name).dtype is Dtype.STR else "{0}").format(sql.Identifier(name))
        for name in columns
    )


def _where(table: TableContract, conditions: Sequence[Condition]) -> tuple[sql.Composed, list[Any]]:
    parts: list[sql.Composable] = [sql.SQL("true")]
    values: list[Any] = []
    for name, op, value in conditions:
        part, bound = _condition(table.column(name), op, value)
        parts.append(part)
        values += bound
    return sql.SQL(" AND ").join(parts), values


def _condition(column: Column, op: Op, value: Any) -> tuple[sql.Composed, list[Any]]:
    name = sql.SQL("{}::text" if column.dtype is Dtype.STR else "{}").format(sql.Identifier(column.name))
    cast = sql.SQL(SQL_TYPES[column.dtype])
    if op is Op.IS:
        word = {None: "NULL", True: "TRUE", False: "FALSE"}[value]
        return sql.SQL("{} IS {}").format(name, sql.SQL(word)), []
    if op is Op.IN:
        return sql.SQL("{} = ANY(%s::{}[])").format(name, cast), [[str(item) for item in value]]
    return sql.SQL("{} {} %s::{}").format(name, sql.SQL(_OPERATORS[op]), cast), [str(value)]
