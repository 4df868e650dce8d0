"""What happened, in which order, under which parent? Spans, recorded and written in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from src.mlops.tracing.ids import uuid7

MAX_BATCH = 100


@dataclass(frozen=True, slots=True)
class Span:
    """One finished or running piece of work; ``attributes`` hold counts and names, never data rows."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    agent_name: str
    agent_tier: str
    operation_type: str
    started_at: datetime
    ended_at: datetime | None = None
    duration_ms: float | None = None
    status: str = "success"
    error_type: str | None = None
    error_message: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


class SpanSink(Protocol):
    """Where finished spans go."""

    async def write(self, spans: Sequence[Span]) -> None:
        """Store ``spans``; writing the same span twice keeps one."""
        ...


class MemorySink:
    """Keeps spans in a list, for tests."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def write(self, spans: Sequence[Span]) -> None:
        """Append ``spans``."""
        self.spans.extend(spans)


_current: ContextVar[Span | None] = ContextVar("e2i_span", default=None)


class SpanRecorder:
    """Opens nested spans and hands finished ones to a sink in batches.

    Nesting follows ``contextvars``, so it holds across awaits and threads started with
    ``asyncio.to_thread``. The body's own exception always leaves unchanged.
    """

    def __init__(self, sink: SpanSink, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._sink = sink
        self._clock = clock
        self._finished: list[Span] = []

    @contextmanager
    def span(
        self, operation: str, *, agent: str, tier: str, trace_id: str | None = None, **attributes: Any
    ) -> Iterator[dict[str, Any]]:
        """Open a span; the mapping yielded may be filled with further attributes."""
        parent = _current.get()
        if parent is not None and trace_id not in (None, parent.trace_id):
            parent = None
        opened = Span(
            trace_id=trace_id or (parent.trace_id if parent else str(uuid7())),
            span_id=str(uuid7()),
            parent_span_id=parent.span_id if parent else None,
            agent_name=agent,
            agent_tier=tier,
            operation_type=operation,
            started_at=self._clock(),
            attributes=dict(attributes),
        )
        token = _current.set(opened)
        began = time.monotonic()
        try:
            yield opened.attributes
        except BaseException as error:
            self._finish(opened, began, status=_status_of(error), error=error)
            raise
        else:
            self._finish(opened, began, status="success", error=None)
        finally:
            _current.reset(token)

    def _finish(self, opened: Span, began: float, *, status: str, error: BaseException | None) -> None:
        milliseconds = (time.monotonic() - began) * 1000.0
        self._finished.append(
            replace(
                opened,
                ended_at=max(self._clock(), opened.started_at),
                duration_ms=milliseconds,
                status=status,
                error_type=type(error).__name__ if error else None,
                error_message=(str(error) or type(error).__name__)[:2000] if error else None,
            )
        )

    @property
    def pending(self) -> int:
        """Finished spans not yet handed to the sink."""
        return len(self._finished)

    async def flush(self) -> None:
        """Hand all finished spans to the sink; what a failing sink did not take stays pending."""
        while self._finished:
            batch = self._finished[:MAX_BATCH]
            await self._sink.write(batch)
            del self._finished[: len(batch)]


def _status_of(error: BaseException) -> str:
    return "timeout" if isinstance(error, TimeoutError) else "error"


def find_orphans(spans: Sequence[Span]) -> list[Span]:
    """Spans whose parent is absent, or that never ended."""
    known = {(span.trace_id, span.span_id) for span in spans}
    return [
        span
        for span in spans
        if span.ended_at is None
        or (span.parent_span_id is not None and (span.trace_id, span.parent_span_id) not in known)
    ]
