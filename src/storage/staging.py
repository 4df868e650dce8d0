"""How do checked rows get into a contract table in one piece, and which of them does the database refuse?"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from src.contracts.describe import RuleKind, column_rules, describe_failure
from src.contracts.model import Column, Dtype, ForeignKey, TableContract
from src.contracts.rules import OneValuePerRule, RowRule, UniqueTogetherRule, WithinParentRule
from src.contracts.values import json_text
from src.storage.database import Session
from src.storage.rejections import MASK, RejectedRow

if TYPE_CHECKING:
    import pandas as pd


class Staging:
    """A temporary copy of a contract table, without its constraints, that lives until the transaction ends.

    Each row carries the ``line`` it came from. Temporary tables are not written to the log and are
    seen by nobody else; a lost connection takes them away.
    """

    def __init__(self, session: Session, table: TableContract, columns: Sequence[str]) -> None:
        self._session = session
        self._table = table
        self._columns = [table.column(name) for name in columns]
        self._staged = sql.Identifier(f"staged_{table.name}")
        self._refused = sql.Identifier(f"refused_{table.name}")
        self._target = sql.Identifier(table.name)

    async def create(self) -> None:
        """Make the empty copy."""
        await self._run(
            "CREATE TEMP TABLE {staged} ON COMMIT DROP AS SELECT 0::bigint AS line, t.* FROM {target} t LIMIT 0"
        )
        await self._run("CREATE TEMP TABLE {refused} (line bigint, columns text, shown text, rule text) ON COMMIT DROP")

    async def add(self, frame: pd.DataFrame) -> None:
        """COPY checked rows (as ``contracts.checking`` coerced them, indexed by line)."""
        content = copy_text(frame, self._columns)
        command = sql.SQL("COPY {} (line, {}) FROM STDIN (FORMAT csv)").format(self._staged, self._names())
        async with self._session.connection.cursor() as cursor, cursor.copy(command) as copy:
            await copy.write(content)

    async def count(self) -> int:
        """Rows in the copy."""
        row = await self._session.fetchrow(self._sql("SELECT count(*) AS n FROM {staged}"))
        assert row is not None
        return int(row["n"])

    async def already_there(self) -> bool:
        """Whether every row of the copy is in the table with the same values."""
        query = "SELECT EXISTS (SELECT {names} FROM {staged} EXCEPT SELECT {names} FROM {target}) AS differs"
        row = await self._session.fetchrow(self._sql(query))
        assert row is not None
        return not row["differs"]

    async def publish(self) -> psycopg.IntegrityError | None:
        """Insert the copy into the table, or nothing of it and return why a constraint refused a row."""
        values = sql.SQL(", ").join(self._value(column) for column in self._columns)
        query = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY line").format(
            self._target, self._names(), values, self._staged
        )
        try:
            async with self._session.connection.transaction():
                await self._session.execute(query)
        except psycopg.IntegrityError as error:
            return error
        return None

    async def refuse_broken(self) -> int:
        """Move rows that break a rule between rows or tables out of the copy; returns how many rules were broken.

        Where two rows exclude each other the one already stored, else the earlier line, stays.
        """
        await self._run("ANALYZE {staged}")
        for columns, rule, broken in self._checks():
            shown = sql.SQL(" || ', ' || ").join(self._shown(name) for name in columns)
            await self._session.execute(
                sql.SQL("INSERT INTO {} SELECT s.line, {}, {}, {} FROM {} s WHERE s.line IN ({})").format(
                    self._refused, sql.Literal(", ".join(columns)), shown, sql.Literal(rule), self._staged, broken
                )
            )
        await self._run("DELETE FROM {staged} USING {refused} WHERE {staged}.line = {refused}.line")
        row = await self._session.fetchrow(self._sql("SELECT count(*) AS n FROM {refused}"))
        assert row is not None
        return int(row["n"])

    async def refused_rows(self) -> int:
        """How many rows were moved out."""
        row = await self._session.fetchrow(self._sql("SELECT count(DISTINCT line) AS n FROM {refused}"))
        assert row is not None
        return int(row["n"])

    async def refusals(self) -> AsyncIterator[RejectedRow]:
        """What ``refuse_broken`` found, in line order, fetched as it is consumed."""
        async with self._session.connection.cursor("refusals") as cursor:
            await cursor.execute(self._sql("SELECT * FROM {refused} ORDER BY line, rule"))
            async for row in cursor:
                yield RejectedRow(row["line"], row["columns"], row["shown"], row["rule"])

    def _checks(self) -> Iterator[tuple[tuple[str, ...], str, sql.Composed]]:
        """(columns, rule in words, query for the lines that break it) of every rule a single row cannot decide."""
        present = {column.name for column in self._columns}
        for column in self._columns:
            for rule in column_rules(column):
                if rule.kind is RuleKind.UNIQUE:
                    yield (column.name,), describe_failure(rule), self._repeated((column.name,), nulls_equal=False)
        for row_rule in self._table.row_rules:
            query = self._row_rule_query(row_rule) if present.issuperset(row_rule.columns) else None
            if query is not None:
                yield row_rule.columns, describe_failure(row_rule), query
        for key in self._table.foreign_keys:
            if present.issuperset(key.columns):
                yield key.columns, f"there is no such row in {key.parent}", self._orphans(key)

    def _row_rule_query(self, rule: RowRule) -> sql.Composed | None:
        match rule:
            case UniqueTogetherRule():
                return self._repeated(rule.together, nulls_equal=rule.nulls_equal)
            case OneValuePerRule():
                return self._several_values(rule)
            case WithinParentRule():
                return self._outside_parent(rule)
            case _:
                return None

    def _repeated(self, columns: Sequence[str], *, nulls_equal: bool) -> sql.Composed:
        """Rows already stored come first in each group, so that they stay."""
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        given = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in columns)
        return sql.SQL(
            "SELECT line FROM (SELECT line, row_number() OVER (PARTITION BY {names} ORDER BY line NULLS FIRST) AS place"
            " FROM (SELECT NULL::bigint AS line, {names} FROM {target} UNION ALL SELECT line, {names} FROM {staged}) a"
            " WHERE {given}) b WHERE place > 1 AND line IS NOT NULL"
        ).format(names=names, target=self._target, staged=self._staged, given=sql.SQL("true") if nulls_equal else given)

    def _several_values(self, rule: OneValuePerRule) -> sql.Composed:
        return sql.SQL(
            "SELECT s.line FROM {staged} s JOIN (SELECT DISTINCT ON ({key}) {key}, {value} FROM"
            " (SELECT NULL::bigint AS line, {key}, {value} FROM {target}"
            " UNION ALL SELECT line, {key}, {value} FROM {staged}) a"
            " WHERE {value} IS NOT NULL ORDER BY {key}, line NULLS FIRST) f"
            " ON f.{key} = s.{key} WHERE s.{value} <> f.{value}"
        ).format(
            staged=self._staged,
            target=self._target,
            key=sql.Identifier(rule.key),
            value=sql.Identifier(rule.value),
        )

    def _outside_parent(self, rule: WithinParentRule) -> sql.Composed:
        return sql.SQL(
            "SELECT s.line FROM {staged} s JOIN {parent} p ON p.{key} = s.{key}"
            " WHERE s.{column} < p.{start} OR s.{column} > p.{end}"
        ).format(
            staged=self._staged,
            parent=sql.Identifier(rule.parent),
            key=sql.Identifier(rule.key),
            column=sql.Identifier(rule.column),
            start=sql.Identifier(rule.start),
            end=sql.Identifier(rule.end),
        )

    def _orphans(self, key: ForeignKey) -> sql.Composed:
        pairs = list(zip(key.columns, key.parent_columns, strict=True))
        given = (sql.SQL("s.{} IS NOT NULL").format(sql.Identifier(name)) for name in key.columns)
        match = (sql.SQL("p.{} = s.{}").format(sql.Identifier(theirs), sql.Identifier(ours)) for ours, theirs in pairs)
        return sql.SQL("SELECT s.line FROM {} s WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {})").format(
            self._staged, sql.SQL(" AND ").join(given), sql.Identifier(key.parent), sql.SQL(" AND ").join(match)
        )

    def _shown(self, name: str) -> sql.Composable:
        if name in self._table.personal_columns:
            return sql.Literal(MASK)
        return sql.SQL("coalesce(left(s.{}::text, 200), '')").format(sql.Identifier(name))

    def _value(self, column: Column) -> sql.Composable:
        name = sql.Identifier(column.name)
        if column.sql_default is None:
            return name
        return sql.SQL("coalesce({}, {})").format(name, sql.SQL(column.sql_default))

    def _names(self) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self._columns)

    def _sql(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(
            staged=self._staged, refused=self._refused, target=self._target, names=self._names()
        )

    async def _run(self, text: str) -> None:
        await self._session.execute(self._sql(text))


def copy_text(frame: pd.DataFrame, columns: Sequence[Column]) -> bytes:
    """CSV for COPY: the index as first field, then ``columns``; a missing value is an unquoted nothing."""
    import pyarrow as pa
    from pyarrow import csv

    arrays = [pa.array(frame.index.to_numpy(), pa.int64())]
    arrays += [_copy_array(frame[column.name], column.dtype) for column in columns]
    sink = io.BytesIO()
    table = pa.Table.from_arrays(arrays, names=["line", *(column.name for column in columns)])
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False))
    return sink.getvalue()


def _copy_array(series: pd.Series[Any], dtype: Dtype) -> Any:
    import pyarrow as pa

    if dtype is Dtype.JSON:
        return pa.array([json_text(value) if _is_given(value) else None for value in series], pa.string())
    if dtype is Dtype.LIST:
        return pa.array([_array_text(value) if _is_given(value) else None for value in series], pa.string())
    kinds = {
        Dtype.STR: pa.string(),
        Dtype.INT: pa.int64(),
        Dtype.FLOAT: pa.float64(),
        Dtype.BOOL: pa.bool_(),
        Dtype.DATE: pa.date32(),
        Dtype.TS: pa.timestamp("us", "UTC"),
    }
    return pa.array(series, from_pandas=True).cast(kinds[dtype], safe=dtype is not Dtype.TS)


def _is_given(value: Any) -> bool:
    return isinstance(value, dict | list | tuple) or hasattr(value, "tolist")


def _array_text(items: Any) -> str:
    """PostgreSQL's array literal, every element quoted."""
    return "{" + ",".join(_array_item(item) for item in items) + "}"


def _array_item(item: str) -> str:
    return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
