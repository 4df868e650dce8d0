"""What does a span look like when nobody wants it? The same methods, next to no cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from src.domain.agents import TIER_NAMES, UNKNOWN_TIER
from src.mlops.tracing.ids import uuid7_int, uuid_text
from src.mlops.tracing.spans import SpanContext, SpanStatus, SpanType, current, leave

_LOW_64 = (1 << 64) - 1


class SilentSpan:
    """Takes everything and records nothing. Its ids are made when somebody asks."""

    # What a caller may set on an open span may be set here as well.
    span_type = SpanType.GENERAL
    status = SpanStatus.STARTED
    name: str | None = None
    operation = ""
    parent_span_id: str | None = None
    agent_name = "unknown"
    agent_tier = TIER_NAMES[UNKNOWN_TIER]
    error_type: str | None = None
    error_message: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: float | None = None
    input_data: Any = None
    output_data: Any = None
    metadata: dict[str, Any] | None = None
    tags: Sequence[str] = ()
    fallback_used = False
    fallback_chain: list[str] | None = None
    prompt_versions: dict[str, Any] | None = None
    user_id: str | None = None
    session_id: str | None = None
    model: str | None = None
    provider: str | None = None
    response_model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    total_cost: float | None = None
    is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        pass

    @property
    def trace_id(self) -> str:
        """A trace id of its own."""
        if not hasattr(self, "_trace"):
            self._trace = uuid7_int()
        return uuid_text(self._trace)

    @property
    def span_id(self) -> str:
        """A span id of its own."""
        if not hasattr(self, "_span"):
            self._span = uuid7_int()
        return uuid_text(self._span)

    def set_attribute(self, key: str, value: Any) -> None:
        """Nothing is recorded."""

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Nothing is recorded."""

    def set_input(self, value: Any) -> None:
        """Nothing is recorded."""

    def set_output(self, value: Any) -> None:
        """Nothing is recorded."""

    def set_error(self, error: BaseException) -> None:
        """Nothing is recorded."""

    def set_fallback(self, chain: Sequence[str]) -> None:
        """Nothing is recorded."""

    def log_tokens(
        self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> None:
        """Nothing is recorded."""

    def set_cost(self, dollars: float | None) -> None:
        """Nothing is recorded."""

    def log_feedback(
        self, score: float, feedback_type: str = "quality", reason: str | None = None, category: str | None = None
    ) -> str:
        """Nothing is recorded; an empty id."""
        return ""

    def traceparent(self) -> str:
        """A W3C header whose flag says: not recorded."""
        trace, span = int(self.trace_id.replace("-", ""), 16), int(self.span_id.replace("-", ""), 16)
        return f"00-{trace:032x}-{span & _LOW_64:016x}-00"

    def headers(self) -> dict[str, str]:
        """``traceparent`` alone."""
        return {"traceparent": self.traceparent()}

    def to_dict(self) -> dict[str, Any]:
        """The ids alone."""
        return {"trace_id": self.trace_id, "span_id": self.span_id, "parent_span_id": None, "status": self.status.value}


class UnrecordedRoot(SilentSpan):
    """The root of a trace that is not recorded: what opens inside it is not recorded either."""

    def __init__(self, marker: SpanContext) -> None:
        self._marker = marker

    def __enter__(self) -> Self:
        self._outer = current.get()
        current.set(self._marker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        leave(self._marker, self._outer)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        leave(self._marker, self._outer)
