"""How long does the agent itself take, and how often does it fail?"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import quantiles
from threading import Lock

KEPT = 1000


@dataclass(frozen=True, slots=True)
class OwnWork:
    """One operation of this process since its start; latency in milliseconds over the last ``KEPT`` calls."""

    calls: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    last_error: str | None


class SelfMonitor:
    """Times the agent's own operations; the exception of a timed block leaves unchanged."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._durations: dict[str, deque[float]] = {}
        self._calls: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._last_error: dict[str, str] = {}

    @contextmanager
    def timing(self, operation: str) -> Iterator[None]:
        """Count and time the block."""
        began = self._clock()
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            self._record(operation, (self._clock() - began) * 1000.0, failure)

    def report(self) -> dict[str, OwnWork]:
        """The figures so far, by operation; empty before the first call."""
        with self._lock:
            return {name: self._work(name) for name in self._calls}

    def _record(self, operation: str, milliseconds: float, failure: BaseException | None) -> None:
        with self._lock:
            self._durations.setdefault(operation, deque(maxlen=KEPT)).append(milliseconds)
            self._calls[operation] = self._calls.get(operation, 0) + 1
            if failure is not None:
                self._errors[operation] = self._errors.get(operation, 0) + 1
                self._last_error[operation] = f"{type(failure).__name__}: {failure}"[:300]

    def _work(self, operation: str) -> OwnWork:
        values = list(self._durations[operation])
        cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
        return OwnWork(
            calls=self._calls[operation],
            errors=self._errors.get(operation, 0),
            p50_ms=cuts[49],
            p95_ms=cuts[94],
            p99_ms=cuts[98],
            last_error=self._last_error.get(operation),
        )
