"""How often and when is a failed call tried again?"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from src.errors import ConfigError
from src.resilience.circuit_breaker import CircuitOpenError
from src.resilience.outages import is_outage, retry_after_seconds

Value = TypeVar("Value")


def is_worth_repeating(error: BaseException) -> bool:
    """An outage that the next attempt may not meet; the rejection by an open circuit stands until its probe is due."""
    return is_outage(error) and not isinstance(error, CircuitOpenError)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with equal jitter; a ``Retry-After`` header is a lower bound of the wait.

    ``attempts`` counts the first call too. A service that asks for more than ``longest_wait_s`` is not
    called again: its error leaves at once. Source of equal jitter (half fixed, half random): M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int = 3
    first_delay_s: float = 0.5
    max_delay_s: float = 10.0
    longest_wait_s: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError(f"retry: attempts must be at least 1, not {self.attempts}")
        for name in ("first_delay_s", "max_delay_s", "longest_wait_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"retry: {name} must be a number of at least 0, not {getattr(self, name)}")

    def delay_s(self, failures: int, error: BaseException | None = None, rng: random.Random | None = None) -> float:
        """Seconds to wait after the ``failures``-th failure in a row (1, 2, …)."""
        ceiling = min(self.max_delay_s, self.first_delay_s * 2.0 ** min(failures - 1, 60))
        asked = retry_after_seconds(error) if error is not None else None
        jittered = (rng or random).uniform(ceiling / 2, ceiling)
        return jittered if asked is None else max(jittered, asked)

    def gives_up(self, failures: int, error: BaseException) -> bool:
        """True when the attempts are used up, or the service asks for a longer wait than allowed."""
        return failures >= self.attempts or (retry_after_seconds(error) or 0.0) > self.longest_wait_s


async def retry_async(
    function: Callable[[], Awaitable[Value]],
    policy: RetryPolicy,
    *,
    retry_on: Callable[[BaseException], bool] = is_worth_repeating,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> Value:
    """Await ``function()`` until it succeeds, the attempts are used up or the error is not worth a retry.

    The last error leaves unchanged; cancellation always leaves at once.
    """
    import asyncio

    import tenacity

    def failure(state: tenacity.RetryCallState) -> BaseException:
        error = state.outcome.exception() if state.outcome is not None else None
        assert error is not None  # tenacity asks only after a failure
        return error

    async def wait(seconds: float) -> None:
        await (sleep or asyncio.sleep)(seconds)

    retrying = tenacity.AsyncRetrying(
        sleep=wait,
        stop=lambda state: policy.gives_up(state.attempt_number, failure(state)),
        wait=lambda state: policy.delay_s(state.attempt_number, failure(state)),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Exception) and retry_on(error)),
        reraise=True,
    )
    return await retrying(function)
