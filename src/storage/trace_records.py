"""What is kept about a trace: its spans, what people and evaluators said of it, and figures over many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class Window(StrEnum):
    """How far back figures reach from now."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"

    @property
    def length(self) -> timedelta:
        """As a duration."""
        return {Window.HOUR: timedelta(hours=1), Window.DAY: timedelta(days=1), Window.WEEK: timedelta(days=7)}[self]


class TraceStatus(StrEnum):
    """How a trace ended: as its latest root did; incomplete while no root is stored or a span has no end."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INCOMPLETE = "incomplete"


class OrphanReason(StrEnum):
    """What is wrong with a span's place in its trace."""

    PARENT_ABSENT = "parent absent"
    PARENT_IN_OTHER_TRACE = "parent in another trace"
    NEVER_ENDED = "never ended"


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One row of ``ml_observability_spans``; cost in US dollars, None where the price is not known."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    agent_name: str
    agent_tier: str
    operation_type: str
    started_at: datetime
    ended_at: datetime | None
    duration_ms: float | None
    status: str
    error_type: str | None
    error_message: str | None
    model_name: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    total_cost: float | None
    fallback_used: bool
    fallback_chain: list[Any] | None
    attributes: Json
    prompt_versions: Json | list[Any] | None
    user_id: str | None
    session_id: str | None


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """One row of ``ml_observability_feedback``, with the agent it judges (None while its span is not stored)."""

    feedback_id: str
    trace_id: str
    span_id: str | None
    name: str
    value: float
    reason: str | None
    category: str | None
    source: str
    recorded_at: datetime
    agent_name: str | None


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """One row of ``ml_observability_metrics``."""

    metric_id: str
    trace_id: str | None
    span_id: str | None
    name: str
    value: float
    metadata: Json
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace in one line.

    ``duration_ms`` is the root's own; where there is no root or more than one (a resumed run), the time
    from the first start to the last end. ``cost`` adds up what is known; ``unpriced_calls`` counts the
    model calls whose cost is not.
    """

    trace_id: str
    operation: str
    agent_name: str
    agents: list[str]
    started_at: datetime
    ended_at: datetime | None
    duration_ms: float | None
    spans: int
    errors: int
    tokens: int
    cost: float | None
    unpriced_calls: int
    status: str


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace whole: spans by start, feedback and metrics by time."""

    trace_id: str
    spans: tuple[SpanRecord, ...]
    feedback: tuple[FeedbackRecord, ...]
    metrics: tuple[MetricRecord, ...]


@dataclass(frozen=True, slots=True)
class OrphanRecord:
    """A stored span that is not in its place."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    agent_name: str
    operation_type: str
    started_at: datetime
    reason: OrphanReason


@dataclass(frozen=True, slots=True)
class AgentLatency:
    """One row of ``v_agent_latency_summary``; milliseconds, and rates from 0 to 1."""

    agent_name: str
    agent_tier: str
    total_spans: int
    avg_duration_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    error_rate: float
    fallback_rate: float
    total_tokens_used: int


@dataclass(frozen=True, slots=True)
class SpanFigures:
    """Figures over spans: of one agent, of one tier (``agent_name`` None), or of all (both None).

    ``spans`` counts all of them, ``timed`` those with a duration, which the percentiles (milliseconds,
    linear interpolation) are over. ``credit`` is the mean over spans of 1 for success, ½ for success by
    a fallback, 0 otherwise. ``cost`` adds up the known costs, in US dollars.
    """

    agent_name: str | None
    agent_tier: str | None
    spans: int
    timed: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    success_rate: float
    error_rate: float
    fallback_rate: float
    credit: float
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost: float | None
    unpriced_calls: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many rows retention deleted, or would delete; ``traces`` counts the traces they belonged to."""

    traces: int = 0
    spans: int = 0
    feedback: int = 0
    metrics: int = 0

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(
            self.traces + other.traces,
            self.spans + other.spans,
            self.feedback + other.feedback,
            self.metrics + other.metrics,
        )
