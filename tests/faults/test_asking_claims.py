"""What is left to work with when many answers hold their claims, and when a connection is lost?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import psycopg
import pytest

from src.app.session import MOST_CLAIMS, open_session
from src.storage.database import Database


async def test_answers_that_hold_their_claims_leave_the_connections_to_work_with(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with open_session() as session, AsyncExitStack() as held:
        claims = [await held.enter_async_context(session.claim(f"run {number}")) for number in range(MOST_CLAIMS)]
        assert all(claims)
        found = await asyncio.gather(*(session.database.fetchrow("SELECT 1 AS one") for _ in range(16)))
        assert found == [{"one": 1}] * 16


async def test_a_claim_that_another_process_holds_is_not_given(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with open_session() as session:
        with psycopg.connect(database_url) as other, other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(hashtextextended('run', 0))")
            async with session.claim("run") as mine:
                assert not mine
        async with session.claim("run") as mine:
            assert mine


async def test_a_connection_that_the_server_ended_is_never_given_to_a_statement(db: Database) -> None:
    async with db.session() as session:
        row = await session.fetchrow("SELECT pg_backend_pid() AS pid")
    assert row is not None
    with psycopg.connect(db.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))
    again = await db.fetchrow("SELECT pg_backend_pid() AS pid")
    assert again is not None
    assert again["pid"] != row["pid"]


async def test_a_connection_in_use_is_not_asked_again_before_every_statement(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    execute = psycopg.AsyncConnection.execute

    async def told(self: psycopg.AsyncConnection, query: str, *args: object, **named: object) -> object:
        asked.append(query)
        return await execute(self, query, *args, **named)

    await db.fetchrow("SELECT 1")
    await db.fetchrow("SELECT 1")
    monkeypatch.setattr(psycopg.AsyncConnection, "execute", told)
    for _ in range(5):
        await db.fetchrow("SELECT 1")
    assert asked == ["SELECT 1"] * 5
