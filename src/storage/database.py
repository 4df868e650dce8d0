"""How is SQL run against PostgreSQL: pooled, with bound parameters, with one kind of error when it is gone?

Values come and go as plain Python objects: dict as jsonb, uuid as text, numeric as float,
timestamptz as UTC-aware datetime.
"""

from __future__ import annotations

import asyncio
import logging
import math
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb, JsonbDumper
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from src.errors import DatabaseUnavailable

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = psycopg.AsyncConnection[Row]
Query: TypeAlias = str | sql.SQL | sql.Composed
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
Address: TypeAlias = str | Callable[[], Awaitable[str]]

CONNECT_TIMEOUT_S = 10
ASKED_EVERY_S = 5.0
_MOMENTARY = ("Connection refused", "starting up", "shutting down", "recovery", "closed the connection")
_LOST_CLASSES = ("08", "28", "53", "57P")  # SQLSTATE: connection, authorisation, resources, operator intervention

# The pool logs each failed attempt; the caller gets it as DatabaseUnavailable.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class Session:
    """SQL on one connection, inside one transaction when it comes from ``Database.transaction``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def fetch(self, query: Query, parameters: Parameters = None) -> list[Row]:
        """All rows of a query."""
        cursor = await self.connection.execute(_text(query), parameters)
        return await cursor.fetchall()

    async def fetchrow(self, query: Query, parameters: Parameters = None) -> Row | None:
        """First row of a query, or None."""
        cursor = await self.connection.execute(_text(query), parameters)
        return await cursor.fetchone()

    async def execute(self, query: Query, parameters: Parameters = None) -> int:
        """Run a statement and return how many rows it touched (-1 where that means nothing)."""
        cursor = await self.connection.execute(_text(query), parameters)
        return cursor.rowcount

    async def copy_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Stream ``rows`` (values in the order of ``columns``) into ``table`` with COPY; returns their number.

        A list meant for a json column has to be wrapped in ``Jsonb``: bare lists are SQL arrays.
        """
        target = sql.SQL("COPY {} ({}) FROM STDIN").format(
            table_name(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        count = 0
        async with self.connection.cursor() as cursor, cursor.copy(target) as copy:
            for row in rows:
                await copy.write_row(row)
                count += 1
        return count


class Database:
    """A pool of connections to one PostgreSQL database. Get one from ``Database.open``."""

    def __init__(self, pool: AsyncConnectionPool[Connection], dsn: str, address: Address | None = None) -> None:
        self._pool = pool
        self.dsn = dsn
        self.address: Address = address or dsn

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Address, *, patience_s: float = 5.0, max_size: int = 8) -> AsyncIterator[Database]:
        """Connect and give a Database, closed at the end.

        ``address`` is a PostgreSQL URL, or a function that returns one for each new connection (it
        may bring the server up again first). A server that is momentarily gone is waited for, at
        most ``patience_s`` seconds, here and on every later call. Raises DatabaseUnavailable, one
        line and without the password.
        """
        dsn = await _first_connection(address, patience_s)
        pool = AsyncConnectionPool(
            (lambda: _checked_address(address)),
            connection_class=psycopg.AsyncConnection[Row],
            kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": None},
            min_size=0,
            max_size=max_size,
            timeout=3 * patience_s,  # waits for a busy connection as well as for a server that is coming back
            reconnect_timeout=3 * patience_s,
            configure=_configure,
            check=check_connection,
            open=False,
        )
        async with pool:
            yield cls(pool, dsn, address)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """One connection, each statement for itself."""
        with lost_connections():
            async with self._pool.connection() as connection:
                yield Session(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """One connection, all statements or none: an exception in the body rolls back."""
        async with self.session() as session, session.connection.transaction():
            yield session

    async def fetch(self, query: Query, parameters: Parameters = None) -> list[Row]:
        """All rows of a query."""
        async with self.session() as session:
            return await session.fetch(query, parameters)

    async def fetchrow(self, query: Query, parameters: Parameters = None) -> Row | None:
        """First row of a query, or None."""
        async with self.session() as session:
            return await session.fetchrow(query, parameters)

    async def execute(self, query: Query, parameters: Parameters = None) -> int:
        """Run a statement and return how many rows it touched (-1 where that means nothing)."""
        async with self.session() as session:
            return await session.execute(query, parameters)

    async def copy_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Stream all ``rows`` or none into ``table``; see ``Session.copy_rows``."""
        async with self.transaction() as session:
            return await session.copy_rows(table, columns, rows)


_checked: WeakKeyDictionary[psycopg.AsyncConnection[Any], float] = WeakKeyDictionary()


async def check_connection(connection: psycopg.AsyncConnection[Any]) -> None:
    """The check of a pool before it gives a connection away; raises psycopg.OperationalError for one that is lost.

    The server is asked only where it has sent something of its own accord, such as the end of the connection, or was
    not asked for ``ASKED_EVERY_S``: a question before each statement doubles the statements.
    """
    now = time.monotonic()
    if now - _checked.get(connection, -math.inf) < ASKED_EVERY_S and not _has_news(connection):
        return
    await AsyncConnectionPool.check_connection(connection)
    _checked[connection] = now


def _has_news(connection: psycopg.AsyncConnection[Any]) -> bool:
    if connection.closed:
        return True
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def table_name(name: str) -> sql.Identifier:
    """Quoted name of a table, with its schema where one is given."""
    return sql.Identifier(*name.split("."))


def json_value(value: Any) -> Jsonb:
    """Wrap a value for a json column; needed for lists and scalars, optional for dicts."""
    return Jsonb(value)


@contextmanager
def lost_connections() -> Iterator[None]:
    """Turn trouble with the connection into DatabaseUnavailable; errors of the SQL itself pass."""
    try:
        yield
    except (PoolTimeout, PoolClosed, TooManyRequests) as error:
        raise DatabaseUnavailable("the database cannot be reached: no connection came up in time") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if not is_unavailable(error):
            raise
        raise DatabaseUnavailable(f"the database is not available: {_first_line(error)}") from error


def is_unavailable(error: psycopg.Error) -> bool:
    """Whether an error means that the server is gone or refuses us, rather than that the SQL is wrong."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(_LOST_CLASSES)


def describe(dsn: str) -> str:
    """Where an address points to, for messages: host, port and database without user and password."""
    parts = conninfo_to_dict(dsn)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


async def _first_connection(address: Address, patience_s: float) -> str:
    deadline = time.monotonic() + patience_s
    while True:
        dsn = await _checked_address(address)
        try:
            connection = await psycopg.AsyncConnection.connect(dsn)
        except psycopg.OperationalError as error:
            momentary = any(sign in str(error) for sign in _MOMENTARY)
            if not momentary or time.monotonic() >= deadline:
                raise DatabaseUnavailable(
                    f"cannot connect to PostgreSQL at {describe(dsn)}: {_first_line(error)}"
                ) from error
            await asyncio.sleep(0.1)
        else:
            await connection.close()
            return dsn


async def _checked_address(address: Address) -> str:
    dsn = address if isinstance(address, str) else await address()
    try:
        return make_conninfo(dsn, connect_timeout=conninfo_to_dict(dsn).get("connect_timeout") or CONNECT_TIMEOUT_S)
    except psycopg.ProgrammingError:
        # The cause quotes the address, password included.
        raise DatabaseUnavailable(
            "the database address is not a PostgreSQL URL (postgresql://user:password@host:port/database)"
        ) from None


async def _configure(connection: Connection) -> None:
    adapters = connection.adapters
    adapters.register_dumper(dict, JsonbDumper)
    adapters.register_loader("numeric", FloatLoader)
    adapters.register_loader("uuid", TextLoader)
    await connection.execute("SET TIME ZONE 'UTC'")


def _text(query: Query) -> Any:
    return query


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
