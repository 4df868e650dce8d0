"""Run SQL, insert rows, and know what a refusal looks like."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

Row = dict[str, Any]
REFUSED = (psycopg.errors.IntegrityError, psycopg.errors.DataError)


class SqlSession:
    """Statements in one transaction, each undone alone when it is refused."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, query: str, *parameters: Any) -> list[Row]:
        """All rows of a query."""
        with self._connection.transaction():
            return self._connection.execute(query.encode(), [_plain(value) for value in parameters]).fetchall()

    def row(self, query: str, *parameters: Any) -> Row:
        """The only row of a query."""
        (row,) = self.rows(query, *parameters)
        return row

    def value(self, expression: str, *parameters: Any) -> Any:
        """The value of an SQL expression."""
        return self.row(f"SELECT {expression} AS value", *parameters)["value"]

    def add(self, table: str, **values: Any) -> Row:
        """Insert one row and return it as stored."""
        places = ", ".join(["%s"] * len(values))
        return self.row(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places}) RETURNING *", *values.values())

    def change(self, statement: str, *parameters: Any) -> None:
        """Run a statement that returns nothing."""
        with self._connection.transaction():
            self._connection.execute(statement.encode(), [_plain(value) for value in parameters])


def _plain(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict) or (isinstance(value, list) and not value) else value
