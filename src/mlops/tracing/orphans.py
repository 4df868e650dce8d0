"""Is every span in its place: with an end, and under a parent of its own trace?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from src.storage.trace_records import OrphanReason

SpanT = TypeVar("SpanT")


@dataclass(frozen=True, slots=True)
class Orphan(Generic[SpanT]):
    """A span that is not in its place, and why."""

    span: SpanT
    reason: OrphanReason


def find_orphans(spans: Iterable[SpanT]) -> list[SpanT]:
    """Spans whose parent is absent or in another trace, or that never ended, in the order given.

    A span is anything with ``trace_id``, ``span_id``, ``parent_span_id`` and ``ended_at``, as
    attributes or as keys.
    """
    return [orphan.span for orphan in explain_orphans(spans)]


def explain_orphans(spans: Iterable[SpanT]) -> list[Orphan[SpanT]]:
    """The same spans, each with the reason."""
    given = list(spans)
    traces: dict[str, set[str]] = {}
    for span in given:
        traces.setdefault(_of(span, "span_id"), set()).add(_of(span, "trace_id"))
    judged = ((span, _reason(span, traces)) for span in given)
    return [Orphan(span, reason) for span, reason in judged if reason is not None]


def _reason(span: Any, traces: Mapping[str, set[str]]) -> OrphanReason | None:
    if _of(span, "ended_at") is None:
        return OrphanReason.NEVER_ENDED
    parent = _of(span, "parent_span_id")
    if parent is None or _of(span, "trace_id") in traces.get(parent, ()):
        return None
    return OrphanReason.PARENT_IN_OTHER_TRACE if parent in traces else OrphanReason.PARENT_ABSENT


def _of(span: Any, name: str) -> Any:
    return span[name] if isinstance(span, Mapping) else getattr(span, name)
