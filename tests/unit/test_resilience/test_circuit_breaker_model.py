"""Does the breaker agree with a second description of its rules, whatever happens in whatever order?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError
from tests.unit.test_resilience.breakers import Clock, HeldCall

LIMITS = CircuitBreakerConfig(failure_threshold=3, reset_timeout_seconds=10, half_open_max_calls=2, success_threshold=2)


@dataclass(eq=False)
class Phase:
    """One stretch between two changes: the story so far as letters, s(uccess) and o(utage) of its own calls."""

    kind: str
    since: float
    story: str = ""
    running: int = 0

    def follower(self) -> str | None:
        """The kind of phase that begins after what happened in this one."""
        if self.kind == "closed" and self.story.endswith("o" * LIMITS.failure_threshold):
            return "open"
        if self.kind == "half_open" and "o" in self.story:
            return "open"
        if self.kind == "half_open" and self.story.count("s") == LIMITS.success_threshold:
            return "closed"
        return None


@dataclass(eq=False)
class Running:
    """A call in the breaker and the phase that let it in; ``era`` changes with every reset."""

    held: HeldCall
    phase: Phase
    era: int


@dataclass
class Counts:
    successful: int = 0
    failed: int = 0
    rejected: int = 0
    changes: list[str] = field(default_factory=list)


class BreakerModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.heard: list[tuple[str, str]] = []
        self.breaker = CircuitBreaker(
            "x", LIMITS, clock=self.clock, on_state_change=lambda before, after: self.heard.append((before, after))
        )
        self.phase = Phase("closed", self.clock.now)
        self.counts = Counts()
        self.calls: list[Running] = []
        self.era = 0
        self.kinds = ["closed"]

    def teardown(self) -> None:
        for call in self.calls:
            call.held.abandon()

    def enter(self, kind: str) -> None:
        if kind != self.phase.kind:
            self.counts.changes.append(kind)
            self.kinds.append(kind)
        self.phase = Phase(kind, self.clock.now)

    def may_start(self) -> bool:
        if self.phase.kind == "open" and self.clock.now - self.phase.since >= LIMITS.reset_timeout_seconds:
            self.enter("half_open")
        return {"closed": True, "open": False, "half_open": self.phase.running < LIMITS.half_open_max_calls}[
            self.phase.kind
        ]

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.5, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: len(self.calls) < 8)
    @rule()
    def start(self) -> None:
        if self.may_start():
            self.calls.append(Running(HeldCall(self.breaker), self.phase, self.era))
            self.phase.running += 1
            return
        self.counts.rejected += 1
        with pytest.raises(CircuitOpenError) as rejection:
            HeldCall(self.breaker)
        assert rejection.value.retry_after_s == self.wait()

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 7), letter=st.sampled_from("ssooovca"))
    def end(self, which: int, letter: str) -> None:
        call = self.calls.pop(which % len(self.calls))
        errors = {"o": ConnectionError(), "v": ValueError(), "c": asyncio.CancelledError()}
        if letter in errors:
            call.held.fail(errors[letter])
        elif letter == "s":
            call.held.succeed()
        else:
            call.held.abandon()
        if call.era == self.era:
            self.counts.successful += letter == "s"
            self.counts.failed += letter == "o"
        call.phase.running -= 1
        call.phase.story += letter if letter in "so" else ""
        if call.phase is self.phase and (follower := self.phase.follower()) is not None:
            self.enter(follower)

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.enter("closed")
        self.counts, self.era = Counts(), self.era + 1

    @rule()
    def force_open(self) -> None:
        self.breaker.force_open()
        self.enter("open")

    def wait(self) -> float:
        if self.phase.kind != "open":
            return 0.0
        return max(0.0, self.phase.since + LIMITS.reset_timeout_seconds - self.clock.now)

    @invariant()
    def agrees(self) -> None:
        metrics = self.breaker.metrics
        assert self.breaker.state.value == self.phase.kind
        assert self.breaker.retry_after_s() == self.wait()
        assert (metrics.successful, metrics.failed) == (self.counts.successful, self.counts.failed)
        assert metrics.rejected == self.counts.rejected
        assert metrics.total == metrics.successful + metrics.failed + sum(call.era == self.era for call in self.calls)
        assert metrics.state_changes == len(self.counts.changes)
        assert metrics.times_opened == self.counts.changes.count("open")
        assert self.heard == list(zip(self.kinds, self.kinds[1:], strict=False))
        json.dumps(self.breaker.get_status(), allow_nan=False)


BreakerModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
TestBreakerModel = BreakerModel.TestCase
