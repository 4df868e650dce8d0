"""Fixtures of the fault tests: a server that forks processes, and one spool with its two stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from src.scripted_servers.opik import ScriptedOpik
from tests.faults.harness import ForkServer, Rig


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    server = ForkServer(tmp_path_factory.mktemp("var"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def fault_database(postgres_dsn: str, template_database: str) -> Iterator[str]:
    """Address of one migrated database for all fault tests: making a hundred would take longer than the tests."""
    name = "faults"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def opik() -> Iterator[ScriptedOpik]:
    with ScriptedOpik() as server:
        yield server


@pytest.fixture
def rig(fork_server: ForkServer, tmp_path: Path, fault_database: str, opik: ScriptedOpik) -> Iterator[Rig]:
    rig = Rig(fork_server, tmp_path, fault_database, opik)
    yield rig
    rig.close()
