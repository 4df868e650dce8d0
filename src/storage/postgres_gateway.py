"""How do rows reach PostgreSQL directly? The psycopg adapter of ``TableGateway``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from src.errors import ContractViolation, UnknownColumn, nearest_names
from src.storage.database import Database, Session, is_unavailable, table_name
from src.storage.gateway import Op, OrderBy, Row, Values, Where
from src.storage.where import check_where, refuse_all_rows

MAX_PARAMETERS = 60_000  # the protocol allows 65,535 per statement
_COMPARISONS = {
    Op.EQ: sql.SQL("="),
    Op.NE: sql.SQL("<>"),
    Op.LT: sql.SQL("<"),
    Op.LE: sql.SQL("<="),
    Op.GT: sql.SQL(">"),
    Op.GE: sql.SQL(">="),
    Op.LIKE: sql.SQL("LIKE"),
}
_COLUMNS = """
SELECT attname AS name, format_type(atttypid, NULL) AS type
FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""
_FUNCTIONS = """
SELECT p.proretset AS is_set,
       t.typtype = 'c' OR p.proargmodes && '{o,b,t}'::"char"[] AS is_record,
       t.typname = 'void' AS is_void,
       coalesce(p.proargnames[1:p.pronargs], '{}') AS names,
       ARRAY(
         SELECT format_type(a.oid, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(oid, n) ORDER BY a.n
       ) AS types
FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = %s AND n.nspname = ANY (current_schemas(false))
"""


@dataclass(frozen=True, slots=True)
class _Function:
    is_set: bool
    is_record: bool
    is_void: bool
    arguments: dict[str, str]


class PostgresGateway:
    """``TableGateway`` over a ``Database``, which stays the caller's to close."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._types: dict[str, dict[str, str]] = {}

    async def insert(self, table: str, rows: Sequence[Values]) -> list[Row]:
        """Insert all rows or none and return them as stored."""
        return await self._write(table, rows, sql.SQL(""))

    async def upsert(self, table: str, rows: Sequence[Values], *, on_conflict: Sequence[str]) -> list[Row]:
        """Insert, or update the rows whose ``on_conflict`` columns match."""
        if not on_conflict:
            raise ValueError("upsert needs the columns that tell a row (on_conflict)")
        types = await self._columns(table, on_conflict)
        given = [name for name in types if any(name in row for row in rows) and name not in on_conflict]
        # With nothing else to set, a key is set to itself: a row that is there comes back as well.
        targets = given or list(on_conflict[:1])
        conflict = sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(
            _names(on_conflict),
            sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in targets),
        )
        return await self._write(table, rows, conflict)

    async def select(
        self,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: Sequence[Where] = (),
        order_by: Sequence[OrderBy] = (),
        limit: int | None = None,
    ) -> list[Row]:
        """Rows of a table or view; no columns means all of them."""
        used = [*columns, *(item.column for item in where), *(item.column for item in order_by)]
        types = await self._columns(table, used)
        condition, values = _condition(where, types)
        query = sql.SQL("SELECT {} FROM {}").format(_names(columns) if columns else sql.SQL("*"), table_name(table))
        query += condition
        if order_by:
            query += sql.SQL(" ORDER BY ") + sql.SQL(", ").join(map(_ordering, order_by))
        if limit is not None:
            query += sql.SQL(" LIMIT %s")
            values.append(limit)
        async with self._statements(table) as session:
            return await session.fetch(query, values)

    async def update(self, table: str, values: Values, *, where: Sequence[Where]) -> list[Row]:
        """Update matching rows and return them; an empty ``where`` is refused (ValueError)."""
        refuse_all_rows("update", where)
        if not values:
            raise ValueError("update needs at least one value")
        types = await self._columns(table, [*values, *(item.column for item in where)])
        condition, matched = _condition(where, types)
        changes = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), _placeholder(types[name])) for name in values
        )
        query = sql.SQL("UPDATE {} SET {}").format(table_name(table), changes) + condition + sql.SQL(" RETURNING *")
        adapted = [_adapt(value, types[name]) for name, value in values.items()]
        async with self._statements(table) as session:
            return await session.fetch(query, [*adapted, *matched])

    async def delete(self, table: str, *, where: Sequence[Where]) -> int:
        """Delete matching rows and return how many; an empty ``where`` is refused (ValueError)."""
        refuse_all_rows("delete", where)
        types = await self._columns(table, [item.column for item in where])
        condition, values = _condition(where, types)
        async with self._statements(table) as session:
            return await session.execute(sql.SQL("DELETE FROM {}").format(table_name(table)) + condition, values)

    async def call(self, function: str, arguments: Values) -> Any:
        """Call a database function by named arguments and return its value (a list for set-returning ones)."""
        found = await self._function(function, arguments)
        given = sql.SQL(", ").join(
            sql.SQL("{} => %s::{}").format(sql.Identifier(name), sql.SQL(found.arguments[name])) for name in arguments
        )
        shape = sql.SQL("SELECT * FROM {}({})") if found.is_record else sql.SQL("SELECT {}({}) AS value")
        values = [_adapt(value, found.arguments[name]) for name, value in arguments.items()]
        async with self._statements(function) as session:
            rows = await session.fetch(shape.format(table_name(function), given), values)
        results = rows if found.is_record else [row["value"] for row in rows]
        if found.is_set:
            return results
        return results[0] if results and not found.is_void else None

    async def close(self) -> None:
        """Nothing of its own to release."""

    async def _write(self, table: str, rows: Sequence[Values], conflict: sql.Composable) -> list[Row]:
        if not rows:
            return []
        names = list(dict.fromkeys(name for row in rows for name in row))
        types = await self._columns(table, names)
        size = max(1, MAX_PARAMETERS // max(1, len(names)))
        stored: list[Row] = []
        async with self._statements(table) as session:
            for start in range(0, len(rows), size):
                query, values = _insertion(table, rows[start : start + size], names, types)
                stored += await session.fetch(query + conflict + sql.SQL(" RETURNING *"), values)
        return stored

    async def _columns(self, table: str, used: Sequence[str]) -> dict[str, str]:
        """Type of each column; read again when a name is missing, since a migration may have added it."""
        types = self._types.get(table, {})
        if not types or any(name not in types for name in used):
            identifier = ".".join(f'"{part}"' for part in table.replace('"', '""').split("."))
            found = await self._database.fetch(_COLUMNS, [identifier])
            types = self._types[table] = {row["name"]: row["type"] for row in found}
        if not types:
            raise ContractViolation(f"table '{table}' is not in the database; see `e2i db migrate --status`")
        for name in used:
            if name not in types:
                raise UnknownColumn(name, list(types), role=f"column of {table}")
        return types

    async def _function(self, function: str, arguments: Values) -> _Function:
        found = [
            _Function(
                is_set=row["is_set"],
                is_record=bool(row["is_record"]),
                is_void=row["is_void"],
                arguments=dict(zip(row["names"], row["types"], strict=False)),
            )
            for row in await self._database.fetch(_FUNCTIONS, [function])
        ]
        if not found:
            raise ContractViolation(f"function '{function}' is not in the database; see `e2i db migrate --status`")
        for candidate in found:
            if set(arguments) <= set(candidate.arguments):
                return candidate
        wrong = next(name for name in arguments if name not in found[0].arguments)
        raise ContractViolation(
            f"function '{function}' has no argument '{wrong}'; {nearest_names(wrong, found[0].arguments)}"
        )

    @asynccontextmanager
    async def _statements(self, subject: str) -> AsyncIterator[Session]:
        """A transaction whose SQL errors are about ``subject``."""
        try:
            async with self._database.transaction() as session:
                yield session
        except psycopg.Error as error:
            if is_unavailable(error):
                raise
            raise ContractViolation(f"{subject}: {error.diag.message_primary or error}") from error


def _insertion(
    table: str, rows: Sequence[Values], names: Sequence[str], types: Mapping[str, str]
) -> tuple[sql.Composed, list[Any]]:
    """INSERT of some rows; what a row does not name gets the column's default."""
    if not names:
        names = list(types)
    tuples = sql.SQL(", ").join(
        sql.SQL("({})").format(
            sql.SQL(", ").join(_placeholder(types[name]) if name in row else sql.SQL("DEFAULT") for name in names)
        )
        for row in rows
    )
    values = [_adapt(row[name], types[name]) for row in rows for name in names if name in row]
    return sql.SQL("INSERT INTO {} ({}) VALUES {}").format(table_name(table), _names(names), tuples), values


def _condition(where: Sequence[Where], types: Mapping[str, str]) -> tuple[sql.Composed, list[Any]]:
    """WHERE clause (empty for no conditions) and its values."""
    if not where:
        return sql.Composed([]), []
    parts: list[sql.Composable] = []
    values: list[Any] = []
    for item in where:
        part, bound = _comparison(item, types[item.column])
        parts.append(part)
        values += bound
    return sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(parts)), values


def _comparison(item: Where, type_name: str) -> tuple[sql.Composed, list[Any]]:
    check_where(item)
    column = sql.Identifier(item.column)
    if item.op is Op.IS:
        word = {None: "NULL", True: "TRUE", False: "FALSE"}[item.value]
        return sql.SQL("{} IS {}").format(column, sql.SQL(word)), []
    if item.op is Op.IN:
        values = [_adapt(value, type_name) for value in item.value]
        return sql.SQL("{} = ANY (%s::{}[])").format(column, sql.SQL(type_name)), [values]
    comparison = sql.SQL("{} {} {}").format(column, _COMPARISONS[item.op], _placeholder(type_name))
    return comparison, [_adapt(item.value, type_name)]


def _ordering(item: OrderBy) -> sql.Composed:
    return sql.SQL("{} {}").format(sql.Identifier(item.column), sql.SQL("DESC" if item.descending else "ASC"))


def _names(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _placeholder(type_name: str) -> sql.Composable:
    """Bound value; arrays are cast, since the elements of a Python list do not tell uuid from text."""
    return sql.SQL("%s::{}").format(sql.SQL(type_name)) if type_name.endswith("[]") else sql.SQL("%s")


def _adapt(value: Any, type_name: str) -> Any:
    return Jsonb(value) if type_name in ("json", "jsonb") and value is not None else value
