"""Which bodies does a batch of records make on Opik's wire?

A trace that is resumed gets a second root, in the same process or a later one. Its trace must not shrink to the second
part: its start is the time in the trace's own id, and roots that are known together (of one batch, or ``known`` from
batches before) are merged: name and input of the first, output, error and end of the last. A process that never saw
the first root keeps the start of the trace, but shows the name and input of the root it knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

from src.mlops.tracing.opik_wire import (
    Body,
    continues_elsewhere,
    fits_score,
    is_root,
    metric_score_body,
    metric_trace_body,
    provisional_trace,
    score_body,
    span_body,
    trace_body,
)
from src.mlops.tracing.records import PROJECT, Kind, Record, RecordRefused

BREATH_S = 0.0002
# Kept with a trace while it can still be merged; never sent.
_BEGAN = "_began"


@dataclass(frozen=True, slots=True)
class OpikBatch:
    """Bodies by endpoint, in the order in which they are sent; ``final_traces`` are those written by their root."""

    traces: tuple[Body, ...]
    spans: tuple[Body, ...]
    trace_scores: tuple[Body, ...]
    span_scores: tuple[Body, ...]
    final_traces: Mapping[str, Body] = field(default_factory=dict)


def to_opik(records: Sequence[Record], project: str, known: Mapping[str, Body] | None = None) -> OpikBatch:
    """Convert records; ``known`` are the ``final_traces`` of batches before, by id.

    Raises RecordRefused for a record that has no valid form on the wire.
    """
    documents: dict[Kind, list[Body]] = {kind: [] for kind in Kind}
    for record in records:
        documents[record.kind].append(_document(record))
    spans = documents[Kind.SPAN]
    traces, final = _traces(spans, project, known or {})
    of_traces, of_spans, own_traces = _scores([*documents[Kind.FEEDBACK], *documents[Kind.METRIC]], project)
    return OpikBatch(
        traces=(*traces, *own_traces),
        spans=tuple(_converted(span_body, span, project) for span in spans),
        trace_scores=tuple(of_traces),
        span_scores=tuple(of_spans),
        final_traces=final,
    )


def merge_traces(one: Body, other: Body) -> Body:
    """One trace of two roots: name and input of the first, output, error and end of the last, tags of both.

    Idempotent, and independent of the order.
    """
    first, second = sorted((one, other), key=lambda trace: (trace[_BEGAN], trace["last_updated_at"]))
    last = max((first, second), key=lambda trace: trace["last_updated_at"])
    merged = {key: value for key, value in last.items() if key != "input"}
    merged |= {key: first[key] for key in ("name", "input", _BEGAN) if key in first}
    merged["start_time"] = min(first["start_time"], second["start_time"])
    tags = list(dict.fromkeys([*first.get("tags", ()), *second.get("tags", ())]))
    return merged | ({"tags": tags} if tags else {})


def _traces(spans: Sequence[Body], project: str, known: Mapping[str, Body]) -> tuple[tuple[Body, ...], dict[str, Body]]:
    final: dict[str, Body] = {}
    weaker: dict[str, Body] = {}
    for span in sorted(spans, key=lambda span: str(span.get("started_at"))):
        root = _is_root(span)
        trace = _converted(trace_body if root else provisional_trace, span, project)
        identity = trace["id"]
        if root and not continues_elsewhere(span):
            trace[_BEGAN] = span["started_at"]
            others = (known.get(identity), final.get(identity))
            final[identity] = reduce(merge_traces, [other for other in others if other], trace)
        elif identity not in known:
            rivals = [rival for rival in (weaker.get(identity), trace) if rival]
            weaker[identity] = max(rivals, key=lambda rival: (rival["last_updated_at"], rival.get("end_time", "")))
    sent = (weaker | final).values()
    return tuple({key: value for key, value in trace.items() if key != _BEGAN} for trace in sent), final


def _is_root(span: Body) -> bool:
    return bool(_converted(lambda document, _: {"root": is_root(document)}, span, "")["root"])


def _scores(documents: Iterable[Body], project: str) -> tuple[list[Body], list[Body], list[Body]]:
    """Scores of traces, scores of spans, and metrics that become traces.

    Opik keeps one score per name and target: of several in a batch the newest is sent.
    """
    of_traces: dict[tuple[str, str], Body] = {}
    of_spans: dict[tuple[str, str], Body] = {}
    own: list[Body] = []
    for document in sorted(documents, key=lambda document: str(document.get("recorded_at"))):
        if "metric_id" not in document:
            body = _converted(score_body, document, project)
            (of_spans if document.get("span_id") else of_traces)[body["id"], body["name"]] = body
        elif document.get("trace_id") and fits_score(document.get("value")):
            body = _converted(metric_score_body, document, project)
            of_traces[body["id"], body["name"]] = body
        else:
            own.append(_converted(metric_trace_body, document, project))
    return list(of_traces.values()), list(of_spans.values()), own


def _document(record: Record) -> Body:
    try:
        document = record.document()
    except ValueError as error:
        raise RecordRefused(f"a record is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise RecordRefused("a record is no JSON object")
    return document


def _converted(convert: Callable[[Body, str], Body], document: Body, project: str) -> Body:
    # A batch takes milliseconds of pure Python: other threads, such as an event loop's, run in between.
    time.sleep(BREATH_S)
    try:
        own = document.get("project") or (document.get("attributes") or {}).get(PROJECT)
        return convert(document, own or project)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordRefused(f"a record has no valid form for Opik ({type(error).__name__}: {error})") from error
