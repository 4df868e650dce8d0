"""Do the breaker's rules hold when many threads and tasks call at once, and when they are cut off?"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from random import Random
from typing import Any

import pytest

from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, CircuitState
from tests.unit.test_resilience.breakers import Clock, HeldCall, attempt, fail, make_breaker, succeed

THREADS = 32
PATIENCE = 20


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns a thousand times as often, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(body: Callable[[int], Any]) -> list[Any]:
    """Run ``body(number)`` in all threads at once."""
    together = threading.Barrier(THREADS)

    def start(number: int) -> Any:
        together.wait(PATIENCE)
        return body(number)

    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(start, number) for number in range(THREADS)]
        assert not wait(jobs, timeout=PATIENCE).not_done
        return [job.result() for job in jobs]


def half_open(**settings: Any) -> CircuitBreaker:
    clock = Clock()
    breaker = make_breaker(clock, **settings)
    breaker.force_open()
    clock.now += 30
    return breaker


def test_of_32_threads_three_probe_and_29_are_rejected() -> None:
    breaker = half_open(success_threshold=3)
    rejected, all_rejected = [], threading.Event()

    def probe() -> None:
        assert all_rejected.wait(PATIENCE)

    def call(number: int) -> None:
        try:
            breaker.call(probe)
        except CircuitOpenError:
            rejected.append(number)
            if len(rejected) == THREADS - 3:
                all_rejected.set()

    in_threads(call)
    assert len(rejected) == breaker.metrics.rejected == 29
    assert (breaker.metrics.total, breaker.metrics.successful) == (3, 3)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.usefixtures("eager_switching")
def test_under_hammering_no_more_than_three_probes_ever_run_at_once() -> None:
    breaker = half_open(success_threshold=10**9)
    running, most = set[int](), [0]

    def hammer(number: int) -> Counter[str]:
        rng, seen = Random(number), Counter[str]()

        def probe() -> None:
            running.add(number)
            most[0] = max(most[0], len(running))
            try:
                if rng.random() < 0.5:
                    raise ValueError
            finally:
                running.discard(number)

        for _ in range(300):
            error = attempt(breaker, probe)
            seen[type(error).__name__] += 1
        return seen

    seen = sum(in_threads(hammer), Counter[str]())
    assert 1 <= most[0] <= 3
    assert seen.total() == THREADS * 300
    assert breaker.metrics.successful == breaker.metrics.total == seen["NoneType"]
    assert breaker.metrics.rejected == seen["CircuitOpenError"]
    breaker.call(succeed)  # every slot came back


@pytest.mark.usefixtures("eager_switching")
def test_counts_add_up_and_changes_are_told_in_order_while_the_service_comes_and_goes() -> None:
    clock, told = Clock(), list[tuple[str, str]]()
    breaker = CircuitBreaker(
        "x",
        CircuitBreakerConfig(failure_threshold=2, reset_timeout_seconds=1, success_threshold=2),
        clock=clock,
        on_state_change=lambda before, after: told.append((before.value, after.value)),
    )

    def hammer(number: int) -> Counter[str]:
        rng, seen = Random(number), Counter[str]()
        bodies = [succeed, succeed, fail(), fail(), fail(ValueError())]
        for _ in range(300):
            error = attempt(breaker, rng.choice(bodies))
            seen[type(error).__name__] += 1
            if isinstance(error, CircuitOpenError):
                clock.now += 0.1
        return seen

    seen, metrics = sum(in_threads(hammer), Counter[str]()), breaker.metrics
    assert metrics.total == metrics.successful + metrics.failed
    assert metrics.successful == seen["NoneType"]
    assert metrics.failed == seen["ConnectionError"]
    assert metrics.rejected == seen["CircuitOpenError"] > 0
    assert metrics.state_changes == len(told) > 10
    assert metrics.times_opened == [after for _, after in told].count("open")
    assert [before for before, _ in told] == ["closed"] + [after for _, after in told[:-1]]
    assert told[-1][1] == breaker.state.value


def test_a_slow_listener_holds_up_nobody_else() -> None:
    told, go_on = threading.Event(), threading.Event()

    def listener(before: CircuitState, after: CircuitState) -> None:
        told.set()
        assert go_on.wait(PATIENCE)

    breaker = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=1), clock=Clock(), on_state_change=listener)
    first = threading.Thread(target=attempt, args=(breaker, fail()))
    first.start()
    assert told.wait(PATIENCE)
    assert isinstance(attempt(breaker, succeed), CircuitOpenError)
    assert breaker.get_status()["rejected"] == 1
    breaker.reset()
    go_on.set()
    first.join(PATIENCE)
    assert breaker.get_status()["listener_error"] is None
    assert breaker.call(succeed) == "value"


def abandoned_call(breaker: CircuitBreaker) -> None:
    """Start a call that nobody can end any more but the garbage collector."""
    cycle: list[Any] = [HeldCall(breaker)]
    cycle.append(cycle)


@pytest.mark.parametrize("reading", [CircuitBreaker.get_status, lambda breaker: breaker.call(succeed)])
def test_a_call_that_the_garbage_collector_ends_in_the_middle_of_another_neither_hangs_nor_miscounts(
    reading: Callable[[CircuitBreaker], Any],
) -> None:
    def collecting_clock() -> float:
        gc.collect()  # the clock is read under the lock
        return 0.0

    breaker = make_breaker(collecting_clock)
    abandoned_call(breaker)
    worker = threading.Thread(target=reading, args=(breaker,), daemon=True)
    worker.start()
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert breaker.metrics.total == breaker.metrics.successful


def test_a_probe_that_the_garbage_collector_ends_frees_its_slot() -> None:
    breaker = half_open(half_open_max_calls=1)
    abandoned_call(breaker)
    gc.collect()
    assert breaker.call(succeed) == "value"


# asyncio


async def start_hanging(breaker: CircuitBreaker) -> asyncio.Task[None]:
    task = asyncio.create_task(breaker.acall(asyncio.Event().wait))
    await asyncio.sleep(0)
    return task


async def value() -> str:
    return "value"


async def test_a_cancelled_probe_frees_its_slot() -> None:
    breaker = half_open(half_open_max_calls=2, success_threshold=1)
    tasks = [await start_hanging(breaker) for _ in range(2)]
    with pytest.raises(CircuitOpenError):
        await breaker.acall(value)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert breaker.state is CircuitState.HALF_OPEN
    assert await breaker.acall(value) == "value"
    assert breaker.state is CircuitState.CLOSED
    tasks[1].cancel()
    await asyncio.wait(tasks)


async def test_a_task_cancelled_before_its_first_step_takes_no_slot() -> None:
    breaker = half_open(half_open_max_calls=1, success_threshold=1)
    task = asyncio.create_task(breaker.acall(value))
    task.cancel()
    await asyncio.wait([task])
    assert breaker.metrics.total == 0
    assert await breaker.acall(value) == "value"


async def test_a_time_limit_inside_the_body_counts_and_one_outside_does_not() -> None:
    breaker = make_breaker(Clock(), failure_threshold=1)

    async def hang() -> None:
        await asyncio.Event().wait()

    async def limited() -> None:
        async with asyncio.timeout(0.001):
            await hang()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await breaker.acall(hang)
    assert breaker.state is CircuitState.CLOSED
    with pytest.raises(TimeoutError):
        await breaker.acall(limited)
    assert breaker.state is CircuitState.OPEN


async def test_of_32_tasks_three_probe_at_once() -> None:
    breaker = half_open(success_threshold=3)
    together = asyncio.Event()
    tasks = [asyncio.create_task(breaker.acall(together.wait)) for _ in range(32)]
    await asyncio.sleep(0)
    together.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert Counter(type(result).__name__ for result in results) == {"bool": 3, "CircuitOpenError": 29}
    assert breaker.state is CircuitState.CLOSED


async def test_a_body_that_cannot_be_awaited_is_a_mistake_of_ours() -> None:
    breaker = half_open(half_open_max_calls=1)
    for _ in range(2):
        with pytest.raises(TypeError):
            await breaker.acall(succeed)  # type: ignore[arg-type]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError()])
def test_an_interrupted_probe_frees_its_slot(interruption: BaseException) -> None:
    breaker = half_open(half_open_max_calls=1, success_threshold=1)
    HeldCall(breaker).fail(interruption)
    assert attempt(breaker, fail(interruption)) is interruption
    assert breaker.call(succeed) == "value"
    assert breaker.metrics.failed == 0
