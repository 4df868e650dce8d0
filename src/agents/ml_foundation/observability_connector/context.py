"""Where in which trace does new work belong? Contexts that pass between functions and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.agents.ml_foundation.observability_connector.services import OpenSpan
from src.errors import ContractViolation
from src.mlops.tracing.ids import uuid7, uuid_text
from src.mlops.tracing.propagation import remote_parent


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A trace and the span in it that new spans go under: one of E2I's, one of another process, or none yet.

    ``headers`` are the W3C headers (``traceparent``, ``tracestate``) that name this place to another
    process; empty while the trace has no span.
    """

    trace_id: str
    parent_span_id: str | None
    headers: Mapping[str, str]

    def traceparent(self) -> str:
        """The W3C header; raises ContractViolation while the trace has no span to continue from."""
        if "traceparent" not in self.headers:
            raise ContractViolation(
                "this context has no span yet; open one with span(…) and pass that on: create_child_context(span)"
            )
        return self.headers["traceparent"]

    def arguments(self) -> dict[str, Any]:
        """As ``Tracer.trace_agent`` takes it."""
        remote = self.headers if self.parent_span_id is None and self.headers else None
        return {"trace_id": self.trace_id, "parent_span_id": self.parent_span_id, "headers": remote}


def create_context() -> TraceContext:
    """A new trace without any span."""
    return TraceContext(str(uuid7()), None, {})


def create_child_context(parent: OpenSpan | TraceContext | str | Mapping[str, str]) -> TraceContext:
    """The place below a span, an other context, a ``traceparent`` or the headers of a request.

    Raises ContractViolation for headers that are not W3C trace context.
    """
    if isinstance(parent, TraceContext):
        return parent
    if not isinstance(parent, str | Mapping):
        return TraceContext(parent.trace_id, parent.span_id, parent.headers())
    headers = {"traceparent": parent} if isinstance(parent, str) else parent
    remote = remote_parent(headers)
    if remote is None:
        shown = str({name.lower(): value for name, value in headers.items()}.get("traceparent", ""))[:80]
        raise ContractViolation(
            f"'{shown}' is not a W3C traceparent (00-<32 hex digits>-<16 hex digits>-<2 hex digits>)"
        )
    kept = {name.lower(): value for name, value in headers.items() if name.lower() in ("traceparent", "tracestate")}
    return TraceContext(uuid_text(remote.trace), uuid_text(remote.span) if remote.span else None, kept)
