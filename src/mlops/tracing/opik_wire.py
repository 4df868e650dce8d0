"""How does one record look on Opik's wire?

Whole records only. Opik keeps, of all versions of a trace or span, the one with the highest
``last_updated_at``, so that value decides which version of a trace stays, whatever order they arrive in:

- the root span writes the final trace, ranked by the root's end;
- a root that continues a trace begun in another E2I process ranks just below the trace's start: it shows a
  trace whose real root never arrives, and gives way to it otherwise;
- spans whose root is not known yet write a provisional trace, ranked lower still.

Opik accepts ids of UUID version 7 only. An id of another kind (from a foreign ``traceparent``, or chosen by a caller)
is mapped to one made of the record's UTC day and a hash of the id; the original stays in ``metadata``. Such a trace
appears once per day it touches.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from src.mlops.tracing.records import PROJECT

Body = dict[str, Any]

SPAN_TYPES = ("general", "tool", "llm", "guardrail")
SCORE_LIMIT = 1e9
INT32_MAX = 2**31 - 1
NO_REASON = "no reason was given"
# Columns and attributes that have a field of their own in Opik's span.
_PLACED = {"name", "span_type", "root", "input", "output", "tags", "exception.stacktrace", "ttft_ms", PROJECT}
_LINKS = ("prompt_versions", "fallback_used", "fallback_chain", "experiment_id", "training_run_id", "deployment_id")
# An id has milliseconds and is made just before the root starts; a larger gap means that the trace was resumed.
_ID_PRECISION = timedelta(milliseconds=10)
_OLDEST, _AHEAD = timedelta(days=3650), timedelta(days=1)
_CONTINUES, _PROVISIONAL = timedelta(milliseconds=1), timedelta(milliseconds=2)


def span_body(span: Body, project: str) -> Body:
    """Span_Write of one span record."""
    attributes = span.get("attributes") or {}
    started = span["started_at"]
    return _without_nulls(
        {
            "id": mirror_id(span["span_id"], started),
            "trace_id": mirror_id(span["trace_id"], started),
            "parent_span_id": _parent(span),
            "type": _span_type(attributes.get("span_type")),
            "model": span.get("model_name") or _text(attributes.get("gen_ai.request.model")),
            "provider": _text(attributes.get("gen_ai.provider.name")),
            "usage": _usage(span, attributes),
            "last_updated_at": span.get("ended_at") or started,
            "total_estimated_cost": _cost(span.get("total_cost")),
            "ttft": _number(attributes.get("ttft_ms")),
        }
        | _common(span, attributes, project)
    )


def trace_body(span: Body, project: str) -> Body:
    """Trace_Write of the trace whose root is ``span``."""
    attributes = span.get("attributes") or {}
    start = _trace_start(span)
    ended = max(span.get("ended_at") or start, start)
    rank = _earlier(_rank(span), _CONTINUES) if continues_elsewhere(span) else ended
    return _without_nulls(
        _common(span, attributes, project)
        | {
            "id": mirror_id(span["trace_id"], span["started_at"]),
            "start_time": start,
            "last_updated_at": rank,
            "thread_id": _thread(span, attributes),
        }
    )


def provisional_trace(span: Body, project: str) -> Body:
    """A whole trace that says no more than that it began; any other version of it wins."""
    start = _trace_start(span)
    attributes = span.get("attributes") or {}
    return _without_nulls(
        {
            "id": mirror_id(span["trace_id"], span["started_at"]),
            "project_name": project,
            "name": f"{span['agent_name']} (running)",
            "start_time": start,
            "last_updated_at": _earlier(_rank(span), _PROVISIONAL),
            "thread_id": _thread(span, attributes),
            "metadata": {"provisional": True} | _origin(span),
        }
    )


def is_root(span: Body) -> bool:
    """Whether the span is the first of its trace in its process."""
    return bool((span.get("attributes") or {}).get("root"))


def continues_elsewhere(span: Body) -> bool:
    """Whether another E2I process began the trace of this root, and will write it."""
    remote = span.get("parent_span_id") or (span.get("attributes") or {}).get("w3c.parent_id")
    return bool(remote) and is_time_ordered(span["trace_id"], span["started_at"])


def score_body(feedback: Body, project: str) -> Body:
    """FeedbackScoreBatchItem of one feedback record, for its span where it names one, else for its trace."""
    return _without_nulls(
        {
            "id": mirror_id(feedback.get("span_id") or feedback["trace_id"], feedback["recorded_at"]),
            "project_name": project,
            "name": _score_name(feedback),
            "value": _score_value(feedback),
            "source": feedback.get("source") or "sdk",
            "reason": feedback.get("reason") or NO_REASON,
            "category_name": feedback.get("category"),
        }
    )


def metric_score_body(metric: Body, project: str) -> Body:
    """FeedbackScoreBatchItem of a metric that belongs to a trace."""
    return {
        "id": mirror_id(metric["trace_id"], metric["recorded_at"]),
        "project_name": project,
        "name": _score_name(metric),
        "value": _score_value(metric),
        "source": "sdk",
        "reason": "metric",
    }


def metric_trace_body(metric: Body, project: str) -> Body:
    """Trace_Write of a metric that belongs to no trace, or is too large for a score."""
    return {
        "id": mirror_id(metric["metric_id"], metric["recorded_at"]),
        "project_name": project,
        "name": f"metric {_score_name(metric)}",
        "start_time": metric["recorded_at"],
        "end_time": metric["recorded_at"],
        "last_updated_at": metric["recorded_at"],
        "output": {"value": _finite(metric)},
        "metadata": {
            "metric": metric["name"],
            "attributes": metric.get("metadata") or {},
            **_without_nulls({"trace_id": metric.get("trace_id"), "span_id": metric.get("span_id")}),
        },
        "tags": ["metric"],
    }


def mirror_id(text: str, at: str) -> str:
    """The id itself where Opik accepts it, else one made of the UTC day of ``at`` and a hash of it."""
    if is_time_ordered(text, at):
        return str(UUID(text))
    day = _moment(at).replace(hour=0, minute=0, second=0, microsecond=0)
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:10], "big")
    high, low = digest >> 68, digest & ((1 << 62) - 1)
    milliseconds = int(day.timestamp() * 1000)
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))


def is_time_ordered(text: Any, at: str) -> bool:
    """Whether ``text`` is a UUID version 7 with a sensible time, seen from ``at``.

    One in 64 random ids of other systems looks like version 7, with a time of any century.
    """
    made = _uuid7_time(text)
    return made is not None and _moment(at) - _OLDEST <= made <= _moment(at) + _AHEAD


def _common(span: Body, attributes: Body, project: str) -> Body:
    return {
        "project_name": project,
        "name": _text(attributes.get("name")) or span["operation_type"],
        "start_time": span["started_at"],
        "end_time": span.get("ended_at"),
        "input": _object(attributes.get("input"), "input"),
        "output": _object(attributes.get("output"), "output"),
        "metadata": _metadata(span, attributes),
        "tags": _tags(attributes.get("tags")),
        "error_info": _error(span, attributes),
    }


def _metadata(span: Body, attributes: Body) -> Body:
    """``attributes`` are the caller's own; names of ours lie beside them, so that neither hides the other."""
    own = {key: value for key, value in attributes.items() if key not in _PLACED and not key.startswith("gen_ai.")}
    return (
        {"agent": span["agent_name"], "tier": span["agent_tier"], "operation": span["operation_type"]}
        | {"status": span["status"]}
        | {key: value for key, value in attributes.items() if key.startswith("gen_ai.")}
        | {name: span[name] for name in _LINKS if span.get(name)}
        | ({"attributes": own} if own else {})
        | _origin(span)
    )


def _origin(span: Body) -> Body:
    """Ids that the mirror cannot carry as they are."""
    given = {name: span.get(name) for name in ("trace_id", "span_id", "parent_span_id")}
    return {name: text for name, text in given.items() if text and not is_time_ordered(text, span["started_at"])}


def _parent(span: Body) -> str | None:
    """The parent, unless it is one that Opik will never see: a foreign span above our root, or no id at all."""
    parent = span.get("parent_span_id")
    if not _is_uuid(parent) or (is_root(span) and not is_time_ordered(parent, span["started_at"])):
        return None
    return mirror_id(str(parent), span["started_at"])


def _usage(span: Body, attributes: Body) -> dict[str, int] | None:
    counts = {
        "prompt_tokens": span.get("input_tokens"),
        "completion_tokens": span.get("output_tokens"),
        "total_tokens": span.get("total_tokens"),
        "original_usage.input_tokens": span.get("input_tokens"),
        "original_usage.output_tokens": span.get("output_tokens"),
        "original_usage.cache_read_input_tokens": attributes.get("gen_ai.usage.cache_read.input_tokens"),
    }
    # Opik's counts have 32 bits; a larger one stays in the metadata only.
    usage = {name: n for name, n in counts.items() if type(n) is int and 0 <= n <= INT32_MAX}
    return usage or None


def _error(span: Body, attributes: Body) -> Body | None:
    if not span.get("error_type"):
        return None
    message = span.get("error_message") or span["error_type"]
    traceback = _text(attributes.get("exception.stacktrace")) or message
    return {"exception_type": span["error_type"], "message": message, "traceback": traceback}


def _object(value: Any, name: str) -> Body | None:
    """Opik's input and output are JSON objects."""
    return value if value is None or isinstance(value, dict) else {name: value}


def _tags(value: Any) -> list[str] | None:
    tags = dict.fromkeys(tag for tag in value if isinstance(tag, str) and tag) if isinstance(value, list) else {}
    return list(tags) or None


def _thread(span: Body, attributes: Body) -> str | None:
    return span.get("session_id") or _text(attributes.get("gen_ai.conversation.id"))


def _span_type(value: Any) -> str:
    return value if isinstance(value, str) and value in SPAN_TYPES else "general"


def _cost(value: Any) -> float | None:
    cost = _number(value)
    return cost if cost is not None and cost >= 0 else None


def _score_name(document: Body) -> str:
    name = document["name"]
    if not isinstance(name, str) or not name.strip():
        raise ValueError("the name of a score is empty")
    return name


def _score_value(document: Body) -> float:
    if not fits_score(document.get("value")):
        raise ValueError(f"the value of a score must be a number between {-SCORE_LIMIT:g} and {SCORE_LIMIT:g}")
    return float(document["value"])


def fits_score(value: Any) -> bool:
    """Whether Opik takes the value as a score."""
    number = _number(value)
    return number is not None and abs(number) <= SCORE_LIMIT


def _finite(metric: Body) -> float:
    number = _number(metric.get("value"))
    if number is None:
        raise ValueError("the value of a metric must be a finite number")
    return number


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _trace_start(span: Body) -> str:
    """The time in the trace's id where it is ours and says more than the span's own start; that start otherwise."""
    started: str = span["started_at"]
    made = _uuid7_time(span["trace_id"])
    if made is None or not is_time_ordered(span["trace_id"], started):
        return started
    return _iso(made) if _moment(started) - made >= _ID_PRECISION else started


def _rank(span: Body) -> str:
    """No later than any span of the trace, and the same for all of them where the id is ours."""
    made = _uuid7_time(span["trace_id"])
    own = made is not None and is_time_ordered(span["trace_id"], span["started_at"])
    return min(_iso(made), span["started_at"]) if own and made is not None else str(span["started_at"])


def _earlier(at: str, by: timedelta) -> str:
    return _iso(_moment(at) - by)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _uuid7_time(text: Any) -> datetime | None:
    if not _is_uuid(text) or UUID(text).version != 7:
        return None
    try:
        return datetime.fromtimestamp((UUID(text).int >> 80) / 1000, UTC)
    except (ValueError, OverflowError):
        return None


def _is_uuid(text: Any) -> bool:
    try:
        UUID(text)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _without_nulls(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None}
