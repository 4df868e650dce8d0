"""When is a model called, how often, and how long is waited? Slots, circuit breaker, retries, one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from src.llm.client import LLMReply, LLMRequest, StreamPiece, Vendor
from src.llm.failures import BrokenReply, as_refusal, as_unavailable
from src.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from src.resilience.outages import is_outage, retry_after_seconds
from src.resilience.outcomes import Unavailable
from src.resilience.retry import RetryPolicy, retry_async

Value = TypeVar("Value")


class GuardedEndpoint:
    """At most ``concurrency`` requests at once; outages are retried within ``deadline_s`` and then a value.

    The deadline starts when a slot is free and covers retries and waits. A Retry-After beyond it ends the
    call at once. A stream is retried until its first piece; breaking off later ends it with Unavailable.
    """

    def __init__(
        self,
        vendor: Vendor,
        *,
        breaker: CircuitBreaker,
        retry: RetryPolicy,
        concurrency: int,
        deadline_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._vendor = vendor
        self._breaker = breaker
        self._retry = retry
        self._slots = asyncio.Semaphore(concurrency)
        self._deadline_s = deadline_s
        self._sleep = sleep

    @property
    def provider(self) -> str:
        """The vendor's name."""
        return self._vendor.provider

    async def send(self, request: LLMRequest) -> LLMReply | Unavailable:
        """Ask until there is a reply, a refusal, or no time left."""
        call = _Call(self, request)
        async with self._slots:
            try:
                reply = await call.within_deadline(lambda: call.retried(lambda: self._vendor.send(request)))
            except Exception as error:  # noqa: BLE001 - outages become values, everything else is raised
                return call.failed(error)
        return replace(reply, attempts=call.attempts)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPiece, None]:
        """Pieces of text, then the reply or Unavailable."""
        call = _Call(self, request)
        async with self._slots:
            try:
                first, rest = await call.within_deadline(lambda: call.retried(lambda: self._open(request)))
            except Exception as error:  # noqa: BLE001 - outages become values, everything else is raised
                yield call.failed(error)
                return
            async with aclosing(rest):
                piece: StreamPiece = first
                while isinstance(piece, str):
                    yield piece
                    try:
                        piece = await call.within_deadline(lambda: anext(rest))
                    except Exception as error:  # noqa: BLE001 - as above
                        piece = call.failed(error)
                yield replace(piece, attempts=call.attempts) if isinstance(piece, LLMReply) else piece

    async def _open(self, request: LLMRequest) -> tuple[str | LLMReply, AsyncGenerator[str | LLMReply, None]]:
        pieces = self._vendor.stream(request)
        try:
            return await anext(pieces), pieces
        except BaseException:
            await pieces.aclose()
            raise


class _Call:
    """One call with its attempts and its deadline."""

    def __init__(self, endpoint: GuardedEndpoint, request: LLMRequest) -> None:
        self._endpoint = endpoint
        self._request = request
        self._ends: float | None = None
        self.attempts = 0

    async def within_deadline(self, function: Callable[[], Awaitable[Value]]) -> Value:
        clock = asyncio.get_running_loop().time
        if self._ends is None:
            self._ends = clock() + self._endpoint._deadline_s
        async with asyncio.timeout_at(self._ends):
            return await function()

    async def retried(self, function: Callable[[], Awaitable[Value]]) -> Value:
        async def attempt() -> Value:
            self.attempts += 1
            return await function()

        return await retry_async(
            lambda: self._endpoint._breaker.acall(attempt),
            self._endpoint._retry,
            retry_on=self._worth_another_try,
            sleep=self._endpoint._sleep,
        )

    def _worth_another_try(self, error: BaseException) -> bool:
        if isinstance(error, CircuitOpenError) or not is_outage(error):
            return False
        left = (self._ends or 0.0) - asyncio.get_running_loop().time()
        return (retry_after_seconds(error) or 0.0) < left

    def failed(self, error: Exception) -> Unavailable:
        """The outage as a value; raises anything else."""
        if isinstance(error, StopAsyncIteration):
            error = BrokenReply("broke off its reply")
        if isinstance(error, CircuitOpenError) or is_outage(error):
            return as_unavailable(error, self._endpoint.provider, self.attempts)
        refusal = as_refusal(error, self._endpoint.provider, self._request.model)
        if refusal is None:
            raise error
        raise refusal from None
