"""Is it worth calling this service now? The one circuit breaker of the project."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from src.errors import ConfigError, ServiceOutage
from src.resilience.outages import is_outage as default_is_outage

Value = TypeVar("Value")


class CircuitState(StrEnum):
    """CLOSED lets calls through, OPEN rejects them, HALF_OPEN lets a few probes through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpenError(ServiceOutage):
    """A call was rejected because the service failed recently; ``retry_after_s`` says when a probe is due.

    It is 0 while the circuit is half open and as many probes as allowed are running.
    """

    def __init__(self, name: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        wait = f"not called for another {retry_after_s:.1f} s" if retry_after_s > 0 else "being probed right now"
        super().__init__(f"{name} failed repeatedly and is {wait}")


@dataclass(frozen=True, slots=True)
class CircuitBreakerConfig:
    """Outages in a row that open the circuit, seconds until the first probe, probes at once, successes to close."""

    failure_threshold: int = 5
    reset_timeout_seconds: float = 30.0
    half_open_max_calls: int = 3
    success_threshold: int = 2

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "half_open_max_calls", "success_threshold"):
            count = getattr(self, name)
            if not isinstance(count, int) or count < 1:
                raise ConfigError(f"circuit breaker: {name} must be a whole number of at least 1, not {count!r}")
        seconds = self.reset_timeout_seconds
        if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise ConfigError(f"circuit breaker: reset_timeout_seconds must be a number above 0, not {seconds!r}")


@dataclass(frozen=True, slots=True)
class CircuitBreakerMetrics:
    """Counts of calls admitted since the start or the last ``reset``; times are those of the breaker's clock.

    ``total`` is ``successful`` + ``failed`` + the calls still running: a call that ended without telling
    anything about the service is taken out again.
    """

    total: int = 0
    successful: int = 0
    failed: int = 0
    rejected: int = 0
    state_changes: int = 0
    times_opened: int = 0
    last_failure_at: float | None = None
    last_success_at: float | None = None

    @property
    def success_rate(self) -> float | None:
        """Successes over successes and failures; None before the first."""
        ended = self.successful + self.failed
        return self.successful / ended if ended else None


class CircuitBreaker:
    """Counts outages in a row and stops calling for a while; safe across threads and tasks.

    Only outages count (``is_outage``): the body's own exceptions, cancellation and another breaker's
    rejection leave every count as it was and come out unchanged. A rejected call changes nothing but the
    count of rejected calls, so traffic during an outage never postpones the next probe.

    The body brings its own time limit: one set outside arrives as a cancellation, which says nothing
    about the service, and a probe that never ends keeps its slot.

    ``on_state_change(before, after)`` is called outside the lock, in the order of the changes, possibly by
    another thread than the one that caused them. Should it raise, no call is affected: ``get_status``
    shows the error as ``listener_error``.
    """

    def __init__(
        self,
        name: str,
        config: CircuitBreakerConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        is_outage: Callable[[BaseException], bool] = default_is_outage,
        on_state_change: Callable[[CircuitState, CircuitState], None] | None = None,
    ) -> None:
        self.name = name
        self.config = config or CircuitBreakerConfig()
        self._clock = clock
        self._is_outage = is_outage
        self._on_state_change = on_state_change
        # Re-entrant: the garbage collector may close an abandoned call, and so end it, in any line below.
        self._lock = threading.RLock()
        self._changing = False
        self._endings: deque[tuple[int, bool | None]] = deque()
        self._metrics = CircuitBreakerMetrics()
        self._state = CircuitState.CLOSED
        self._streak = 0
        self._opened_at = 0.0
        self._probes = 0
        self._probe_successes = 0
        # Calls of an earlier period must neither free slots of a later one nor change its state.
        self._period = 0
        # Calls admitted before this period belong to counts that were forgotten.
        self._first_counted = 0
        self._changes: deque[tuple[CircuitState, CircuitState]] = deque()
        self._announcing = threading.Lock()
        self._listener_error: str | None = None
        _living.add(self)

    @property
    def state(self) -> CircuitState:
        """State now; OPEN until a call is let through as a probe."""
        return self._state

    @property
    def metrics(self) -> CircuitBreakerMetrics:
        """Counts so far."""
        return self._metrics

    def allow_request(self) -> bool:
        """Ask to make one call. True must be followed by one ``record_success``, ``record_failure`` or ``release``.

        Those three cannot tell which period admitted the call. Where calls overlap, ``call`` and ``acall`` can.
        """
        return self._admit() is not None

    def record_success(self) -> None:
        """A call admitted by ``allow_request`` succeeded."""
        self._ended(self._period, succeeded=True)

    def record_failure(self, error: BaseException) -> None:
        """A call admitted by ``allow_request`` raised ``error``; anything but an outage only frees its slot."""
        self._ended(self._period, succeeded=self._verdict(error))

    def release(self) -> None:
        """A call admitted by ``allow_request`` ended without telling anything about the service."""
        self._ended(self._period, succeeded=None)

    def call(self, function: Callable[[], Value]) -> Value:
        """Run ``function`` if the circuit allows it; raises CircuitOpenError otherwise."""
        period = self._admit_or_raise()
        succeeded: bool | None = None
        try:
            value = function()
            succeeded = True
        except BaseException as error:
            succeeded = self._verdict(error)
            raise
        finally:
            self._ended(period, succeeded=succeeded)
        return value

    async def acall(self, function: Callable[[], Awaitable[Value]]) -> Value:
        """Await ``function()`` if the circuit allows it; raises CircuitOpenError otherwise."""
        period = self._admit_or_raise()
        succeeded: bool | None = None
        try:
            value = await function()
            succeeded = True
        except BaseException as error:
            succeeded = self._verdict(error)
            raise
        finally:
            self._ended(period, succeeded=succeeded)
        return value

    def reset(self) -> None:
        """Close the circuit and forget all counts, those of running calls included."""
        with self._change():
            self._move(CircuitState.CLOSED)
            self._period += 1
            self._first_counted = self._period
            self._metrics = CircuitBreakerMetrics()
        self._announce()

    def force_open(self) -> None:
        """Open the circuit now, for ``reset_timeout_seconds``."""
        with self._change():
            self._open()
        self._announce()

    def retry_after_s(self) -> float:
        """Seconds until the next probe is allowed; 0 when calls are allowed now."""
        with self._lock:
            return self._remaining() if self._state is CircuitState.OPEN else 0.0

    def get_status(self) -> dict[str, Any]:
        """State, counts and settings, as JSON."""
        with self._lock:
            metrics, state, remaining = self._metrics, self._state, self._remaining()
        return {
            "name": self.name,
            "state": state.value,
            "retry_after_s": round(remaining, 3) if state is CircuitState.OPEN else 0.0,
            "total": metrics.total,
            "successful": metrics.successful,
            "failed": metrics.failed,
            "rejected": metrics.rejected,
            "state_changes": metrics.state_changes,
            "times_opened": metrics.times_opened,
            "success_rate": metrics.success_rate,
            "failure_threshold": self.config.failure_threshold,
            "reset_timeout_seconds": self.config.reset_timeout_seconds,
            "listener_error": self._listener_error,
        }

    def _verdict(self, error: BaseException) -> bool | None:
        """False for an outage; None for an error that tells nothing about the service."""
        if isinstance(error, CircuitOpenError) or not isinstance(error, Exception):
            return None
        return False if self._is_outage(error) else None

    def _admit_or_raise(self) -> int:
        period = self._admit()
        if period is None:
            raise CircuitOpenError(self.name, self.retry_after_s())
        return period

    def _admit(self) -> int | None:
        with self._change():
            if self._state is CircuitState.OPEN and self._remaining() <= 0:
                self._move(CircuitState.HALF_OPEN)
            admitted = self._state is CircuitState.CLOSED or (
                self._state is CircuitState.HALF_OPEN and self._probes < self.config.half_open_max_calls
            )
            if admitted:
                self._probes += self._state is CircuitState.HALF_OPEN
                self._metrics = replace(self._metrics, total=self._metrics.total + 1)
            else:
                self._metrics = replace(self._metrics, rejected=self._metrics.rejected + 1)
            period = self._period
        self._announce()
        return period if admitted else None

    def _ended(self, period: int, *, succeeded: bool | None) -> None:
        with self._change():
            self._endings.append((period, succeeded))
        self._announce()

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Hold the lock; a call that ends in the middle of a change is settled when that change is complete."""
        with self._lock:
            nested, self._changing = self._changing, True
            try:
                yield
                while self._endings and not nested:
                    self._settle(*self._endings.popleft())
            finally:
                self._changing = nested

    def _settle(self, period: int, succeeded: bool | None) -> None:
        if period >= self._first_counted:
            self._count(succeeded)
        if period == self._period:
            self._learn(succeeded)

    def _count(self, succeeded: bool | None) -> None:
        metrics = self._metrics
        if succeeded is None:
            self._metrics = replace(metrics, total=max(0, metrics.total - 1))
        elif succeeded:
            self._metrics = replace(metrics, successful=metrics.successful + 1, last_success_at=self._clock())
        else:
            self._metrics = replace(metrics, failed=metrics.failed + 1, last_failure_at=self._clock())

    def _learn(self, succeeded: bool | None) -> None:
        """What a call that the present period admitted means for the state."""
        if self._state is CircuitState.HALF_OPEN:
            self._probe_ended(succeeded)
        elif self._state is CircuitState.CLOSED and succeeded is not None:
            self._streak = 0 if succeeded else self._streak + 1
            if self._streak >= self.config.failure_threshold:
                self._open()

    def _probe_ended(self, succeeded: bool | None) -> None:
        self._probes = max(0, self._probes - 1)
        if succeeded is False:
            self._open()
        elif succeeded:
            self._probe_successes += 1
            if self._probe_successes >= self.config.success_threshold:
                self._move(CircuitState.CLOSED)

    def _open(self) -> None:
        self._opened_at = self._clock()
        self._move(CircuitState.OPEN)

    def _move(self, state: CircuitState) -> None:
        self._streak = self._probes = self._probe_successes = 0
        if state is self._state:
            return
        previous, self._state = self._state, state
        self._period += 1
        opened = state is CircuitState.OPEN
        self._metrics = replace(
            self._metrics,
            state_changes=self._metrics.state_changes + 1,
            times_opened=self._metrics.times_opened + opened,
        )
        self._changes.append((previous, state))

    def _remaining(self) -> float:
        return max(0.0, self._opened_at + self.config.reset_timeout_seconds - self._clock())

    def _announce(self) -> None:
        """Tell the listener what changed, outside the lock: it may ask the breaker for its status.

        One thread at a time tells, in order; what another adds meanwhile is told before one of them leaves.
        """
        while self._changes and not self._changing and self._announcing.acquire(blocking=False):
            try:
                while self._changes:
                    self._tell(*self._changes.popleft())
            finally:
                self._announcing.release()

    def _tell(self, before: CircuitState, after: CircuitState) -> None:
        if self._on_state_change is None:
            return
        try:
            self._on_state_change(before, after)
        except Exception as error:  # noqa: BLE001 - a listener must not decide how a call ends
            self._listener_error = f"{type(error).__name__}: {error}"

    def after_fork(self) -> None:
        """In a child process: a lock that another thread of the parent held would never be released."""
        self._lock = threading.RLock()
        self._announcing = threading.Lock()
        self._changing = False


_living: weakref.WeakSet[CircuitBreaker] = weakref.WeakSet()


def _after_fork() -> None:
    for breaker in list(_living):
        breaker.after_fork()


os.register_at_fork(after_in_child=_after_fork)
