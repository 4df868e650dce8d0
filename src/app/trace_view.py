"""What does a trace look like to a person: which span ran under which, when, how long, and what failed?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from src.mlops.tracing.orphans import explain_orphans
from src.storage.trace_records import (
    AgentLatency,
    OrphanRecord,
    SpanFigures,
    SpanRecord,
    Trace,
    TraceSummary,
)

BAR = 20
SHOWN_ID = 18
_STYLES = {"success": "green", "error": "red", "timeout": "yellow", "incomplete": "yellow"}


@dataclass(frozen=True, slots=True)
class Branch:
    """A span with its place in the tree: ``guides`` are the lines drawn before its name."""

    span: SpanRecord
    guides: str
    own_ms: float | None


def branches(spans: Sequence[SpanRecord]) -> list[Branch]:
    """Spans in the order of a tree, children by start below their parent.

    Every span appears once: one whose parent is absent stands at the top, and so does the first span of
    a circle. ``own_ms`` is the time in which none of its children ran.
    """
    known = {span.span_id for span in spans}
    children: dict[str | None, list[SpanRecord]] = {}
    for span in spans:
        inside = span.parent_span_id in known and span.parent_span_id != span.span_id
        children.setdefault(span.parent_span_id if inside else None, []).append(span)
    drawn: dict[str, Branch] = {}
    for root in [*children.get(None, []), *spans]:
        _draw(root, children, drawn)
    return list(drawn.values())


def _draw(root: SpanRecord, children: dict[str | None, list[SpanRecord]], drawn: dict[str, Branch]) -> None:
    stack = [(root, "", "")]
    while stack:
        span, guides, below = stack.pop()
        if span.span_id in drawn:
            continue
        inner = children.get(span.span_id, [])
        drawn[span.span_id] = Branch(span, guides, _own_ms(span, inner))
        for child in reversed(inner):
            last = child is inner[-1]
            stack.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))


def _own_ms(span: SpanRecord, children: Iterable[SpanRecord]) -> float | None:
    if span.ended_at is None or span.duration_ms is None:
        return None
    covered, reached = 0.0, span.started_at
    for child in children:  # by start
        begin, end = max(child.started_at, reached), min(child.ended_at or span.ended_at, span.ended_at)
        if end > begin:
            covered += (end - begin).total_seconds() * 1000.0
            reached = end
    return max(0.0, span.duration_ms - covered)


def trace_text(trace: Trace) -> RenderableType:
    """The trace as a tree with times, tokens, cost and errors, then what was said of it."""
    calls = any(span.total_tokens is not None or span.model_name is not None for span in trace.spans)
    table = Table("span", box=None, padding=(0, 1, 0, 0))
    table.add_column("when", no_wrap=True)
    for heading in ("ms", "own ms", *(("tokens", "cost") if calls else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold")
    first = min(span.started_at for span in trace.spans)
    ends = [span.ended_at for span in trace.spans if span.ended_at is not None]
    total_s = (max(ends, default=first) - first).total_seconds()
    for branch in branches(trace.spans):
        span = branch.span
        bar = _bar(span, (span.started_at - first).total_seconds(), total_s)
        table.add_row(
            Text(f"{branch.guides}{_one_line(span.operation_type)} ").append(
                _one_line(span.model_name or span.agent_name), style="dim"
            ),
            Text(bar, style=_STYLES.get(span.status, "")),
            _milliseconds(span.duration_ms),
            _milliseconds(branch.own_ms),
            *(_usage(span) if calls else ()),
            _outcome(span),
        )
    return Group(Text(f"Trace {trace.trace_id}, {first:%Y-%m-%d %H:%M:%S} UTC"), table, *_remarks(trace))


def trace_document(trace: Trace) -> dict[str, Any]:
    """The trace as one JSON document."""
    orphans = [
        {"span_id": orphan.span.span_id, "reason": orphan.reason.value} for orphan in explain_orphans(trace.spans)
    ]
    return {**dataclasses.asdict(trace), "orphans": orphans}


def traces_table(traces: Sequence[TraceSummary]) -> RenderableType:
    """One line per trace."""
    if not traces:
        return Text("No trace matches. Without filters: e2i observe traces --since 30d")
    calls = any(trace.tokens or trace.cost is not None or trace.unpriced_calls for trace in traces)
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("trace", no_wrap=True)
    table.add_column("started UTC", no_wrap=True)
    table.add_column("agent, operation", overflow="fold")
    for heading in ("ms", "spans", *(("tokens", "cost") if calls else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold", max_width=18)
    for trace in traces:
        usage = (f"{trace.tokens:,}" if trace.tokens else "", _cost(trace.cost, trace.unpriced_calls))
        table.add_row(
            Text(trace.trace_id[:SHOWN_ID]),
            f"{trace.started_at:%m-%d %H:%M}",
            Text(f"{trace.agent_name} {_one_line(trace.operation)}"),
            _milliseconds(trace.duration_ms),
            f"{trace.spans:,}",
            *(usage if calls else ()),
            Text(trace.status, style=_STYLES.get(trace.status, "")).append(
                f", {trace.errors:,} failed" if trace.errors else "", style="red"
            ),
        )
    return table


def latency_text(window: str, agents: Sequence[AgentLatency], figures: Sequence[SpanFigures]) -> RenderableType:
    """Latency and rates over all, by tier, and below each tier by agent."""
    if not agents:
        return Text(f"No spans in the last {window}")
    table = Table("tier / agent", box=None, padding=(0, 1, 0, 0))
    for heading in ("spans", "p50 ms", "p95 ms", "p99 ms", "errors", "fallbacks", "tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    for total in (one for one in figures if one.agent_name is None):
        _latency_row(table, total.agent_tier or "all", total.spans, total, total.total_tokens)
        for row in agents:
            if row.agent_tier == total.agent_tier:
                _latency_row(table, f"  {row.agent_name}", row.total_spans, row, row.total_tokens_used)
    return table


def orphans_table(orphans: Sequence[OrphanRecord]) -> RenderableType:
    """One line per span that is not in its place."""
    if not orphans:
        return Text("No orphans: every span has ended and stands under a parent of its trace")
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("trace", "span", "started (UTC)", "agent: operation", "what is wrong"):
        table.add_column(heading, no_wrap=heading in ("trace", "started (UTC)"), overflow="fold")
    for one in orphans:
        work = Text(f"{one.agent_name}: {_one_line(one.operation_type)}")
        started = f"{one.started_at:%m-%d %H:%M:%S}"
        table.add_row(Text(one.trace_id[:SHOWN_ID]), Text(one.span_id), started, work, one.reason)
    return table


def _latency_row(table: Table, name: str, spans: int, row: AgentLatency | SpanFigures, tokens: int) -> None:
    times = [_milliseconds(value) for value in (row.p50_ms, row.p95_ms, row.p99_ms)]
    rates = [f"{row.error_rate:.1%}", f"{row.fallback_rate:.1%}"]
    table.add_row(name, f"{spans:,}", *times, *rates, f"{tokens:,}" if tokens else "")


def _usage(span: SpanRecord) -> tuple[str, str]:
    tokens = "" if span.total_tokens is None else f"{span.total_tokens:,}"
    return tokens, _cost(span.total_cost, 1 if span.model_name and span.total_cost is None else 0)


def _remarks(trace: Trace) -> list[RenderableType]:
    lines = [f"orphan: span {one.span.span_id}: {one.reason}" for one in explain_orphans(trace.spans)]
    lines += [
        f"feedback: {one.name} = {one.value:g} ({one.source})" + (f": {_one_line(one.reason)}" if one.reason else "")
        for one in trace.feedback
    ]
    lines += [f"metric: {one.name} = {one.value:g}" for one in trace.metrics]
    return [Text(line) for line in lines]


def _outcome(span: SpanRecord) -> Text:
    text = Text(span.status if span.ended_at is not None else "not ended", style=_STYLES.get(span.status, ""))
    if span.fallback_used:
        text.append(f" by fallback {' → '.join(map(str, span.fallback_chain or []))}".rstrip(), style="yellow")
    if span.error_type is not None:
        text.append(f" {span.error_type}: {_one_line(span.error_message or '')}")
    return text


def _bar(span: SpanRecord, offset_s: float, total_s: float) -> str:
    """Where in the trace the span ran; at least one block."""
    if total_s <= 0:
        return "█" * BAR
    begin = min(int(offset_s / total_s * BAR), BAR - 1)
    length_s = 0.0 if span.ended_at is None else (span.ended_at - span.started_at).total_seconds()
    width = max(1, min(round(length_s / total_s * BAR), BAR - begin))
    return "·" * begin + "█" * width + "·" * (BAR - begin - width)


def _milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _cost(dollars: float | None, unpriced: int) -> str:
    known = "" if dollars is None else f"${dollars:.4f}"
    return known + (" + ?" if known and unpriced else "?" if unpriced else "")


def _one_line(text: str) -> str:
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())[:160]
