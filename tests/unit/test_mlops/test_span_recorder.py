"""Spans nest, end, keep the body's exception, and stay pending until a sink took them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.recorder import MemorySink, Span, SpanRecorder, find_orphans

AGENT = {"agent": "causal_impact", "tier": "causal_analytics"}


class BrokenSink:
    async def write(self, spans: Sequence[Span]) -> None:
        raise ConnectionError("down")


async def test_children_follow_their_parent_across_threads_and_awaits() -> None:
    sink = MemorySink()
    recorder = SpanRecorder(sink)

    def in_thread() -> None:
        with recorder.span("inner", **AGENT):
            pass

    with recorder.span("outer", **AGENT):
        await asyncio.to_thread(in_thread)
    await recorder.flush()
    spans = {span.operation_type: span for span in sink.spans}
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert spans["inner"].trace_id == spans["outer"].trace_id
    assert find_orphans(sink.spans) == []


async def test_the_bodys_exception_leaves_unchanged_and_is_recorded() -> None:
    sink = MemorySink()
    recorder = SpanRecorder(sink)
    error = ValueError("what went wrong")
    with pytest.raises(ValueError, match="what went wrong") as caught, recorder.span("work", **AGENT):
        raise error
    assert caught.value is error
    await recorder.flush()
    assert (sink.spans[0].status, sink.spans[0].error_type) == ("error", "ValueError")


async def test_concurrent_traces_do_not_mix() -> None:
    sink = MemorySink()
    recorder = SpanRecorder(sink)

    async def one(trace_id: str) -> None:
        with recorder.span("outer", trace_id=trace_id, **AGENT):
            await asyncio.sleep(0)
            with recorder.span("inner", **AGENT):
                await asyncio.sleep(0)

    traces = [str(uuid7()) for _ in range(5)]
    await asyncio.gather(*(one(trace) for trace in traces))
    await recorder.flush()
    assert sorted(span.trace_id for span in sink.spans) == sorted(traces * 2)
    assert find_orphans(sink.spans) == []


async def test_spans_stay_pending_when_the_sink_fails() -> None:
    recorder = SpanRecorder(BrokenSink())
    with recorder.span("work", **AGENT):
        pass
    with pytest.raises(ConnectionError):
        await recorder.flush()
    assert recorder.pending == 1


def test_an_absent_parent_is_an_orphan() -> None:
    recorder = SpanRecorder(MemorySink())
    with recorder.span("outer", **AGENT), recorder.span("inner", **AGENT):
        pass
    inner = recorder._finished[0]
    assert find_orphans([inner]) == [inner]


def test_ids_are_version_7_unique_and_ordered_by_time() -> None:
    made = [uuid7(lambda tick=tick: tick * 1_000_000) for tick in range(1, 200)]
    assert {value.version for value in made} == {7}
    assert made == sorted(made)
    assert len({uuid7() for _ in range(1000)}) == 1000
