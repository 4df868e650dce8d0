"""A clock that stands still, a breaker with small numbers, and a call that can be held in the middle."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import pytest

from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig

OUTAGE = ConnectionError("no route")


@dataclass
class Clock:
    """Seconds that pass only when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def make_breaker(clock: Callable[[], float], /, **settings: Any) -> CircuitBreaker:
    return CircuitBreaker("database", CircuitBreakerConfig(**settings), clock=clock)


def succeed() -> str:
    return "value"


def fail(error: BaseException = OUTAGE) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


def attempt(breaker: CircuitBreaker, body: Callable[[], Any]) -> BaseException | None:
    """Call once; the exception that came out, if any."""
    try:
        breaker.call(body)
    except BaseException as error:  # noqa: BLE001 - what comes out is what is tested
        return error
    return None


class _Held:
    def __await__(self) -> Generator[None, Any, Any]:
        return (yield)


class HeldCall:
    """One ``acall`` that has started its body and waits to be told how to end; needs no event loop."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._coroutine: Coroutine[Any, Any, Any] = breaker.acall(self._body)
        self._coroutine.send(None)  # raises what the breaker raises when it rejects

    @staticmethod
    async def _body() -> Any:
        return await _Held()

    def succeed(self) -> None:
        with pytest.raises(StopIteration) as ended:
            self._coroutine.send("value")
        assert ended.value.value == "value"

    def fail(self, error: BaseException) -> None:
        """End with ``error``, thrown at the point where the body waits, as the event loop cancels a task."""
        with pytest.raises(type(error)) as raised:
            self._coroutine.throw(error)
        assert raised.value is error

    def abandon(self) -> None:
        """What happens to a coroutine that nobody awaits any more."""
        self._coroutine.close()
