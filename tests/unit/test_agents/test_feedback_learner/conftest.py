"""One real database for the tests of stored evaluations, its rows deleted before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from src.storage.database import Database
from src.storage.evaluation_results import EvaluationRepository
from src.storage.gateway import TableGateway
from src.storage.postgres_gateway import PostgresGateway
from tests.shared_database import cloned_database


@pytest.fixture(scope="session")
def evaluations_url(postgres_dsn: str, template_database: str) -> Iterator[str]:
    with cloned_database(postgres_dsn, template_database, "evaluation_rows") as url:
        yield url


@pytest.fixture
async def gateway(evaluations_url: str) -> AsyncIterator[TableGateway]:
    async with Database.open(evaluations_url) as database:
        for table in ("evaluation_results", "learning_signals", "rag_interactions"):
            await database.execute(f"DELETE FROM {table}")
        yield PostgresGateway(database)


@pytest.fixture
def repository(gateway: TableGateway) -> EvaluationRepository:
    return EvaluationRepository(gateway)
