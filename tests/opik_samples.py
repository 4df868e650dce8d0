"""Records as the tracing package encodes them, for tests of what becomes of them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from src.mlops.tracing.records import Kind, Record

START = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)
PROJECT = "e2i-causal-analytics"
_numbers = itertools.count(1)


def at(seconds: float) -> str:
    """A time ``seconds`` after START, as records write it."""
    return (START + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def identity(seconds: float = 0.0, number: int | None = None) -> str:
    """A UUID version 7 made ``seconds`` after START."""
    milliseconds = int((START + timedelta(seconds=seconds)).timestamp() * 1000)
    number = next(_numbers) if number is None else number
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | number))


def span(**changes: Any) -> dict[str, Any]:
    """The document of a finished span of the orchestrator, lasting from second 1 to second 2."""
    attributes = changes.pop("attributes", {})
    document = {
        "trace_id": identity(number=1),
        "span_id": identity(1.0),
        "parent_span_id": None,
        "agent_name": "orchestrator",
        "agent_tier": "coordination",
        "operation_type": "classify_intent",
        "started_at": at(1.0),
        "ended_at": at(2.0),
        "duration_ms": 1000.0,
        "status": "success",
        "error_type": None,
        "error_message": None,
        "fallback_used": False,
        "fallback_chain": None,
        "prompt_versions": None,
        "user_id": None,
        "session_id": None,
        "attributes": {
            "name": "classify_intent",
            "span_type": "general",
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "orchestrator",
            **attributes,
        },
    }
    return document | changes


def feedback(**changes: Any) -> dict[str, Any]:
    """The document of a score of a trace."""
    return {
        "feedback_id": identity(3.0),
        "trace_id": identity(number=1),
        "span_id": None,
        "name": "quality",
        "value": 0.5,
        "reason": "answers the question",
        "category": None,
        "source": "sdk",
        "recorded_at": at(3.0),
        **changes,
    }


def metric(**changes: Any) -> dict[str, Any]:
    """The document of a metric of a trace."""
    return {
        "metric_id": identity(3.0),
        "trace_id": identity(number=1),
        "span_id": None,
        "name": "rows_read",
        "value": 12.0,
        "metadata": {},
        "recorded_at": at(3.0),
        **changes,
    }


def record(document: dict[str, Any]) -> Record:
    """``document`` encoded as the writer does it."""
    kind = Kind.METRIC if "metric_id" in document else Kind.FEEDBACK if "feedback_id" in document else Kind.SPAN
    return Record(kind, orjson.dumps(document))


def records(*documents: dict[str, Any]) -> list[Record]:
    """``documents`` encoded."""
    return [record(document) for document in documents]
