"""One migrated database for the whole folder; every test's changes are rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import in_database
from tests.unit.test_database.sql_session import SqlSession


@pytest.fixture(scope="session")
def schema_database(postgres_dsn: str, template_database: str) -> Iterator[str]:
    name = "schema_tests"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}".encode())
    yield in_database(postgres_dsn, name)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def sql(schema_database: str) -> Iterator[SqlSession]:
    """A session whose work is undone; a refused statement leaves it usable."""
    connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(schema_database, row_factory=dict_row)
    with connection, connection.transaction(force_rollback=True):
        yield SqlSession(connection)
