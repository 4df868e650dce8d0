"""Does Database run SQL safely, all or nothing, and say plainly when the server is gone?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg
import pytest

from src.errors import DatabaseUnavailable
from src.storage.connection import Source, connect, resolve_dsn
from src.storage.database import Database, json_value
from tests.conftest import in_database


@pytest.fixture
async def empty_db(empty_database_url: str) -> AsyncIterator[Database]:
    async with Database.open(empty_database_url) as database:
        await database.execute("CREATE TABLE t (n integer PRIMARY KEY, j jsonb, at timestamptz)")
        yield database


def password_of(dsn: str) -> str:
    password = urlsplit(dsn).password
    assert password
    return password


async def test_values_are_bound_and_never_run(empty_db: Database) -> None:
    text = "'); DROP TABLE t; --"
    row = await empty_db.fetchrow("SELECT %s AS text, %s::int AS n", [text, 5])
    assert row == {"text": text, "n": 5}
    assert await empty_db.fetchrow("SELECT %(a)s::int AS a", {"a": 1}) == {"a": 1}
    assert await empty_db.fetchrow("SELECT n FROM t WHERE n = %s", [1]) is None


async def test_values_come_as_plain_python_objects(empty_db: Database) -> None:
    row = await empty_db.fetchrow(
        "SELECT 1.5::numeric AS x, gen_random_uuid() AS id, %s::jsonb AS j, timestamptz '2026-01-01 00:00+05' AS at",
        [{"a": [1]}],
    )
    assert row is not None
    assert (type(row["x"]), type(row["id"]), row["j"]) == (float, str, {"a": [1]})
    assert (row["at"], row["at"].utcoffset()) == (datetime(2025, 12, 31, 19, tzinfo=UTC), timedelta(0))


async def test_a_transaction_is_all_or_nothing(empty_db: Database) -> None:
    async def fail() -> None:
        async with empty_db.transaction() as session:
            assert await session.execute("INSERT INTO t (n) VALUES (1), (2)") == 2
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail()
    assert await empty_db.fetch("SELECT * FROM t") == []
    async with empty_db.transaction() as session:
        await session.execute("INSERT INTO t (n) VALUES (1)")
    assert len(await empty_db.fetch("SELECT * FROM t")) == 1


async def test_copy_stores_all_rows_or_none(empty_db: Database) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [(n, json_value([n]), moment) for n in range(1000)]
    assert await empty_db.copy_rows("public.t", ["n", "j", "at"], rows) == 1000
    assert await empty_db.fetchrow("SELECT j, at FROM t WHERE n = 7") == {"j": [7], "at": moment}
    with pytest.raises(psycopg.errors.UniqueViolation):
        await empty_db.copy_rows("t", ["n"], [(n,) for n in (5000, 5001, 7)])
    assert await empty_db.fetchrow("SELECT count(*) AS n FROM t") == {"n": 1000}


async def test_many_statements_at_once_share_the_pool(empty_db: Database) -> None:
    rows = await asyncio.gather(*(empty_db.fetchrow("SELECT %s::int AS n", [n]) for n in range(50)))
    assert [row["n"] for row in rows if row] == list(range(50))


async def test_an_error_of_the_sql_is_not_called_an_outage(empty_db: Database) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        await empty_db.fetch("SELECT * FROM nowhere")


async def test_ended_sessions_are_replaced(empty_db: Database) -> None:
    await empty_db.fetch("SELECT 1")
    await empty_db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    rows = await asyncio.gather(*(empty_db.fetchrow("SELECT 1 AS one") for _ in range(8)))
    assert rows == [{"one": 1}] * 8


async def test_a_session_that_is_ended_under_a_statement_is_an_outage(empty_db: Database, postgres_dsn: str) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        await empty_db.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("broken", ["port", "password", "database", "syntax"])
async def test_no_connection_is_one_line_without_the_password(postgres_dsn: str, broken: str) -> None:
    password = password_of(postgres_dsn)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dsn = {
            "port": postgres_dsn.replace(f":{urlsplit(postgres_dsn).port}/", f":{closed.getsockname()[1]}/"),
            "password": postgres_dsn.replace(password, password[::-1] + "x"),
            "database": in_database(postgres_dsn, "absent"),
            "syntax": f"password={password} nonsense",
        }[broken]
        with pytest.raises(DatabaseUnavailable) as caught:
            async with Database.open(dsn, patience_s=0.3):
                pytest.fail("connected")
    message = str(caught.value)
    assert "\n" not in message
    assert password not in message
    assert password[::-1] not in message


async def test_a_server_that_is_down_for_a_moment_is_waited_for(postgres_dsn: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = postgres_dsn.replace(f":{urlsplit(postgres_dsn).port}/", f":{closed.getsockname()[1]}/")
        addresses = iter([down, down, down])

        async def address() -> str:
            return next(addresses, postgres_dsn)

        async with Database.open(address, patience_s=10) as database:
            assert await database.fetchrow("SELECT 1 AS one") == {"one": 1}


def test_the_address_comes_from_the_environment_in_this_order() -> None:
    both = {"DATABASE_URL": "postgresql://a/b", "SUPABASE_DB_URL": "postgresql://c/d"}
    assert resolve_dsn(both).source is Source.DATABASE_URL
    assert resolve_dsn({**both, "DATABASE_URL": " "}).dsn == "postgresql://c/d"
    assert (resolve_dsn({}).source, resolve_dsn({}).dsn) == (Source.EMBEDDED, None)


async def test_connect_uses_database_url(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    async with connect() as database:
        row = await database.fetchrow("SELECT current_database() AS name")
    assert row == {"name": urlsplit(empty_database_url).path.strip("/")}
