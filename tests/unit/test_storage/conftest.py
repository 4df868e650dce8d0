"""Repositories of the model lifecycle over one real database, its rows deleted before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from src.storage.database import Database
from src.storage.gateway import TableGateway
from src.storage.postgres_gateway import PostgresGateway
from tests.shared_database import cloned_database

TABLES = (
    *("ml_deployments", "ml_shap_analyses", "ml_training_runs", "ml_model_registry"),
    *("ml_hpo_studies", "ml_experiments"),
)


@pytest.fixture(scope="session")
def lifecycle_url(postgres_dsn: str, template_database: str) -> Iterator[str]:
    with cloned_database(postgres_dsn, template_database, "lifecycle_rows") as url:
        yield url


@pytest.fixture
async def db(lifecycle_url: str) -> AsyncIterator[Database]:
    async with Database.open(lifecycle_url) as database:
        for table in TABLES:
            await database.execute(f"DELETE FROM {table}")
        yield database


@pytest.fixture
def gateway(db: Database) -> TableGateway:
    return PostgresGateway(db)


@pytest.fixture
async def fresh(database_url: str) -> AsyncIterator[Database]:
    """A database of the test's own: what is appended to the ledger of changes cannot be deleted."""
    async with Database.open(database_url) as database:
        yield database
