"""Hand the request's spans to the tracing connector and see where they got."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.runtime import Runtime

from src.agents.ml_foundation.observability_connector.services import PLACE, Services, services_of
from src.agents.ml_foundation.observability_connector.state import Emission, Emitted, ObserveState, ObserveUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import DatabaseUnavailable
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid_int, uuid_text

# Leaves time for the count within the node's budget; what is not delivered by then stays in the spool.
FLUSH_S = 2.0
AT_ONCE = 1000


@traced_node(PLACE, "emit_spans")
async def emit_spans(state: ObserveState, runtime: Runtime[Deps]) -> ObserveUpdate:
    """Record all spans, wait for their delivery, and count those that the database has."""
    services, spans = services_of(runtime.context), state["request"].spans
    if not spans:
        return {"emission": Emission(Emitted())}
    with services.monitor.timing("emit_spans"):
        return {"emission": await _emit(services, spans)}


async def _emit(services: Services, spans: Sequence[FinishedSpan]) -> Emission:
    wanted = {(_id(span.trace_id), _id(span.span_id)) for span in spans}
    before = services.tracer.get_status()
    if not before["is_enabled"]:
        return Emission(Emitted(dropped=len(wanted)), ("nothing is recorded: no sink is configured",))
    for first in range(0, len(spans), AT_ONCE):
        for span in spans[first : first + AT_ONCE]:
            services.tracer.record_span(span)
        await asyncio.sleep(0)
    await services.tracer.flush(FLUSH_S)
    after = services.tracer.get_status()
    try:
        stored = await services.traces.stored(sorted(wanted)) if "database" in after["sinks"] else 0
    except DatabaseUnavailable as error:
        return _emission(len(wanted), 0, before, after, str(error))
    return _emission(len(wanted), stored, before, after, after["sinks"].get("database", {}).get("last_error"))


def _emission(
    wanted: int, stored: int, before: Mapping[str, Any], after: Mapping[str, Any], problem: str | None
) -> Emission:
    missing = wanted - stored
    dropped = min(missing, int(after["refused"]) - int(before["refused"]))
    spooled = missing - dropped
    degraded = []
    if dropped:
        degraded.append(f"{dropped} spans were dropped: the spool has no room")
    if spooled:
        degraded.append(f"{spooled} spans wait in the spool" + (f": {problem}" if problem else ""))
    return Emission(Emitted(stored, _mirrored(wanted, before, after), spooled, dropped), tuple(degraded))


def _mirrored(wanted: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> int | None:
    if "opik" not in after["sinks"]:
        return None
    earlier = before["sinks"].get("opik", {}).get("delivered", 0)
    return min(wanted, int(after["sinks"]["opik"]["delivered"]) - int(earlier))


def _id(text: str) -> str:
    """The id as it is stored."""
    return uuid_text(uuid_int(text))
