"""Measure latency, errors, fallbacks and tokens over the stored spans of the window."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.observability_connector.quality import measure
from src.agents.ml_foundation.observability_connector.services import PLACE, services_of
from src.agents.ml_foundation.observability_connector.state import ObserveState, ObserveUpdate
from src.agents.runtime import Deps, traced_node


@traced_node(PLACE, "aggregate_metrics")
async def aggregate_metrics(state: ObserveState, runtime: Runtime[Deps]) -> ObserveUpdate:
    """Metrics from the cache or the database; none when there are no spans."""
    services, request = services_of(runtime.context), state["request"]
    with services.monitor.timing("aggregate_metrics"):
        return {"measurement": await measure(services, request.window, request.agents)}
