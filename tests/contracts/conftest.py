"""Which adapters run the gateway suite, and on what database?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import psycopg
import pytest

from src.storage.database import Database
from src.storage.gateway import TableGateway
from src.storage.postgres_gateway import PostgresGateway
from src.storage.supabase_gateway import SupabaseGateway
from tests.conftest import in_database
from tests.contracts.postgrest_server import ServerMissing, postgrest_server

SCHEMA = Path(__file__).with_name("schema.sql")
ADAPTERS = ["postgres", pytest.param("supabase", marks=pytest.mark.requires_supabase)]


@pytest.fixture(scope="module")
def contract_dsn(postgres_dsn: str) -> Iterator[Callable[[str], str]]:
    """Address of the database of an adapter, made on first use with the suite's schema."""
    made: dict[str, str] = {}

    def address(adapter: str) -> str:
        if adapter not in made:
            name = f"contract_{adapter}"
            with psycopg.connect(postgres_dsn, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            made[adapter] = in_database(postgres_dsn, name)
            with psycopg.connect(made[adapter]) as connection:
                connection.execute(SCHEMA.read_text())
        return made[adapter]

    yield address
    for adapter in made:
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE contract_{adapter} WITH (FORCE)")


@pytest.fixture(scope="module")
def postgrest(
    contract_dsn: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], tuple[str, str]]]:
    """URL and key of the HTTP server, started on first use. Where it cannot run the suite fails."""
    with ExitStack() as running:
        problem: list[str] = []

        @cache
        def connect() -> tuple[str, str]:
            if not problem:
                try:
                    server = postgrest_server(contract_dsn("supabase"), tmp_path_factory.mktemp("postgrest"))
                    return running.enter_context(server)
                except ServerMissing as error:
                    problem.append(str(error))
            pytest.fail(problem[0], pytrace=False)

        yield connect


@pytest.fixture(params=ADAPTERS)
async def gateway(
    request: pytest.FixtureRequest,
    contract_dsn: Callable[[str], str],
    postgrest: Callable[[], tuple[str, str]],
) -> AsyncIterator[TableGateway]:
    """Each adapter in turn, on empty tables."""
    dsn = contract_dsn(request.param)
    with psycopg.connect(dsn) as connection:
        connection.execute("TRUNCATE things, parts")
    if request.param == "postgres":
        async with Database.open(dsn) as database:
            yield PostgresGateway(database)
        return
    gateway = SupabaseGateway(*postgrest())
    yield gateway
    await gateway.close()


@pytest.fixture(params=ADAPTERS)
async def dead_gateway(request: pytest.FixtureRequest, empty_database_url: str) -> AsyncIterator[TableGateway]:
    """Each adapter in turn, its server gone after it was made."""
    if request.param == "supabase":
        gateway = SupabaseGateway("http://127.0.0.1:9", "sb_secret_none")
        yield gateway
        await gateway.close()
        return
    async with Database.open(empty_database_url, patience_s=0.2) as database:
        with psycopg.connect(in_database(empty_database_url, "postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {empty_database_url.split('/')[-1].split('?')[0]} WITH (FORCE)")
            yield PostgresGateway(database)
            connection.execute(f"CREATE DATABASE {empty_database_url.split('/')[-1].split('?')[0]}")
