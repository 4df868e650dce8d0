"""What do the nodes of observability_connector work with, and where do they find it during a run?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from src.agents.ml_foundation.observability_connector.metric_cache import MetricCache
from src.agents.ml_foundation.observability_connector.self_monitor import SelfMonitor
from src.agents.runtime import Deps
from src.mlops.tracing.finished import FinishedSpan
from src.storage.trace_records import SpanFigures, Window

PLACE = "observability_connector"


class OpenSpan(Protocol):
    """A span while it is open, and its ids afterwards."""

    @property
    def trace_id(self) -> str:
        """UUID of the trace."""
        ...

    @property
    def span_id(self) -> str:
        """UUID of the span."""
        ...

    def headers(self) -> dict[str, str]:
        """W3C ``traceparent`` and ``tracestate``."""
        ...


class Tracer(Protocol):
    """What the agent needs of the tracing connector."""

    def trace_agent(
        self,
        agent_name: str,
        operation: str,
        *,
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Any]:
        """A span around an ``async with`` block."""
        ...

    def trace_llm_call(
        self,
        model: str,
        *,
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        provider: str = "anthropic",
        metadata: Mapping[str, Any] | None = None,
        input_data: Any = None,
    ) -> AbstractAsyncContextManager[Any]:
        """A span around one model call."""
        ...

    def record_span(self, span: FinishedSpan) -> object:
        """Take over a span that has ended."""
        ...

    async def flush(self, timeout: float) -> object:
        """Wait until what was recorded is delivered, at most ``timeout`` seconds."""
        ...

    def get_status(self) -> dict[str, Any]:
        """Counters of the sinks, and what was refused."""
        ...


class TraceStore(Protocol):
    """Where spans can be counted and measured; ``TraceRepository`` in production."""

    @property
    def location(self) -> str:
        """Which database this is."""
        ...

    async def stored(self, spans: Sequence[tuple[str, str]]) -> int:
        """How many of these spans (trace id, span id) are there."""
        ...

    async def figures(self, window: Window | str = ..., agents: Sequence[str] | None = None) -> list[SpanFigures]:
        """Figures per agent, per tier and over all."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The agent's connections, the same for all its runs; ``ttl`` is in seconds by window (absent: not kept)."""

    tracer: Tracer
    traces: TraceStore
    cache: MetricCache
    ttl: Mapping[str, float]
    monitor: SelfMonitor


def services_of(deps: Deps) -> Services:
    """The services of the agent whose run this is."""
    return cast(Services, deps.workspace[PLACE])
