"""Is a failed call repeated when that can help, as often and as late as the policy says?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import ConfigError
from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError
from src.resilience.retry import RetryPolicy, retry_async

NO_WAIT = RetryPolicy(attempts=3, first_delay_s=0, max_delay_s=0)


@dataclass
class Service:
    """Fails with each of ``errors`` in turn, then answers; notes the waits between the calls."""

    errors: list[BaseException]
    calls: int = 0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= len(self.errors):
            raise self.errors[self.calls - 1]
        return "answer"

    async def ask(self) -> str:
        return self()

    async def sleep_async(self, seconds: float) -> None:
        self.waits.append(seconds)


Runner = Callable[..., Awaitable[str]]


async def run_async(service: Service, policy: RetryPolicy, **options: Any) -> str:
    return await retry_async(service.ask, policy, sleep=service.sleep_async, **options)


@pytest.fixture
def run() -> Runner:
    return run_async


def http_error(code: int, retry_after: str | None = None) -> httpx.HTTPStatusError:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    request = httpx.Request("GET", "http://x")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(code, headers=headers, request=request))


async def test_a_call_that_succeeds_is_made_once(run: Runner) -> None:
    service = Service([])
    assert await run(service, NO_WAIT) == "answer"
    assert (service.calls, service.waits) == (1, [])


async def test_outages_are_retried_until_the_answer(run: Runner) -> None:
    service = Service([ConnectionError(), http_error(503)])
    assert await run(service, NO_WAIT) == "answer"
    assert service.calls == 3


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_the_first_call_counts_and_the_last_error_leaves_unchanged(run: Runner, attempts: int) -> None:
    errors: list[BaseException] = [ConnectionError(str(number)) for number in range(9)]
    service = Service(errors)
    with pytest.raises(ConnectionError) as caught:
        await run(service, RetryPolicy(attempts, 0, 0))
    assert caught.value is errors[attempts - 1]
    assert caught.value.__cause__ is None
    assert (service.calls, len(service.waits)) == (attempts, attempts - 1)


@pytest.mark.parametrize(
    "error",
    [ValueError(), KeyError(), http_error(400), http_error(401), RuntimeError(), CircuitOpenError("x", 30.0)],
    ids=lambda error: type(error).__name__,
)
async def test_only_outages_that_may_pass_are_retried(run: Runner, error: Exception) -> None:
    service = Service([error])
    with pytest.raises(type(error)) as caught:
        await run(service, NO_WAIT)
    assert caught.value is error
    assert service.calls == 1


async def test_a_mistake_after_an_outage_leaves_at_once(run: Runner) -> None:
    service = Service([ConnectionError(), ValueError("ours")])
    with pytest.raises(ValueError, match="ours"):
        await run(service, NO_WAIT)
    assert service.calls == 2


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(1)])
async def test_cancellation_is_not_retried_even_when_everything_else_is(run: Runner, error: BaseException) -> None:
    service = Service([error])
    with pytest.raises(type(error)):
        await run(service, NO_WAIT, retry_on=lambda _: True)
    assert service.calls == 1


async def test_cancellation_ends_the_wait() -> None:
    service = Service([ConnectionError()])
    task = asyncio.create_task(retry_async(service.ask, RetryPolicy(first_delay_s=3600, max_delay_s=3600)))
    while not service.calls:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.calls == 1


async def test_the_caller_may_say_what_is_retried(run: Runner) -> None:
    service = Service([ValueError(), ValueError()])
    assert await run(service, NO_WAIT, retry_on=lambda error: isinstance(error, ValueError)) == "answer"
    assert service.calls == 3


async def test_waits_grow_up_to_the_longest(run: Runner) -> None:
    service = Service([ConnectionError()] * 6)
    await run(service, RetryPolicy(attempts=7, first_delay_s=1, max_delay_s=8))
    assert len(service.waits) == 6
    for wait, ceiling in zip(service.waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert ceiling / 2 <= wait <= ceiling


async def test_retry_after_is_a_lower_bound_of_the_wait(run: Runner) -> None:
    service = Service([http_error(429, "30"), http_error(429, "0.001")])
    await run(service, RetryPolicy(first_delay_s=1, max_delay_s=10))
    assert service.waits[0] == 30
    assert 1 <= service.waits[1] <= 2, "a shorter one does not shorten the back-off"


async def test_a_service_that_asks_for_more_patience_than_allowed_is_not_called_again(run: Runner) -> None:
    service = Service([http_error(503, "86400")])
    with pytest.raises(httpx.HTTPStatusError):
        await run(service, RetryPolicy(longest_wait_s=60))
    assert (service.calls, service.waits) == (1, [])


@given(
    failures=st.integers(1, 10_000),
    first=st.just(0.0) | st.floats(1e-6, 100),
    longest=st.floats(0, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_wait_lies_between_half_the_ceiling_and_the_ceiling(
    failures: int, first: float, longest: float, seed: int
) -> None:
    policy = RetryPolicy(first_delay_s=first, max_delay_s=longest)
    ceiling = first
    for _ in range(min(failures, 2000) - 1):  # doubling one by one, as an independent oracle
        ceiling = min(2 * ceiling, longest)
    ceiling = min(ceiling, longest)
    wait = policy.delay_s(failures, rng=random.Random(seed))
    assert ceiling / 2 - 1e-9 <= wait <= ceiling + 1e-9


def test_waits_are_spread_so_that_clients_do_not_return_together() -> None:
    rng = random.Random(7)
    waits = sorted(RetryPolicy(first_delay_s=8).delay_s(1, rng=rng) for _ in range(1000))
    assert waits[0] < 4.1
    assert waits[-1] > 7.9
    assert max(later - earlier for earlier, later in pairwise(waits)) < 0.1


def test_the_same_generator_gives_the_same_wait() -> None:
    policy = RetryPolicy()
    assert policy.delay_s(3, rng=random.Random(1)) == policy.delay_s(3, rng=random.Random(1))


async def test_an_open_circuit_ends_the_attempts(run: Runner) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=2))

    class Guarded(Service):
        def __call__(self) -> str:
            return breaker.call(super().__call__)

    service = Guarded([ConnectionError()] * 9)
    with pytest.raises(CircuitOpenError):
        await run(service, RetryPolicy(attempts=9, first_delay_s=0, max_delay_s=0))
    assert service.calls == 2
    assert breaker.metrics.rejected == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attempts": 0}, "retry: attempts must be at least 1, not 0"),
        ({"first_delay_s": -1.0}, "retry: first_delay_s must be a number of at least 0, not -1.0"),
        ({"max_delay_s": float("inf")}, "retry: max_delay_s must be a number of at least 0, not inf"),
        ({"longest_wait_s": float("nan")}, "retry: longest_wait_s must be a number of at least 0, not nan"),
    ],
)
def test_a_policy_that_makes_no_sense_is_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RetryPolicy(**settings)
    assert str(caught.value) == message
