"""Where are computed metrics kept for a while, so that dashboards do not ask the database each time?"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from src.errors import ConfigError, ServiceOutage, ServiceRefused
from src.mlops.tracing.configuration import CacheSettings

if TYPE_CHECKING:
    from redis.asyncio import Redis

REDIS_TIMEOUT_S = 0.5


class MetricCache(Protocol):
    """Bytes by key for a time. Raises ServiceOutage or ServiceRefused when the cache cannot be used."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none or its time is over."""
        ...

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep ``value`` for ``ttl_s`` seconds."""
        ...


class MemoryCache:
    """Keeps values in this process; beyond ``max_entries`` the one used longest ago goes."""

    def __init__(self, max_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none or its time is over."""
        expires, value = self._entries.get(key, (0.0, b""))
        if key not in self._entries:
            return None
        if self._clock() >= expires:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep ``value`` for ``ttl_s`` seconds."""
        self._entries[key] = (self._clock() + ttl_s, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


class RedisCache:
    """Keeps values in Redis or Valkey, shared by all processes; one short connection per call."""

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            self._client()
        except ValueError:  # its text may hold the address, and so the password
            raise ConfigError(
                "config/observability.yaml: cache.redis_url is not a Redis address (redis://host:port/0)"
            ) from None

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none or its time is over."""
        value: bytes | None = await self._do("get", key)
        return value

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep ``value`` for ``ttl_s`` seconds."""
        await self._do("set", key, value, px=max(1, round(ttl_s * 1000)))

    async def _do(self, command: str, *arguments: Any, **options: Any) -> Any:
        from redis.exceptions import AuthenticationError, RedisError
        from redis.exceptions import ConnectionError as Disconnected
        from redis.exceptions import TimeoutError as TooSlow

        try:
            async with self._client() as client:
                return await getattr(client, command)(*arguments, **options)
        except AuthenticationError as error:
            raise ServiceRefused("the metric cache (Redis) refuses the user or password of REDIS_URL") from error
        except (Disconnected, TooSlow, OSError) as error:
            raise ServiceOutage(f"the metric cache (Redis) cannot be reached: {_first_line(error)}") from error
        except RedisError as error:
            raise ServiceRefused(f"the metric cache (Redis) refuses: {_first_line(error)}") from error

    def _client(self) -> Redis:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        return Redis.from_url(
            self._url,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )


def open_cache(settings: CacheSettings, clock: Callable[[], float] = time.monotonic) -> MetricCache:
    """The cache that the configuration names; raises ConfigError."""
    if settings.backend == "memory":
        return MemoryCache(settings.max_entries, clock)
    return RedisCache(settings.redis_url)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
