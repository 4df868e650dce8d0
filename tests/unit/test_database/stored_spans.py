"""Spans, feedback and metrics put straight into their tables, as the delivery stores them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from src.domain.agents import agent_identity
from src.mlops.tracing.ids import uuid7
from src.storage.database import Database, json_value

Row = dict[str, Any]


def ago(seconds: float) -> datetime:
    """The moment so many seconds before now."""
    return datetime.now(UTC) - timedelta(seconds=seconds)


def span(
    trace: str, name: str, *, agent: str = "causal_impact", ago_s: float = 60.0, ms: float = 10.0, **other: Any
) -> Row:
    """A row of ml_observability_spans: started ``ago_s`` seconds ago, ``ms`` milliseconds long."""
    who = agent_identity(agent)
    started = ago(ago_s)
    failed = other.get("status", "success") != "success"
    counts = (other.get("input_tokens"), other.get("output_tokens"))
    row: Row = {
        "trace_id": trace,
        "span_id": name,
        "parent_span_id": None,
        "agent_name": who.name,
        "agent_tier": who.tier_name,
        "operation_type": name,
        "started_at": started,
        "ended_at": started + timedelta(milliseconds=ms),
        "duration_ms": ms,
        "status": "success",
        "error_type": "EstimationError" if failed else None,
        "error_message": "no overlap" if failed else None,
        "model_name": None,
        "input_tokens": None,
        "output_tokens": None,
        "total_tokens": None if counts == (None, None) else sum(count or 0 for count in counts),
        "total_cost": None,
        "fallback_used": False,
        "attributes": {},
    }
    if unknown := set(other) - set(row) - {"parent"}:
        raise ValueError(f"no such column: {unknown}")
    parent = {"parent_span_id": other.pop("parent")} if "parent" in other else {}
    return row | parent | other


async def store(db: Database, rows: Sequence[Row]) -> None:
    columns = list(rows[0])
    plain = ([json_value(row[name]) if name == "attributes" else row[name] for name in columns] for row in rows)
    await db.copy_rows("ml_observability_spans", columns, plain)


async def add_feedback(db: Database, trace: str, *, ago_s: float = 30.0, **other: Any) -> str:
    values = {
        "feedback_id": str(uuid7()),
        "trace_id": trace,
        "name": "quality",
        "value": 0.5,
        "source": "sdk",
        "recorded_at": ago(ago_s),
    } | other
    await _insert(db, "ml_observability_feedback", values)
    return str(values["feedback_id"])


async def add_metric(db: Database, trace: str | None, *, ago_s: float = 30.0, **other: Any) -> str:
    values = {
        "metric_id": str(uuid7()),
        "trace_id": trace,
        "name": "rows",
        "value": 7.0,
        "recorded_at": ago(ago_s),
    } | other
    await _insert(db, "ml_observability_metrics", values)
    return str(values["metric_id"])


async def _insert(db: Database, table: str, values: Row) -> None:
    await db.copy_rows(table, list(values), [list(values.values())])
