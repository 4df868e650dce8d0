"""How is the store called? Off the event loop, through the one breaker, repeated while it is worth it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from src.errors import ServiceOutage
from src.mlops.mlflow.configuration import MlflowConfig
from src.mlops.mlflow.failures import NotConfigured, translated
from src.mlops.mlflow.store import Client, StoreAddress, open_client
from src.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from src.resilience.outcomes import Unavailable
from src.resilience.retry import retry_async

COMPONENT = "mlflow"

Value = TypeVar("Value")


class StoreCalls:
    """Calls to one store. Raises ServiceOutage when it cannot be reached and StoreRefused when it says no."""

    def __init__(
        self, config: MlflowConfig, address: StoreAddress | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.address = address
        self.breaker = CircuitBreaker(COMPONENT, config.circuit_breaker.breaker(), clock=clock)
        self._timeout_s = config.tracking.request_timeout
        self._retry = config.tracking.retry.policy()
        self._lock = threading.Lock()
        self._client: Client = None

    async def read(self, function: Callable[[Client], Value]) -> Value:
        """The value of ``function(client)``."""
        return await self.write(lambda client, _: function(client))

    async def read_or_unavailable(self, function: Callable[[Client], Value]) -> Value | Unavailable:
        """The same, with an unreachable store as a value."""
        try:
            return await self.read(function)
        except ServiceOutage as outage:
            return unavailable(outage)

    async def write(self, function: Callable[[Client, bool], Value]) -> Value:
        """The value of ``function(client, again)``; ``again`` after an attempt that may have had its effect.

        A cancelled caller waits until the attempt that runs has ended: what is stored is then known.
        """
        if self.address is None:
            raise NotConfigured("MLflow is not configured: tracking.uri is empty")
        attempts = 0

        async def attempt() -> Value:
            nonlocal attempts
            attempts += 1
            return await completed(asyncio.to_thread(self._attempt, function, attempts > 1))

        return await self.breaker.acall(lambda: retry_async(attempt, self._retry))

    def _attempt(self, function: Callable[[Client, bool], Value], again: bool) -> Value:
        client = self._opened()
        with translated():
            return function(client, again)

    def _opened(self) -> Client:
        with self._lock:
            if self._client is None and self.address is not None:
                self._client = open_client(self.address, timeout_s=self._timeout_s)
            return self._client


async def completed(work: Awaitable[Value]) -> Value:
    """Await ``work`` to its end; a cancellation meanwhile is delivered afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # seen: the cancellation is what the caller gets
        raise


def unavailable(outage: ServiceOutage) -> Unavailable:
    """An outage as a value."""
    after = outage.retry_after_s if isinstance(outage, CircuitOpenError) else None
    return Unavailable(COMPONENT, str(outage), after)
