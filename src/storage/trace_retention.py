"""How are old traces deleted: whole, in small transactions, and so that an interrupted run can be repeated?

A trace is as old as the newest of its spans. Its feedback and metrics go with it, whatever their own
age. Feedback and metrics that belong to no stored trace go by their own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from src.storage.database import Database
from src.storage.trace_records import Deleted

Progress = Callable[[Deleted], None]

_NEWEST = "coalesce(ended_at, started_at)"

_OLD_TRACES = f"""
SELECT trace_id, count(*) AS spans FROM ml_observability_spans AS span
WHERE started_at < %(cutoff)s AND NOT EXISTS (
    SELECT FROM ml_observability_spans AS other
    WHERE other.trace_id = span.trace_id AND coalesce(other.ended_at, other.started_at) >= %(cutoff)s
)
GROUP BY trace_id ORDER BY max({_NEWEST}), trace_id
"""

# Judged again in the deleting statement: a late span may have made the trace young meanwhile.
_DELETE_TRACES = f"""
WITH doomed AS (
    SELECT trace_id FROM ml_observability_spans WHERE trace_id = ANY (%(traces)s)
    GROUP BY trace_id HAVING max({_NEWEST}) < %(cutoff)s
), spans AS (
    DELETE FROM ml_observability_spans USING doomed
    WHERE ml_observability_spans.trace_id = doomed.trace_id RETURNING 1
), feedback AS (
    DELETE FROM ml_observability_feedback USING doomed
    WHERE ml_observability_feedback.trace_id = doomed.trace_id RETURNING 1
), metrics AS (
    DELETE FROM ml_observability_metrics USING doomed
    WHERE ml_observability_metrics.trace_id = doomed.trace_id RETURNING 1
)
SELECT (SELECT count(*) FROM doomed) AS traces, (SELECT count(*) FROM spans) AS spans,
       (SELECT count(*) FROM feedback) AS feedback, (SELECT count(*) FROM metrics) AS metrics
"""

_LOOSE = """
FROM {table} AS record
WHERE recorded_at < %(cutoff)s AND NOT EXISTS (
    SELECT FROM ml_observability_spans AS span WHERE span.trace_id = record.trace_id
)
"""
_LOOSE_FEEDBACK = _LOOSE.format(table="ml_observability_feedback")
_LOOSE_METRICS = _LOOSE.format(table="ml_observability_metrics")
_DELETE_LOOSE_FEEDBACK = f"""
DELETE FROM ml_observability_feedback
WHERE feedback_id IN (SELECT feedback_id {_LOOSE_FEEDBACK} LIMIT %(batch)s)
"""
_DELETE_LOOSE_METRICS = f"""
DELETE FROM ml_observability_metrics WHERE metric_id IN (SELECT metric_id {_LOOSE_METRICS} LIMIT %(batch)s)
"""

_COUNT = f"""
WITH doomed AS ({_OLD_TRACES})
SELECT (SELECT count(*) FROM doomed) AS traces,
       (SELECT coalesce(sum(spans), 0)::bigint FROM doomed) AS spans,
       (SELECT count(*) FROM ml_observability_feedback JOIN doomed USING (trace_id))
         + (SELECT count(*) {_LOOSE_FEEDBACK}) AS feedback,
       (SELECT count(*) FROM ml_observability_metrics JOIN doomed USING (trace_id))
         + (SELECT count(*) {_LOOSE_METRICS}) AS metrics
"""


async def count_older_than(database: Database, cutoff: datetime) -> Deleted:
    """What would be deleted now."""
    row = await database.fetchrow(_COUNT, {"cutoff": cutoff})
    return Deleted(**row) if row else Deleted()


async def delete_older_than(
    database: Database, cutoff: datetime, *, batch: int, on_progress: Progress = lambda _: None
) -> Deleted:
    """Delete what is older than ``cutoff`` and return how much; ``on_progress`` gets the total after each step.

    One transaction deletes traces of at most ``batch`` spans together (a longer trace alone). Stopped
    in between, what is done stays done and the next call goes on.
    """
    old = await database.fetch(_OLD_TRACES, {"cutoff": cutoff})
    total = Deleted()
    for traces in _portions([(row["trace_id"], row["spans"]) for row in old], batch):
        row = await database.fetchrow(_DELETE_TRACES, {"traces": traces, "cutoff": cutoff})
        total += Deleted(**row) if row else Deleted()
        on_progress(total)
    parameters = {"cutoff": cutoff, "batch": batch}
    while feedback := await database.execute(_DELETE_LOOSE_FEEDBACK, parameters):
        total += Deleted(feedback=feedback)
        on_progress(total)
    while metrics := await database.execute(_DELETE_LOOSE_METRICS, parameters):
        total += Deleted(metrics=metrics)
        on_progress(total)
    return total


def _portions(traces: list[tuple[str, int]], batch: int) -> Iterator[list[str]]:
    """Consecutive traces with at most ``batch`` spans together, at least one trace each."""
    portion: list[str] = []
    held = 0
    for trace_id, spans in traces:
        if portion and held + spans > batch:
            yield portion
            portion, held = [], 0
        portion.append(trace_id)
        held += spans
    if portion:
        yield portion
