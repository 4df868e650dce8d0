"""How does a span look in OTLP/HTTP JSON?

Source: OpenTelemetry Protocol 1.7, "JSON Protobuf Encoding": ids as lower-case hex, 64-bit integers as decimal strings,
enums as numbers, field names in lowerCamelCase. The names of attributes are those of the GenAI conventions where they
have one (``gen_ai.*``, ``error.type``, ``session.id``, ``user.id``), and ``e2i.*`` otherwise; input and output are JSON
text under ``e2i.input`` and ``e2i.output``.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

Body = dict[str, Any]

KIND_INTERNAL, KIND_CLIENT = 1, 3
STATUS_ERROR = 2
SCOPE = "e2i.tracing"
_INT64 = range(-(2**63), 2**63)
_HEX_16 = re.compile(r"[0-9a-f]{16}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Shown by fields of the span, by the exception event, or under a name of their own.
_PLACED = {"name", "root", "input", "output", "events", "exception.stacktrace", "w3c.parent_id"}
_COLUMNS = {
    "agent_name": "e2i.agent",
    "agent_tier": "e2i.tier",
    "operation_type": "e2i.operation",
    "status": "e2i.status",
    "error_type": "error.type",
    "model_name": "gen_ai.response.model",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "total_cost": "e2i.cost_usd",
    "session_id": "session.id",
    "user_id": "user.id",
    "prompt_versions": "e2i.prompt_versions",
    "fallback_used": "e2i.fallback_used",
    "fallback_chain": "e2i.fallback_chain",
    "experiment_id": "e2i.experiment_id",
    "training_run_id": "e2i.training_run_id",
    "deployment_id": "e2i.deployment_id",
}


def export_request(spans: Sequence[bytes], resource: Mapping[str, Any]) -> bytes:
    """ExportTraceServiceRequest around spans that are encoded already."""
    head = orjson.dumps({"attributes": attributes(resource)})
    return b'{"resourceSpans":[{"resource":%s,"scopeSpans":[{"scope":{"name":"%s"},"spans":[%s]}]}]}' % (
        head,
        SCOPE.encode(),
        b",".join(spans),
    )


def otlp_span(span: Body) -> Body:
    """One span record as an OTLP Span. Raises KeyError, TypeError or ValueError for one that has no such form."""
    shown = span.get("attributes") or {}
    body: Body = {
        "traceId": trace_id(span["trace_id"]),
        "spanId": span_id(span["span_id"]),
        "name": shown.get("name") or span["operation_type"],
        "kind": KIND_CLIENT if shown.get("span_type") == "llm" else KIND_INTERNAL,
        "startTimeUnixNano": nanoseconds(span["started_at"]),
        "endTimeUnixNano": nanoseconds(span.get("ended_at") or span["started_at"]),
        "attributes": attributes(_named(span, shown)),
        "events": [*_events(shown), *_exception(span, shown)],
    }
    parent = shown.get("w3c.parent_id") or span.get("parent_span_id")
    if parent:
        body["parentSpanId"] = span_id(parent)
    if span.get("error_type"):
        body["status"] = {"code": STATUS_ERROR, "message": span.get("error_message") or span["error_type"]}
    return body


def trace_id(text: str) -> str:
    """32 hex digits: those of the UUID, or of a hash of an id of another kind."""
    try:
        return UUID(text).hex
    except ValueError:
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def span_id(text: str) -> str:
    """16 hex digits: the last ones of the UUID as in ``traceparent``, an id that is one already, or of a hash."""
    if _HEX_16.fullmatch(text):
        return text
    try:
        return UUID(text).hex[-16:]
    except ValueError:
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def nanoseconds(text: str) -> str:
    """A time as nanoseconds since 1970, in exact decimal digits."""
    since = datetime.fromisoformat(text) - _EPOCH
    return str(((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000)


def attributes(values: Mapping[str, Any]) -> list[Body]:
    """KeyValue list; what is None is left out."""
    return [{"key": str(key), "value": any_value(value)} for key, value in values.items() if value is not None]


def any_value(value: Any) -> Body:
    """AnyValue of a JSON value; null is the empty value, an integer beyond 64 bits its decimal text."""
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)} if value in _INT64 else {"stringValue": str(value)}
        case float():
            return {"doubleValue": value} if math.isfinite(value) else {"stringValue": str(value)}
        case list() | tuple():
            return {"arrayValue": {"values": [any_value(item) for item in value]}}
        case Mapping():
            return {"kvlistValue": {"values": attributes(value)}}
        case _:
            return {"stringValue": str(value)}


def _named(span: Body, shown: Body) -> Body:
    named = {key: value for key, value in shown.items() if key not in _PLACED}
    named |= {_COLUMNS[name]: span[name] for name in _COLUMNS if span.get(name) is not None}
    for name in ("input", "output"):
        if shown.get(name) is not None:
            named[f"e2i.{name}"] = orjson.dumps(shown[name]).decode()
    if not _is_uuid(span["trace_id"]):
        named["e2i.trace_id"] = span["trace_id"]
    return named


def _events(shown: Body) -> list[Body]:
    events = shown.get("events")
    # Events that were too long together are one piece of text.
    if not isinstance(events, list):
        return []
    return [
        {
            "name": event["name"],
            "timeUnixNano": nanoseconds(event["at"]),
            "attributes": attributes(event.get("attributes") or {}),
        }
        for event in events
    ]


def _exception(span: Body, shown: Body) -> list[Body]:
    if not span.get("error_type"):
        return []
    described = {
        "exception.type": span["error_type"],
        "exception.message": span.get("error_message"),
        "exception.stacktrace": shown.get("exception.stacktrace"),
    }
    at = nanoseconds(span.get("ended_at") or span["started_at"])
    return [{"name": "exception", "timeUnixNano": at, "attributes": attributes(described)}]


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
