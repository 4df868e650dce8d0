"""What happened in a trace, which traces were there, and how fast and how well did the agents work?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from src.errors import ContractViolation, TraceNotFound
from src.storage.database import Database, Row, describe
from src.storage.trace_records import (
    AgentLatency,
    Deleted,
    FeedbackRecord,
    MetricRecord,
    OrphanReason,
    OrphanRecord,
    SpanFigures,
    SpanRecord,
    Trace,
    TraceSummary,
    Window,
)
from src.storage.trace_retention import Progress, count_older_than, delete_older_than

Record = TypeVar("Record")

# Traces with a span since then, each whole. A resumed trace has several roots: it ended as the latest did.
_TRACES = """
WITH recent AS (
    SELECT DISTINCT trace_id FROM ml_observability_spans
    WHERE %(since)s::timestamptz IS NULL OR started_at >= %(since)s
), traces AS (
    SELECT trace_id,
        (array_agg(operation_type ORDER BY (parent_span_id IS NULL) DESC, started_at, span_id))[1] AS operation,
        (array_agg(agent_name::text ORDER BY (parent_span_id IS NULL) DESC, started_at, span_id))[1] AS agent_name,
        array_agg(DISTINCT agent_name::text) AS agents,
        min(started_at) AS started_at,
        max(ended_at) AS ended_at,
        CASE WHEN count(*) FILTER (WHERE parent_span_id IS NULL) = 1
             THEN max(duration_ms) FILTER (WHERE parent_span_id IS NULL)
             ELSE extract(epoch FROM max(ended_at) - min(started_at))::double precision * 1000 END AS duration_ms,
        count(*) AS spans,
        count(*) FILTER (WHERE status <> 'success') AS errors,
        coalesce(sum(total_tokens), 0)::bigint AS tokens,
        sum(total_cost) AS cost,
        count(*) FILTER (WHERE model_name IS NOT NULL AND total_cost IS NULL) AS unpriced_calls,
        CASE WHEN bool_or(ended_at IS NULL) OR NOT bool_or(parent_span_id IS NULL) THEN 'incomplete'
             ELSE (array_agg(status ORDER BY started_at DESC, span_id DESC)
                   FILTER (WHERE parent_span_id IS NULL))[1] END AS status
    FROM ml_observability_spans JOIN recent USING (trace_id)
    GROUP BY trace_id
)
SELECT * FROM traces
WHERE (%(agent)s::text IS NULL OR %(agent)s = ANY (agents))
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY started_at DESC, trace_id DESC
LIMIT %(limit)s
"""

_LATENCY = """
SELECT agent_name, agent_tier, count(*) AS total_spans, avg(duration_ms) AS avg_duration_ms,
    percentile_cont(0.50) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_ms,
    avg((status <> 'success')::integer)::double precision AS error_rate,
    avg(fallback_used::integer)::double precision AS fallback_rate,
    coalesce(sum(total_tokens), 0)::bigint AS total_tokens_used
FROM ml_observability_spans
WHERE started_at >= now() - %(length)s::interval
GROUP BY agent_name, agent_tier
ORDER BY agent_tier, agent_name
"""
_LATENCY_OF_A_DAY = "SELECT * FROM v_agent_latency_summary ORDER BY agent_tier, agent_name"

_FIGURES = """
SELECT agent_name, agent_tier, count(*) AS spans, count(duration_ms) AS timed, avg(duration_ms) AS avg_ms,
    percentile_cont(0.50) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_ms,
    avg((status = 'success')::integer)::double precision AS success_rate,
    avg((status <> 'success')::integer)::double precision AS error_rate,
    avg(fallback_used::integer)::double precision AS fallback_rate,
    avg(CASE WHEN status <> 'success' THEN 0 WHEN fallback_used THEN 0.5 ELSE 1 END)::double precision AS credit,
    coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
    coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
    coalesce(sum(total_tokens), 0)::bigint AS total_tokens,
    sum(total_cost) AS cost,
    count(*) FILTER (WHERE model_name IS NOT NULL AND total_cost IS NULL) AS unpriced_calls
FROM ml_observability_spans
WHERE started_at >= now() - %(length)s::interval
  AND (%(agents)s::text[] IS NULL OR agent_name::text = ANY (%(agents)s))
GROUP BY GROUPING SETS ((agent_name, agent_tier), (agent_tier), ())
HAVING count(*) > 0
ORDER BY agent_tier NULLS LAST, agent_name NULLS LAST
"""

# A parent ends after its children: spans of a trace that was busy a moment ago may still get theirs.
_ORPHANS = """
WITH judged AS (
    SELECT trace_id FROM ml_observability_spans
    GROUP BY trace_id
    HAVING max(coalesce(ended_at, started_at)) <= now() - %(settled)s::interval
       AND (%(since)s::timestamptz IS NULL OR max(started_at) >= %(since)s)
)
SELECT span.trace_id, span.span_id, span.parent_span_id, span.agent_name, span.operation_type, span.started_at,
    span.ended_at
FROM ml_observability_spans AS span
JOIN judged USING (trace_id)
LEFT JOIN ml_observability_spans AS parent
    ON parent.trace_id = span.trace_id AND parent.span_id = span.parent_span_id
WHERE (%(since)s::timestamptz IS NULL OR span.started_at >= %(since)s)
  AND (span.ended_at IS NULL OR (span.parent_span_id IS NOT NULL AND parent.span_id IS NULL))
ORDER BY span.started_at, span.span_id
"""

_FEEDBACK = """
SELECT feedback.*, judged.agent_name
FROM ml_observability_feedback AS feedback
LEFT JOIN LATERAL (
    SELECT span.agent_name FROM ml_observability_spans AS span
    WHERE span.trace_id = feedback.trace_id AND (feedback.span_id IS NULL OR span.span_id = feedback.span_id)
    ORDER BY (span.parent_span_id IS NULL) DESC, span.started_at, span.span_id
    LIMIT 1
) AS judged ON true
WHERE (%(since)s::timestamptz IS NULL OR feedback.recorded_at >= %(since)s)
  AND (%(agent)s::text IS NULL OR judged.agent_name::text = %(agent)s)
  AND (%(trace)s::text IS NULL OR feedback.trace_id = %(trace)s)
ORDER BY feedback.recorded_at, feedback.feedback_id
"""

_STORED = """
SELECT count(*) AS stored
FROM ml_observability_spans JOIN unnest(%s::text[], %s::text[]) AS wanted (trace_id, span_id) USING (trace_id, span_id)
"""


class TraceRepository:
    """Reads spans, feedback and metrics of traces. Every call raises DatabaseUnavailable when there is no server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def location(self) -> str:
        """Host, port and name of the database."""
        return describe(self._database.dsn)

    async def recent(
        self,
        *,
        since: datetime | None = None,
        agent: str | None = None,
        status: str | None = None,
        limit: int = 20,
    ) -> list[TraceSummary]:
        """Traces with a span since ``since``, newest first; of one status, and with work of one agent."""
        parameters = {"since": since, "agent": agent, "status": status, "limit": limit}
        return [_as(TraceSummary, row) for row in await self._database.fetch(_TRACES, parameters)]

    async def resolve(self, beginning: str) -> str:
        """The id of the one trace whose id begins so; raises TraceNotFound."""
        wanted = beginning.strip()
        rows = await self._database.fetch(
            "SELECT DISTINCT trace_id FROM ml_observability_spans WHERE starts_with(trace_id, %s) "
            "ORDER BY trace_id LIMIT 100",
            (wanted,),
        )
        found = [str(row["trace_id"]) for row in rows]
        if wanted in found:
            return wanted
        if len(found) != 1 or not wanted:
            count = "100 or more" if len(found) == 100 else str(len(found))
            problem = f"{count} traces begin with" if found else "no trace has the id"
            raise TraceNotFound(f"{problem} '{beginning[:60]}'; 'e2i observe traces' lists them")
        return found[0]

    async def trace(self, beginning: str) -> Trace:
        """One trace with its feedback and metrics, by id or unique beginning; raises TraceNotFound."""
        trace_id = await self.resolve(beginning)
        spans = await self._database.fetch(
            "SELECT * FROM ml_observability_spans WHERE trace_id = %s ORDER BY started_at, span_id", (trace_id,)
        )
        return Trace(
            trace_id,
            tuple(_as(SpanRecord, row) for row in spans),
            tuple(await self.feedback(trace_id)),
            tuple(await self.metrics(trace_id)),
        )

    async def feedback(self, trace_id: str) -> list[FeedbackRecord]:
        """What was said of one trace, oldest first."""
        rows = await self._database.fetch(_FEEDBACK, {"since": None, "agent": None, "trace": trace_id})
        return [_as(FeedbackRecord, row) for row in rows]

    async def query_feedback(self, since: datetime | None = None, agent: str | None = None) -> list[FeedbackRecord]:
        """Feedback since ``since``, oldest first; of one agent: on its spans, or on a trace whose root is its."""
        rows = await self._database.fetch(_FEEDBACK, {"since": since, "agent": agent, "trace": None})
        return [_as(FeedbackRecord, row) for row in rows]

    async def metrics(self, trace_id: str) -> list[MetricRecord]:
        """Metrics logged for one trace, oldest first."""
        rows = await self._database.fetch(
            "SELECT * FROM ml_observability_metrics WHERE trace_id = %s ORDER BY recorded_at, metric_id", (trace_id,)
        )
        return [_as(MetricRecord, row) for row in rows]

    async def latency(self, window: Window | str = Window.DAY) -> list[AgentLatency]:
        """Latency, error and fallback rates per agent and tier; a day comes from ``v_agent_latency_summary``."""
        chosen = window_named(window)
        if chosen is Window.DAY:
            rows = await self._database.fetch(_LATENCY_OF_A_DAY)
        else:
            rows = await self._database.fetch(_LATENCY, {"length": chosen.length})
        return [_as(AgentLatency, row) for row in rows]

    async def figures(
        self, window: Window | str = Window.DAY, agents: Sequence[str] | None = None
    ) -> list[SpanFigures]:
        """Figures per agent, per tier and over all (last), of all agents or some; empty when there is no span."""
        parameters = {"length": window_named(window).length, "agents": list(agents) if agents else None}
        return [_as(SpanFigures, row) for row in await self._database.fetch(_FIGURES, parameters)]

    async def orphans(self, since: datetime | None = None, *, settled: timedelta = timedelta(0)) -> list[OrphanRecord]:
        """Spans whose parent is not in their trace, or that never ended, by start.

        Traces with a span less than ``settled`` ago are left out: a parent is stored after its children.
        """
        rows = await self._database.fetch(_ORPHANS, {"since": since, "settled": settled})
        parents = [row["parent_span_id"] for row in rows if row["ended_at"] is not None]
        elsewhere = await self._known_spans(parents) if parents else set()
        return [_as(OrphanRecord, {**row, "reason": _orphan_reason(row, elsewhere)}) for row in rows]

    async def _known_spans(self, ids: Sequence[str]) -> set[str]:
        rows = await self._database.fetch(
            "SELECT DISTINCT span_id FROM ml_observability_spans WHERE span_id = ANY (%s)", (list(ids),)
        )
        return {row["span_id"] for row in rows}

    async def stored(self, spans: Sequence[tuple[str, str]]) -> int:
        """How many of these spans (trace id, span id) the database has."""
        traces, ids = [trace for trace, _ in spans], [span for _, span in spans]
        row = await self._database.fetchrow(_STORED, (traces, ids))
        return int(row["stored"]) if row else 0

    async def count_older_than(self, cutoff: datetime) -> Deleted:
        """What ``delete_older_than`` would delete."""
        return await count_older_than(self._database, cutoff)

    async def delete_older_than(
        self, cutoff: datetime, *, batch: int = 1000, on_progress: Progress = lambda _: None
    ) -> Deleted:
        """Delete the traces whose newest span is older than ``cutoff``; see ``trace_retention``."""
        return await delete_older_than(self._database, cutoff, batch=batch, on_progress=on_progress)


def window_named(name: Window | str) -> Window:
    """The window of that name; raises ContractViolation."""
    try:
        return Window(name)
    except ValueError as error:
        raise ContractViolation(f"there is no window '{str(name)[:40]}'; use {', '.join(Window)}") from error


def _orphan_reason(row: Row, elsewhere: set[str]) -> OrphanReason:
    if row["ended_at"] is None:
        return OrphanReason.NEVER_ENDED
    found = row["parent_span_id"] in elsewhere
    return OrphanReason.PARENT_IN_OTHER_TRACE if found else OrphanReason.PARENT_ABSENT


def _as(kind: type[Record], row: Row) -> Record:
    names: list[str] = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {name: row[name] for name in names}
    return kind(**values)
