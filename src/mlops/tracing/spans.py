"""What is a span while it is open, and how does it nest? Contexts that cost the caller microseconds."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from src.domain.agents import AgentIdentity
from src.mlops.tracing.ids import uuid7_int, uuid_text
from src.mlops.tracing.privacy import beginning, snapshot
from src.mlops.tracing.scores import check_score

if TYPE_CHECKING:
    from src.mlops.tracing.recorder import SpanRecorder

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOW_64 = (1 << 64) - 1
_MAX_STACK_FRAMES = 20
# As OpenTelemetry's defaults.
MAX_ATTRIBUTES = 128
MAX_EVENTS = 128

current: ContextVar[SpanContext | None] = ContextVar("e2i_span", default=None)


class SpanType(StrEnum):
    """What kind of work a span is, in Opik's terms."""

    GENERAL = "general"
    TOOL = "tool"
    LLM = "llm"
    GUARDRAIL = "guardrail"


class SpanStatus(StrEnum):
    """``started`` while the span is open."""

    STARTED = "started"
    COMPLETED = "completed"
    ERROR = "error"
    TIMEOUT = "timeout"


class Trace:
    """What the spans of one trace share in this process."""

    __slots__ = ("_text", "id", "project", "recorded", "root_agent", "root_tier")

    def __init__(self, trace_id: int, root: AgentIdentity, recorded: bool = True, project: str | None = None) -> None:
        self.id = trace_id
        self.project = project
        self.root_agent = root.name
        self.root_tier = root.tier
        self.recorded = recorded
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The trace id as a UUID in text form."""
        if self._text is None:
            self._text = uuid_text(self.id)
        return self._text


class SpanContext:
    """One piece of work, opened with ``with`` or ``async with``; yields itself exactly once.

    The body's own exception always leaves unchanged, and is recorded on the span. What is set is
    copied at once and bounded; nothing set after the end is recorded. Durations come from a monotonic
    clock, and the end is the start plus the duration, so a step of the wall clock cannot disorder them.
    """

    # Defaults live on the class: opening a span sets only what differs.
    span_type = SpanType.GENERAL
    status = SpanStatus.STARTED
    error_type: str | None = None
    error_message: str | None = None
    stack: str | None = None
    name: str | None = None
    input_data: Any = None
    output_data: Any = None
    metadata: dict[str, Any] | None = None
    events: list[dict[str, Any]] | None = None
    tags: Sequence[str] = ()
    fallback_used = False
    fallback_chain: list[str] | None = None
    prompt_versions: dict[str, Any] | None = None
    user_id: str | None = None
    session_id: str | None = None
    root = False
    duration_ns: int | None = None
    parent: int | None = None
    asked: tuple[str | None, str | None, Mapping[str, str] | None] | None = None
    project: str | None = None
    trace: Trace
    id: int
    queue: deque[Any]
    started_ns: int
    _began_ns: int
    _outer: SpanContext | None = None

    def __init__(self, recorder: SpanRecorder, identity: AgentIdentity, operation: str) -> None:
        self.recorder = recorder
        self.identity = identity
        self.operation = operation

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._close(error)

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._close(error)

    def _open(self) -> None:
        outer = current.get()
        self._outer = outer
        if outer is not None and self.asked is None and outer.recorder is self.recorder:
            self.trace = outer.trace
            self.parent = outer.id
        else:
            self.recorder.place(self, outer)
        self.id = uuid7_int()
        self.queue = self.recorder.queue
        current.set(self)
        self.started_ns = self.recorder.wall_ns()
        self._began_ns = self.recorder.monotonic_ns()

    def _close(self, error: BaseException | None) -> None:
        self.duration_ns = self.recorder.monotonic_ns() - self._began_ns
        leave(self, self._outer)
        try:
            if error is None:
                if self.status is SpanStatus.STARTED:
                    self.status = SpanStatus.COMPLETED
            elif isinstance(error, GeneratorExit):
                self.status = SpanStatus.COMPLETED  # whoever read a stream has read enough of it
            else:
                self._failed(error)
        finally:
            self.recorder.ended(self)

    def _failed(self, error: BaseException) -> None:
        self.status = SpanStatus.TIMEOUT if isinstance(error, TimeoutError) else SpanStatus.ERROR
        self.error_type = type(error).__name__ or "Exception"
        self.error_message = _first_words(error)
        self.stack = _stack(error)

    @property
    def trace_id(self) -> str:
        """UUID of the trace."""
        return self.trace.text

    @property
    def span_id(self) -> str:
        """UUID version 7 of the span."""
        return uuid_text(self.id)

    @property
    def parent_span_id(self) -> str | None:
        """UUID of the span this one belongs to; None for a root."""
        return None if self.parent is None else uuid_text(self.parent)

    @property
    def agent_name(self) -> str:
        """The agent, or ``unknown``."""
        return self.identity.name

    @property
    def agent_tier(self) -> str:
        """Name of the agent's tier."""
        return self.identity.tier_name

    @property
    def started_at(self) -> datetime:
        """UTC time of the start."""
        return moment(self.started_ns)

    @property
    def ended_at(self) -> datetime | None:
        """UTC time of the end; None while open."""
        return None if self.duration_ns is None else moment(self.started_ns + self.duration_ns)

    @property
    def duration_ms(self) -> float | None:
        """Milliseconds by the monotonic clock; None while open."""
        return None if self.duration_ns is None else self.duration_ns / 1e6

    @property
    def is_open(self) -> bool:
        """Whether the span has not ended yet."""
        return self.duration_ns is None

    def set_attribute(self, key: str, value: Any) -> None:
        """Record ``key``: a scalar as it is, anything else as a bounded copy."""
        if self.duration_ns is not None:
            return
        if self.metadata is None:
            self.metadata = {}
        name = key if type(key) is str else str(key)
        if len(self.metadata) < MAX_ATTRIBUTES or name in self.metadata:
            self.metadata[name] = snapshot(value, self.recorder.attribute_budget)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Record that something happened now."""
        if self.duration_ns is not None:
            return
        if self.events is None:
            self.events = []
        if len(self.events) >= MAX_EVENTS:
            return
        event = {"name": name, "at": moment(self.recorder.wall_ns())}
        if attributes:
            event["attributes"] = snapshot(attributes, self.recorder.attribute_budget)
        self.events.append(event)

    def set_input(self, value: Any) -> None:
        """Record what the work was given."""
        if self.duration_ns is None:
            self.input_data = snapshot(value, self.recorder.input_budget)

    def set_output(self, value: Any) -> None:
        """Record what came out."""
        if self.duration_ns is None:
            self.output_data = snapshot(value, self.recorder.output_budget)

    def set_error(self, error: BaseException) -> None:
        """Record a failure that was handled inside the body; the span ends with its status."""
        if self.duration_ns is None:
            self._failed(error)

    def set_fallback(self, chain: Sequence[str]) -> None:
        """Record that something else answered, in the order tried."""
        if self.duration_ns is None:
            self.fallback_used, self.fallback_chain = True, [str(name) for name in chain or ()]

    def log_feedback(
        self, score: float, feedback_type: str = "quality", reason: str | None = None, category: str | None = None
    ) -> str:
        """Give this span's trace a score, also after it ended; returns the id of the feedback.

        Raises ContractViolation for a name or score that cannot be stored.
        """
        check_score(feedback_type, score)
        return self.recorder.feedback(self.trace_id, feedback_type, score, reason=reason, category=category)

    def traceparent(self) -> str:
        """The W3C ``traceparent`` header of this span."""
        return f"00-{self.trace.id:032x}-{self.id & _LOW_64:016x}-01"

    def headers(self) -> dict[str, str]:
        """``traceparent`` and ``tracestate``, to pass the trace on to another process."""
        return {"traceparent": self.traceparent(), "tracestate": f"e2i={self.id:032x}"}

    def to_dict(self) -> dict[str, Any]:
        """The span as it is now, unredacted, for the process itself."""
        return {
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_span_id": self.parent_span_id,
            "name": self.name or self.operation,
            "agent_name": self.agent_name,
            "agent_tier": self.agent_tier,
            "operation": self.operation,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "duration_ms": self.duration_ms,
            "status": self.status.value,
            "error_type": self.error_type,
            "error_message": self.error_message,
            "metadata": dict(self.metadata or {}),
            "input_data": self.input_data,
            "output_data": self.output_data,
        }


class LLMSpanContext(SpanContext):
    """One model call: tokens and cost beside what every span has."""

    span_type = SpanType.LLM
    provider: str | None = None
    response_model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    total_cost: float | None = None

    def __init__(self, recorder: SpanRecorder, identity: AgentIdentity, operation: str, model: str) -> None:
        super().__init__(recorder, identity, operation)
        self.model = model

    @property
    def total_tokens(self) -> int | None:
        """Input and output tokens together; None before they are known."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def log_tokens(
        self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> None:
        """Record usage; the cost follows from the price table unless ``set_cost`` says it."""
        counts = (input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
        if not all(isinstance(count, int) and 0 <= count < 2**63 for count in counts):
            raise ValueError(f"token counts are whole numbers that cannot be negative, not {counts}")
        if self.duration_ns is None:
            self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_write_tokens = counts

    def set_cost(self, dollars: float | None) -> None:
        """Record the cost in US dollars; None means that it is not known."""
        if self.duration_ns is None:
            self.total_cost = dollars

    def to_dict(self) -> dict[str, Any]:
        """The span as it is now, unredacted, for the process itself."""
        return super().to_dict() | {
            "model": self.model,
            "provider": self.provider,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
            "total_cost": self.total_cost,
        }


def leave(span: object, outer: SpanContext | None) -> None:
    """Make the nearest open span around ``span`` the current one, if ``span`` is the current one here.

    A generator or a stream may end in another context than it began in, or after spans opened later.
    """
    if current.get() is not span:
        return
    while outer is not None and outer.duration_ns is not None:
        outer = outer._outer
    current.set(outer)


def moment(nanoseconds: int) -> datetime:
    """UTC time of nanoseconds since 1970, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _first_words(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - an exception whose text cannot be made must not replace the body's
        text = f"(its message cannot be shown: {type(broken).__name__})"
    return beginning(text or type(error).__name__, 2000)


def _stack(error: BaseException) -> str | None:
    """Where it was raised, innermost frames last; None where that cannot be told."""
    try:
        return "".join(traceback.format_tb(error.__traceback__, -_MAX_STACK_FRAMES))
    except Exception:  # noqa: BLE001 - a loader without its source must not replace the body's exception
        return None


Clock = Callable[[], int]
wall_clock: Clock = time.time_ns
monotonic_clock: Clock = time.monotonic_ns
