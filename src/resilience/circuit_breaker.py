"""Is it worth calling this service now? The one circuit breaker of the project."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
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
    """A call was rejected because the service failed recently; ``retry_after_s`` says when a probe is due."""

    def __init__(self, name: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{name} failed repeatedly and is not called for another {retry_after_s:.1f} s")


@dataclass(frozen=True, slots=True)
class CircuitBreakerConfig:
    """Outages in a row that open the circuit, seconds until the first probe, probes at once, successes to close."""

    failure_threshold: int = 5
    reset_timeout_seconds: float = 30.0
    half_open_max_calls: int = 3
    success_threshold: int = 2

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "half_open_max_calls", "success_threshold"):
            if getattr(self, name) < 1:
                raise ConfigError(f"circuit breaker: {name} must be at least 1, not {getattr(self, name)}")
        if not self.reset_timeout_seconds > 0:
            raise ConfigError(
                f"circuit breaker: reset_timeout_seconds must be above 0, not {self.reset_timeout_seconds}"
            )


@dataclass(frozen=True, slots=True)
class CircuitBreakerMetrics:
    """Counts since the start or the last ``reset``; times are those of the breaker's clock."""

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
        """Successes over calls that ran to an end; None before the first."""
        ended = self.successful + self.failed
        return self.successful / ended if ended else None


class CircuitBreaker:
    """Counts outages in a row and stops calling for a while; safe across threads and tasks.

    Only outages count (``is_outage``): the body's own exceptions leave every count untouched and come
    out unchanged. A rejected call changes nothing but the count of rejected calls, so traffic during an
    outage never postpones the next probe.
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
        self._lock = threading.Lock()
        self._metrics = CircuitBreakerMetrics()
        self._state = CircuitState.CLOSED
        self._streak = 0
        self._opened_at = 0.0
        self._probes = 0
        self._probe_successes = 0
        # Probes of an earlier half-open period must not free slots of a later one.
        self._period = 0

    @property
    def state(self) -> CircuitState:
        """State now; OPEN until a call is let through as a probe."""
        return self._state

    @property
    def metrics(self) -> CircuitBreakerMetrics:
        """Counts so far."""
        return self._metrics

    def allow_request(self) -> bool:
        """Ask to make one call. True must be followed by one ``record_success``, ``record_failure`` or ``release``."""
        return self._admit() is not None

    def record_success(self) -> None:
        """A call admitted by ``allow_request`` succeeded."""
        self._ended(self._period, succeeded=True)

    def record_failure(self, error: BaseException) -> None:
        """A call admitted by ``allow_request`` raised ``error``; anything but an outage only frees its slot."""
        self._ended(self._period, succeeded=False if self._is_outage(error) else None)

    def release(self) -> None:
        """A call admitted by ``allow_request`` ended without telling anything about the service."""
        self._ended(self._period, succeeded=None)

    def call(self, function: Callable[[], Value]) -> Value:
        """Run ``function`` if the circuit allows it; raises CircuitOpenError otherwise."""
        period = self._admit_or_raise()
        try:
            value = function()
        except BaseException as error:
            self._ended(period, succeeded=False if self._is_outage(error) else None)
            raise
        self._ended(period, succeeded=True)
        return value

    async def acall(self, function: Callable[[], Awaitable[Value]]) -> Value:
        """Await ``function()`` if the circuit allows it; raises CircuitOpenError otherwise."""
        period = self._admit_or_raise()
        try:
            value = await function()
        except BaseException as error:
            self._ended(period, succeeded=False if self._is_outage(error) else None)
            raise
        self._ended(period, succeeded=True)
        return value

    def reset(self) -> None:
        """Close the circuit and forget all counts."""
        with self._lock:
            changed = self._move(CircuitState.CLOSED)
            self._metrics = CircuitBreakerMetrics()
        self._announce(changed)

    def force_open(self) -> None:
        """Open the circuit now, for ``reset_timeout_seconds``."""
        with self._lock:
            changed = self._open()
        self._announce(changed)

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
        }

    def _admit_or_raise(self) -> int:
        period = self._admit()
        if period is None:
            raise CircuitOpenError(self.name, self.retry_after_s())
        return period

    def _admit(self) -> int | None:
        changed = None
        with self._lock:
            if self._state is CircuitState.OPEN and self._remaining() <= 0:
                changed = self._move(CircuitState.HALF_OPEN)
            admitted = self._state is CircuitState.CLOSED or (
                self._state is CircuitState.HALF_OPEN and self._probes < self.config.half_open_max_calls
            )
            if admitted:
                self._probes += self._state is CircuitState.HALF_OPEN
                self._metrics = replace(self._metrics, total=self._metrics.total + 1)
            else:
                self._metrics = replace(self._metrics, rejected=self._metrics.rejected + 1)
            period = self._period
        self._announce(changed)
        return period if admitted else None

    def _ended(self, period: int, *, succeeded: bool | None) -> None:
        changed = None
        with self._lock:
            current = period == self._period
            if current and self._state is CircuitState.HALF_OPEN:
                self._probes = max(0, self._probes - 1)
            if succeeded is True:
                changed = self._succeeded(current)
            elif succeeded is False:
                changed = self._failed(current)
        self._announce(changed)

    def _succeeded(self, current: bool) -> tuple[CircuitState, CircuitState] | None:
        metrics = self._metrics
        self._metrics = replace(metrics, successful=metrics.successful + 1, last_success_at=self._clock())
        if not current:
            return None
        self._streak = 0
        if self._state is CircuitState.HALF_OPEN:
            self._probe_successes += 1
            if self._probe_successes >= self.config.success_threshold:
                return self._move(CircuitState.CLOSED)
        return None

    def _failed(self, current: bool) -> tuple[CircuitState, CircuitState] | None:
        metrics = self._metrics
        self._metrics = replace(metrics, failed=metrics.failed + 1, last_failure_at=self._clock())
        if not current:
            return None
        if self._state is CircuitState.HALF_OPEN:
            return self._open()
        if self._state is CircuitState.CLOSED:
            self._streak += 1
            if self._streak >= self.config.failure_threshold:
                return self._open()
        return None

    def _open(self) -> tuple[CircuitState, CircuitState] | None:
        self._opened_at = self._clock()
        return self._move(CircuitState.OPEN)

    def _move(self, state: CircuitState) -> tuple[CircuitState, CircuitState] | None:
        self._streak = self._probes = self._probe_successes = 0
        if state is self._state:
            return None
        previous, self._state = self._state, state
        self._period += 1
        opened = state is CircuitState.OPEN
        self._metrics = replace(
            self._metrics,
            state_changes=self._metrics.state_changes + 1,
            times_opened=self._metrics.times_opened + opened,
        )
        return previous, state

    def _remaining(self) -> float:
        return max(0.0, self._opened_at + self.config.reset_timeout_seconds - self._clock())

    def _announce(self, changed: tuple[CircuitState, CircuitState] | None) -> None:
        """Outside the lock: the listener may ask the breaker for its status."""
        if changed is not None and self._on_state_change is not None:
            self._on_state_change(*changed)
