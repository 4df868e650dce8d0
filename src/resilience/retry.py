"""How often and when is a failed call tried again?"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from src.resilience.outages import is_outage, retry_after_seconds

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter; a ``Retry-After`` header is a lower bound of the wait.

    ``attempts`` counts the first call too. Source of full jitter: M. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int = 3
    first_delay_s: float = 0.5
    max_delay_s: float = 10.0

    def delay_s(self, failures: int, error: BaseException | None = None, rng: random.Random | None = None) -> float:
        """Seconds to wait after the ``failures``-th failure in a row (1, 2, …)."""
        ceiling = min(self.max_delay_s, self.first_delay_s * 2.0 ** min(failures - 1, 60))
        asked = retry_after_seconds(error) if error is not None else None
        jittered = (rng or random).uniform(ceiling / 2, ceiling)
        return jittered if asked is None else max(jittered, asked)


async def retry_async(
    function: Callable[[], Awaitable[Value]],
    policy: RetryPolicy,
    *,
    retry_on: Callable[[BaseException], bool] = is_outage,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> Value:
    """Await ``function()`` until it succeeds, the attempts are used up or the error is not worth a retry.

    The last error leaves unchanged.
    """
    import tenacity

    async def wait(seconds: float) -> None:
        import asyncio

        await (sleep or asyncio.sleep)(seconds)

    def delay(state: tenacity.RetryCallState) -> float:
        return policy.delay_s(state.attempt_number, state.outcome.exception() if state.outcome else None)

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(policy.attempts),
        wait=delay,
        retry=tenacity.retry_if_exception(retry_on),
        sleep=wait,
        reraise=True,
    )
    return await retrying(function)


def retry_sync(
    function: Callable[[], Value],
    policy: RetryPolicy,
    *,
    retry_on: Callable[[BaseException], bool] = is_outage,
    sleep: Callable[[float], None] | None = None,
) -> Value:
    """The same for a blocking call."""
    import time

    import tenacity

    def delay(state: tenacity.RetryCallState) -> float:
        return policy.delay_s(state.attempt_number, state.outcome.exception() if state.outcome else None)

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(policy.attempts),
        wait=delay,
        retry=tenacity.retry_if_exception(retry_on),
        sleep=sleep or time.sleep,
        reraise=True,
    )
    return retrying(function)
