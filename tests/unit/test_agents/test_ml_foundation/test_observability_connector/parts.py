"""Finished spans, a clock that is set by hand, and a loader without data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from src.agents.runtime import Filter, LoadedRows
from src.errors import DatasetNotFound
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid7

TTL = {"1h": 60.0, "24h": 300.0, "7d": 600.0}


class Clock:
    """Seconds, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class NoDatasets:
    async def load(
        self, dataset_id: str, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> LoadedRows:
        raise DatasetNotFound(f"no dataset '{dataset_id}'")


def finished(*, agent: str = "causal_impact", ms: float = 10.0, ago_s: float = 60.0, **other: Any) -> FinishedSpan:
    """A span of ``agent`` that ended ``ago_s`` seconds ago."""
    ended = datetime.now(UTC) - timedelta(seconds=ago_s)
    if other.get("status", "success") != "success":
        other = {"error_type": "EstimationError", "error_message": "no overlap"} | other
    values: dict[str, Any] = {
        "trace_id": str(uuid7()),
        "span_id": str(uuid7()),
        "agent_name": agent,
        "operation_type": "estimation",
        "started_at": ended - timedelta(milliseconds=ms),
        "ended_at": ended,
        "duration_ms": ms,
    }
    return FinishedSpan(**(values | other))


def as_json(span: FinishedSpan, **changes: Any) -> dict[str, Any]:
    """The same span as it comes over the wire; a change to ``...`` leaves the key out."""
    import dataclasses

    raw = dataclasses.asdict(span)
    raw |= {name: raw[name].isoformat() for name in ("started_at", "ended_at")} | changes
    return {name: value for name, value in raw.items() if value is not ...}
