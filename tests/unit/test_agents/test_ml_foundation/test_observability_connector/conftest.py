"""A connector that stores in a PostgreSQL database without spans, and the agent on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from src.agents.ml_foundation.observability_connector.agent import ObservabilityConnectorAgent
from src.agents.ml_foundation.observability_connector.metric_cache import MemoryCache
from src.agents.runtime import Deps
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.database_sink import DatabaseSink
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig
from src.storage.database import Database
from src.storage.traces import TraceRepository
from tests.shared_database import cloned_database
from tests.unit.test_agents.test_ml_foundation.test_observability_connector.parts import TTL, Clock, NoDatasets


@pytest.fixture(scope="module")
def shared_database_url(postgres_dsn: str, template_database: str) -> Iterator[str]:
    with cloned_database(postgres_dsn, template_database, "observability_connector") as url:
        yield url


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """Address of a database without spans: nothing else is written here."""
    with psycopg.connect(shared_database_url) as connection:
        connection.execute("TRUNCATE ml_observability_spans CASCADE")
    return shared_database_url


@pytest.fixture
def mirror() -> MemorySink:
    """Stands where Opik would."""
    return MemorySink("opik", primary=False)


@pytest.fixture
def connector(database_url: str, mirror: MemorySink, tmp_path: Path) -> Iterator[OpikConnector]:
    sink = DatabaseSink(lambda: database_url, CircuitBreaker("database", CircuitBreakerConfig()))
    opened = OpikConnector(sinks=[sink, mirror], spool=tmp_path / "spool")
    yield opened
    opened.close(1.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agent(connector: OpikConnector, db: Database, clock: Clock) -> ObservabilityConnectorAgent:
    return ObservabilityConnectorAgent(connector, TraceRepository(db), MemoryCache(10, clock), ttl=TTL, sla_seconds=60)


@pytest.fixture
def deps(connector: OpikConnector) -> Deps:
    return Deps(NoDatasets(), connector, str(uuid7()), str(uuid7()))
