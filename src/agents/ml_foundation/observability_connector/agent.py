"""Are all spans where they belong, and how well do the agents work? The agent that records and measures."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.observability_connector import context
from src.agents.ml_foundation.observability_connector.context import TraceContext
from src.agents.ml_foundation.observability_connector.graph import build_graph
from src.agents.ml_foundation.observability_connector.metric_cache import MetricCache
from src.agents.ml_foundation.observability_connector.quality import (
    Measurement,
    QualityMetrics,
    check_agents,
    measure,
)
from src.agents.ml_foundation.observability_connector.self_monitor import OwnWork, SelfMonitor
from src.agents.ml_foundation.observability_connector.services import (
    PLACE,
    OpenSpan,
    Services,
    Tracer,
    TraceStore,
)
from src.agents.ml_foundation.observability_connector.state import Emission, Emitted, ObserveRequest
from src.agents.results import AgentMeta
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.errors import ContractViolation, nearest_names
from src.mlops.tracing.finished import finished_span
from src.resilience.outcomes import Unavailable
from src.storage.traces import window_named


@dataclass(frozen=True, slots=True)
class ObserveResult:
    """What became of the spans, and the metrics or the ``reason`` why there are none."""

    emitted: Emitted
    metrics: QualityMetrics | None
    reason: str | None
    error: NodeError | None
    meta: AgentMeta


def request_from(raw: ObserveRequest | Mapping[str, Any]) -> ObserveRequest:
    """Accept a request or its JSON form.

    Raises ContractViolation for an unknown key, window, agent to measure, or a span that is not valid;
    an agent named in a span may be anything and is counted as ``unknown`` when it is not one of ours.
    """
    if not isinstance(raw, ObserveRequest):
        known = list(ObserveRequest.__dataclass_fields__)
        for key in raw:
            if key not in known:
                raise ContractViolation(f"unknown key '{key}' in the request; {nearest_names(key, known)}")
        raw = ObserveRequest(
            spans=tuple(finished_span(span) for span in raw.get("spans") or ()),
            window=window_named(raw.get("window") or ObserveRequest().window),
            agents=tuple(raw.get("agents") or ()),
        )
    check_agents(raw.agents)
    return dataclasses.replace(raw, window=window_named(raw.window))


class ObservabilityConnectorAgent:
    """Records spans of others, measures what is stored, and opens spans for callers without an agent."""

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(
        self,
        tracer: Tracer,
        traces: TraceStore,
        cache: MetricCache,
        *,
        ttl: Mapping[str, float],
        sla_seconds: float | None = None,
    ) -> None:
        """``ttl`` is how many seconds metrics are kept, by window.

        ``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning.
        """
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = Services(tracer, traces, cache, ttl, SelfMonitor())
        self._graph = build_graph()

    async def run(self, request: ObserveRequest | Mapping[str, Any], deps: Deps) -> ObserveResult:
        """Record the spans of ``request``, then measure.

        Raises ContractViolation, before anything is recorded, for a request that is not valid. Exceptions
        other than E2IError leave unchanged.
        """
        started, began = datetime.now(UTC), time.monotonic()
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services})
        with self._services.monitor.timing("run"):
            async with self._services.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id):
                state = await self._graph.ainvoke({"request": request_from(request)}, context=own)
        seconds = time.monotonic() - began
        return _result(state, deps.trace_id, started, seconds, self.sla_seconds)

    async def get_quality_metrics(
        self, window: str = "24h", agents: Sequence[str] = ()
    ) -> QualityMetrics | Unavailable:
        """Metrics of a window, of all agents or some; Unavailable, with the reason, when there are no spans.

        Raises ContractViolation for an unknown window or agent, and DatabaseUnavailable.
        """
        check_agents(agents)
        with self._services.monitor.timing("get_quality_metrics"):
            found = await measure(self._services, window_named(window), agents)
        return found.metrics or Unavailable(self.agent_name, found.reason or "no metrics")

    def create_context(self) -> TraceContext:
        """A new trace without any span."""
        return context.create_context()

    def create_child_context(self, parent: OpenSpan | TraceContext | str | Mapping[str, str]) -> TraceContext:
        """The place below a span, a context, a W3C ``traceparent`` or a request's headers."""
        return context.create_child_context(parent)

    def span(
        self,
        name: str,
        agent: str,
        *,
        within: TraceContext | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AbstractAsyncContextManager[Any]:
        """``async with`` a span ``name`` of ``agent``; without ``within`` under the span that is open."""
        place = within.arguments() if within is not None else {}
        return self._services.tracer.trace_agent(agent, name, metadata=metadata, **place)

    def track_llm_call(
        self,
        model: str,
        *,
        provider: str = "anthropic",
        within: TraceContext | None = None,
        metadata: Mapping[str, Any] | None = None,
        input_data: Any = None,
    ) -> AbstractAsyncContextManager[Any]:
        """``async with`` a span of one model call; its context takes ``log_tokens`` and ``set_cost``."""
        place = {} if within is None else {"trace_id": within.trace_id, "parent_span_id": within.parent_span_id}
        return self._services.tracer.trace_llm_call(
            model, provider=provider, metadata=metadata, input_data=input_data, **place
        )

    def own_work(self) -> dict[str, OwnWork]:
        """Latency and errors of this agent's own operations since the process started."""
        return self._services.monitor.report()


def _result(state: Any, trace_id: str, started: datetime, seconds: float, sla_seconds: float) -> ObserveResult:
    emission: Emission | None = state.get("emission")
    found: Measurement | None = state.get("measurement")
    error: NodeError | None = state.get("error")
    warnings = [found.reason] if found is not None and found.reason else []
    if found is not None and found.metrics is not None and found.cached:
        warnings.append(f"the metrics were computed at {found.metrics.computed_at:%H:%M:%S} UTC and kept since")
    if seconds > sla_seconds:
        warnings.append(f"the run took {seconds:.1f} s; its budget is {sla_seconds:g} s")
    degraded = (emission.degraded if emission else ()) + (found.degraded if found else ())
    if error is not None:
        degraded += (f"{error.node}: {error.message}",)
    meta = AgentMeta(
        agent_name=PLACE,
        trace_id=trace_id,
        status=_status(emission, found),
        started_at=started,
        duration_ms=seconds * 1000.0,
        warnings=tuple(warnings),
        degraded=degraded,
    )
    reason = found.reason if found else (error.message if error else None)
    return ObserveResult(
        emission.emitted if emission else Emitted(), found.metrics if found else None, reason, error, meta
    )


def _status(emission: Emission | None, found: Measurement | None) -> str:
    if found is not None:
        return "partial" if emission is None or emission.degraded else "completed"
    return "partial" if emission is not None and emission.emitted != Emitted() else "failed"
