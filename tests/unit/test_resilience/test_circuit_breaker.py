"""Does the breaker stop calling a failing service, and find out by itself when it is back?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from src.errors import ConfigError, ServiceOutage
from src.resilience.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitOpenError,
    CircuitState,
)
from tests.unit.test_resilience.breakers import OUTAGE, Clock, HeldCall, attempt, fail, make_breaker, succeed

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock, **settings: Any) -> CircuitBreaker:
    """A breaker that five outages opened just now."""
    breaker = make_breaker(clock, **settings)
    for _ in range(breaker.config.failure_threshold):
        attempt(breaker, fail())
    assert breaker.state is OPEN
    return breaker


def half_opened(clock: Clock, **settings: Any) -> CircuitBreaker:
    """A breaker whose first probe is due."""
    breaker = opened(clock, **settings)
    clock.now += breaker.config.reset_timeout_seconds
    return breaker


# Closed


def test_the_defaults_are_five_outages_thirty_seconds_three_probes_two_successes() -> None:
    assert CircuitBreakerConfig() == CircuitBreakerConfig(5, 30.0, 3, 2)


def test_the_fifth_outage_in_a_row_opens_the_circuit(clock: Clock) -> None:
    breaker = make_breaker(clock)
    for _ in range(4):
        assert attempt(breaker, fail()) is OUTAGE
        assert breaker.state is CLOSED
    assert attempt(breaker, fail()) is OUTAGE
    assert breaker.state is OPEN


def test_a_success_while_closed_resets_the_streak(clock: Clock) -> None:
    breaker = make_breaker(clock, failure_threshold=2)
    for body in (fail(), succeed, fail(), succeed, fail()):
        attempt(breaker, body)
    assert breaker.state is CLOSED
    attempt(breaker, fail())
    assert breaker.state is OPEN


def test_the_value_of_the_body_comes_back(clock: Clock) -> None:
    assert make_breaker(clock).call(succeed) == "value"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("negative count"),
        KeyError("brand"),
        TypeError("None"),
        AssertionError(),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        GeneratorExit(),
        CircuitOpenError("another service", 3.0),
    ],
    ids=lambda error: type(error).__name__,
)
class TestErrorsThatTellNothingAboutTheService:
    def test_they_leave_the_breaker_untouched_and_come_out_unchanged(self, clock: Clock, error: BaseException) -> None:
        breaker = make_breaker(clock, failure_threshold=2)
        attempt(breaker, fail())
        before, metrics = breaker.get_status(), breaker.metrics
        for _ in range(5):
            assert attempt(breaker, fail(error)) is error
        assert breaker.get_status() == before
        assert breaker.metrics == metrics
        attempt(breaker, fail())
        assert breaker.state is OPEN, "the streak went on where it was"

    def test_they_free_the_slot_of_a_probe(self, clock: Clock, error: BaseException) -> None:
        breaker = half_opened(clock, half_open_max_calls=1, success_threshold=1)
        for _ in range(5):
            assert attempt(breaker, fail(error)) is error
        assert breaker.state is HALF_OPEN
        breaker.call(succeed)
        assert breaker.state is CLOSED


def test_a_judge_that_calls_everything_an_outage_is_not_asked_about_cancellation(clock: Clock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=1), clock=clock, is_outage=lambda _: True)
    attempt(breaker, fail(asyncio.CancelledError()))
    assert breaker.state is CLOSED
    attempt(breaker, fail(ValueError()))
    assert breaker.state is OPEN


def test_a_judge_that_raises_does_not_keep_the_slot(clock: Clock) -> None:
    def broken(error: BaseException) -> bool:
        raise RuntimeError("judge")

    breaker = CircuitBreaker("x", CircuitBreakerConfig(half_open_max_calls=1), clock=clock, is_outage=broken)
    breaker.force_open()
    clock.now += 30
    for _ in range(3):
        assert str(attempt(breaker, fail())) == "judge"
    assert breaker.call(succeed) == "value"


# Open


def test_an_open_circuit_rejects_without_calling_and_says_when_to_come_back(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 12
    calls: list[int] = []
    with pytest.raises(
        CircuitOpenError, match=r"^database failed repeatedly and is not called for another 18\.0 s$"
    ) as e:
        breaker.call(lambda: calls.append(1))
    assert calls == []
    assert e.value.retry_after_s == pytest.approx(18)
    assert isinstance(e.value, ServiceOutage)


def test_a_rejected_call_counts_as_rejected_and_as_nothing_else(clock: Clock) -> None:
    breaker = opened(clock)
    before = breaker.metrics
    clock.now += 29.9
    for _ in range(50):
        attempt(breaker, succeed)
    after = breaker.metrics
    assert after.rejected == 50
    assert (after.total, after.failed, after.last_failure_at) == (before.total, before.failed, before.last_failure_at)


def test_constant_traffic_never_postpones_the_probe(clock: Clock) -> None:
    breaker = opened(clock)
    due = clock.now + 30
    waits = []
    while clock.now < due:
        waits.append(breaker.retry_after_s())
        assert isinstance(attempt(breaker, fail()), CircuitOpenError)
        clock.now += 0.125
    assert waits == [pytest.approx(30 - 0.125 * tick) for tick in range(240)]
    assert breaker.call(succeed) == "value"


def test_outages_of_calls_that_began_before_do_not_postpone_the_probe(clock: Clock) -> None:
    breaker = make_breaker(clock, failure_threshold=1)
    slow = HeldCall(breaker)
    attempt(breaker, fail())
    clock.now += 20
    slow.fail(ConnectionError("late"))
    assert breaker.retry_after_s() == pytest.approx(10)
    assert breaker.metrics.failed == 2


def test_a_success_of_a_call_that_began_before_does_not_close_the_circuit(clock: Clock) -> None:
    breaker = make_breaker(clock, failure_threshold=1, success_threshold=1)
    slow = HeldCall(breaker)
    attempt(breaker, fail())
    slow.succeed()
    assert breaker.state is OPEN


def test_the_probe_is_due_at_the_last_second_and_not_before(clock: Clock) -> None:
    breaker = opened(clock, reset_timeout_seconds=10)
    clock.now += 9.999
    assert not breaker.allow_request()
    clock.now += 0.001
    assert breaker.state is OPEN, "looking does not probe"
    assert breaker.allow_request()
    assert breaker.state is HALF_OPEN


# Half open


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_probes_than_allowed_run_at_once(clock: Clock, limit: int) -> None:
    breaker = half_opened(clock, half_open_max_calls=limit, success_threshold=9)
    probes = [HeldCall(breaker) for _ in range(limit)]
    with pytest.raises(CircuitOpenError, match="being probed right now") as caught:
        HeldCall(breaker)
    assert caught.value.retry_after_s == 0
    probes[0].succeed()
    probes.append(HeldCall(breaker))
    with pytest.raises(CircuitOpenError):
        HeldCall(breaker)


def test_two_successful_probes_close_the_circuit(clock: Clock) -> None:
    breaker = half_opened(clock)
    breaker.call(succeed)
    assert breaker.state is HALF_OPEN
    breaker.call(succeed)
    assert breaker.state is CLOSED


def test_one_failed_probe_opens_the_circuit_for_the_full_time(clock: Clock) -> None:
    breaker = half_opened(clock)
    breaker.call(succeed)
    clock.now += 7
    attempt(breaker, fail())
    assert breaker.state is OPEN
    assert breaker.retry_after_s() == 30


def test_a_recovered_circuit_starts_with_an_empty_streak(clock: Clock) -> None:
    breaker = half_opened(clock, failure_threshold=2, success_threshold=1)
    breaker.call(succeed)
    attempt(breaker, fail())
    assert breaker.state is CLOSED


def test_successes_of_an_earlier_half_open_period_do_not_count(clock: Clock) -> None:
    breaker = half_opened(clock)
    breaker.call(succeed)
    attempt(breaker, fail())
    clock.now += 30
    breaker.call(succeed)
    assert breaker.state is HALF_OPEN


@pytest.mark.parametrize("end", [HeldCall.succeed, lambda call: call.fail(ValueError()), HeldCall.abandon])
def test_a_probe_of_an_earlier_period_frees_no_slot_and_changes_no_state(
    clock: Clock, end: Callable[[HeldCall], None]
) -> None:
    breaker = half_opened(clock, half_open_max_calls=2, success_threshold=1)
    old = HeldCall(breaker)
    attempt(breaker, fail())
    clock.now += 30
    running = [HeldCall(breaker), HeldCall(breaker)]
    end(old)
    assert breaker.state is HALF_OPEN
    with pytest.raises(CircuitOpenError):
        HeldCall(breaker)
    running[0].succeed()
    assert breaker.state is CLOSED


def test_a_late_outage_of_a_probe_does_not_open_the_recovered_circuit(clock: Clock) -> None:
    breaker = half_opened(clock, success_threshold=1, failure_threshold=1)
    late = HeldCall(breaker)
    breaker.call(succeed)
    late.fail(ConnectionError())
    assert breaker.state is CLOSED


# The three-step form


def test_allowed_requests_report_their_end_themselves(clock: Clock) -> None:
    breaker = make_breaker(clock, failure_threshold=2, success_threshold=2, half_open_max_calls=1)
    for error in (ConnectionError(), ValueError(), ConnectionError()):
        assert breaker.allow_request()
        breaker.record_failure(error)
    assert breaker.state is OPEN
    assert not breaker.allow_request()
    clock.now += 30
    assert breaker.allow_request()
    assert not breaker.allow_request()
    breaker.release()
    for _ in range(2):
        assert breaker.allow_request()
        breaker.record_success()
    assert breaker.state is CLOSED


def test_an_outage_reported_while_open_does_not_postpone_the_probe(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 25
    breaker.record_failure(ConnectionError())
    assert breaker.retry_after_s() == 5


# By hand


def test_force_open_rejects_for_the_full_time(clock: Clock) -> None:
    breaker = make_breaker(clock)
    breaker.force_open()
    assert isinstance(attempt(breaker, succeed), CircuitOpenError)
    clock.now += 30
    breaker.call(succeed)
    assert breaker.state is HALF_OPEN


def test_reset_closes_and_forgets_running_calls_included(clock: Clock) -> None:
    breaker = make_breaker(clock, failure_threshold=2)
    running = [HeldCall(breaker) for _ in range(3)]
    attempt(breaker, fail())
    breaker.reset()
    for call in running:
        call.fail(ConnectionError())
    assert breaker.state is CLOSED
    assert (breaker.metrics.total, breaker.metrics.failed) == (0, 0)
    opened_again = [attempt(breaker, fail()) for _ in range(2)]
    assert opened_again == [OUTAGE, OUTAGE]
    breaker.reset()
    assert breaker.call(succeed) == "value"


# Listener


def test_the_listener_hears_every_change_and_may_ask_for_the_status(clock: Clock) -> None:
    heard: list[tuple[CircuitState, CircuitState, str]] = []
    breaker = CircuitBreaker(
        "x",
        CircuitBreakerConfig(failure_threshold=1, success_threshold=1),
        clock=clock,
        on_state_change=lambda before, after: heard.append((before, after, breaker.get_status()["state"])),
    )
    attempt(breaker, fail())
    clock.now += 30
    breaker.call(succeed)
    assert heard == [
        (CLOSED, OPEN, "open"),
        (OPEN, HALF_OPEN, "half_open"),
        (HALF_OPEN, CLOSED, "closed"),
    ]
    breaker.reset()
    assert len(heard) == 3, "no change, no call"


def test_a_listener_may_change_the_state_and_hears_of_it_afterwards(clock: Clock) -> None:
    heard: list[tuple[CircuitState, CircuitState]] = []

    def listener(before: CircuitState, after: CircuitState) -> None:
        heard.append((before, after))
        if after is OPEN:
            breaker.reset()

    breaker = CircuitBreaker("x", clock=clock, on_state_change=listener)
    breaker.force_open()
    assert heard == [(CLOSED, OPEN), (OPEN, CLOSED)]
    assert breaker.state is CLOSED


def test_a_listener_that_raises_changes_no_call_and_is_shown_in_the_status(clock: Clock) -> None:
    def listener(before: CircuitState, after: CircuitState) -> None:
        raise RuntimeError(f"no sink for {after}")

    settings = CircuitBreakerConfig(failure_threshold=1, success_threshold=1, half_open_max_calls=1)
    breaker = CircuitBreaker("x", settings, clock=clock, on_state_change=listener)
    assert breaker.get_status()["listener_error"] is None
    assert attempt(breaker, fail()) is OUTAGE
    clock.now += 30
    assert breaker.call(succeed) == "value"
    assert breaker.state is CLOSED
    assert breaker.get_status()["listener_error"] == "RuntimeError: no sink for closed"


# Counts and status


def test_metrics_say_what_happened_and_when(clock: Clock) -> None:
    breaker = make_breaker(clock, failure_threshold=1)
    assert breaker.metrics.success_rate is None
    for _ in range(3):
        breaker.call(succeed)
    clock.now = 2000.0
    attempt(breaker, fail())
    attempt(breaker, succeed)
    metrics = breaker.metrics
    assert (metrics.total, metrics.successful, metrics.failed, metrics.rejected) == (4, 3, 1, 1)
    assert (metrics.state_changes, metrics.times_opened, metrics.success_rate) == (1, 1, 0.75)
    assert (metrics.last_success_at, metrics.last_failure_at) == (1000.0, 2000.0)


def test_a_running_call_is_in_the_total_only(clock: Clock) -> None:
    breaker = make_breaker(clock)
    call = HeldCall(breaker)
    assert (breaker.metrics.total, breaker.metrics.success_rate) == (1, None)
    call.succeed()
    assert (breaker.metrics.total, breaker.metrics.successful) == (1, 1)


def test_the_status_is_json_in_every_state(clock: Clock) -> None:
    breaker = make_breaker(clock)
    states = []
    for step in (lambda: None, breaker.force_open, lambda: setattr(clock, "now", 1030.0) or breaker.allow_request()):
        step()
        status = breaker.get_status()
        states.append(status["state"])
        assert json.loads(json.dumps(status, allow_nan=False)) == status
    assert states == ["closed", "open", "half_open"]


def test_the_metrics_of_the_past_do_not_change(clock: Clock) -> None:
    breaker = make_breaker(clock)
    before = breaker.metrics
    breaker.call(succeed)
    assert before.total == 0
    with pytest.raises(FrozenInstanceError):
        before.total = 7  # type: ignore[misc]


# Bad settings


@pytest.mark.parametrize("name", ["failure_threshold", "half_open_max_calls", "success_threshold"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "5", None])
def test_a_count_below_one_is_one_clear_line(name: str, value: Any) -> None:
    with pytest.raises(
        ConfigError, match=rf"^circuit breaker: {name} must be a whole number of at least 1, not {value!r}$"
    ):
        CircuitBreakerConfig(**{name: value})


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "30", None])
def test_a_time_that_never_ends_or_never_begins_is_one_clear_line(value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^circuit breaker: reset_timeout_seconds must .* above 0, not {value!r}$"):
        CircuitBreakerConfig(reset_timeout_seconds=value)
