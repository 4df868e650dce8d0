"""A migrated database that several tests share, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.conftest import in_database


@contextmanager
def cloned_database(dsn: str, template: str, name: str) -> Iterator[str]:
    """Address of a new copy of ``template``, dropped at the end."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
    yield in_database(dsn, name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
