"""Where does a span belong: across tasks, threads, processes and traces?"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from src.mlops.opik_connector import (
    SpanType,
)
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.orphans import find_orphans
from src.mlops.tracing.records import Kind, MemorySink
from src.settings import PROJECT_ROOT
from tests.unit.test_mlops.recorded import Traced, connector_on

CHILD = """
import sys
from pathlib import Path
from src.mlops.tracing.records import MemorySink
from tests.unit.test_mlops.recorded import connector_on

sink = MemorySink()
connector = connector_on(Path(sys.argv[1]), sink)
with connector.trace_agent("explainer", "in the child", headers=connector.inherited_headers()) as span:
    print(span.trace_id, span.parent_span_id)
connector.close()
"""


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    sink = MemorySink()
    connector = connector_on(tmp_path / "spool", sink)
    yield Traced(connector, sink)
    await connector.shutdown(5)


async def test_spans_nest_by_context_across_awaits_and_worker_threads(traced: Traced) -> None:
    opik = traced.connector

    def in_a_thread() -> None:
        with opik.trace_agent("tool_composer", "thread", span_type=SpanType.TOOL):
            pass

    async with opik.trace_agent("orchestrator", "outer") as outer:
        await asyncio.sleep(0)
        async with opik.trace_agent("causal_impact", "inner") as inner:
            await asyncio.to_thread(in_a_thread)
        assert opik.current_span() is outer
    assert opik.current_span() is None
    spans = await traced.spans()
    assert spans["outer"]["parent_span_id"] is None
    assert spans["inner"]["parent_span_id"] == outer.span_id
    assert spans["thread"]["parent_span_id"] == inner.span_id
    assert {span["trace_id"] for span in spans.values()} == {outer.trace_id}


async def test_tasks_that_run_together_are_siblings(traced: Traced) -> None:
    async def work(number: int) -> None:
        async with traced.connector.trace_agent("explainer", f"task {number}"):
            await asyncio.sleep(0.01)
            async with traced.connector.trace_agent("explainer", f"step {number}"):
                await asyncio.sleep(0.01)

    async with traced.connector.trace_agent("orchestrator", "outer") as outer:
        await asyncio.gather(*map(work, range(10)))
    spans = await traced.spans()
    assert len(spans) == 21
    for number in range(10):
        task, step = spans[f"task {number}"], spans[f"step {number}"]
        assert (task["parent_span_id"], step["parent_span_id"]) == (outer.span_id, task["span_id"])


async def test_a_trace_id_nobody_has_seen_starts_that_trace(traced: Traced) -> None:
    mine = str(uuid7())
    opik = traced.connector
    async with opik.trace_agent("orchestrator", "around") as around:
        root = opik.trace_agent("causal_impact", "root", trace_id=mine)
        async with root, opik.trace_agent("causal_impact", "child") as child:
            pass
        assert opik.current_span() is around
    assert (root.trace_id, root.parent_span_id) == (mine, None)
    assert (child.trace_id, child.parent_span_id) == (mine, root.span_id)
    spans = await traced.spans()
    assert spans["root"]["attributes"]["root"] is True
    assert "root" not in spans["child"]["attributes"]


async def test_an_open_trace_is_joined_at_its_root_from_anywhere(traced: Traced) -> None:
    mine = str(uuid7())

    def without_context() -> None:
        with traced.connector.trace_agent("explainer", "elsewhere", trace_id=mine):
            pass

    opik = traced.connector
    async with opik.trace_agent("orchestrator", "root", trace_id=mine) as root, opik.trace_agent("orchestrator"):
        thread = threading.Thread(target=without_context)
        thread.start()
        thread.join()
    assert (await traced.spans())["elsewhere"]["parent_span_id"] == root.span_id


async def test_inside_its_own_trace_the_id_changes_nothing(traced: Traced) -> None:
    opik = traced.connector
    async with opik.trace_agent("orchestrator", "outer") as outer, opik.trace_agent("causal_impact", "node") as node:
        leaf = opik.trace_agent("causal_impact", "leaf", trace_id=outer.trace_id)
        async with leaf:
            pass
    assert leaf.parent_span_id == node.span_id


async def test_a_trace_that_has_ended_is_resumed_with_another_root(traced: Traced) -> None:
    mine = str(uuid7())
    for operation in ("first", "second"):
        async with traced.connector.trace_agent("causal_impact", operation, trace_id=mine):
            assert traced.connector.get_status()["active_traces"] == 1
    assert traced.connector.get_status()["active_traces"] == 0
    spans = await traced.spans()
    assert {span["trace_id"] for span in spans.values()} == {mine}
    assert [span["parent_span_id"] for span in spans.values()] == [None, None]


async def test_a_parent_can_be_named(traced: Traced) -> None:
    opik = traced.connector
    async with opik.trace_agent("orchestrator", "outer") as outer:
        async with opik.trace_agent("orchestrator", "first") as first:
            pass
        named = opik.trace_agent("explainer", "named", parent_span_id=first.span_id)
        async with named, opik.trace_llm_call("gpt-5", parent_span_id=outer.span_id) as call:
            pass
    assert (named.parent_span_id, named.trace_id) == (first.span_id, outer.trace_id)
    assert call.parent_span_id == outer.span_id
    await traced.spans()


async def test_the_same_foreign_trace_id_is_the_same_trace_everywhere(traced: Traced) -> None:
    async with traced.connector.trace_agent("orchestrator", "a", trace_id="order-66") as first:
        pass
    async with traced.connector.trace_agent("orchestrator", "b", trace_id="order-66") as second:
        pass
    given = traced.connector.log_feedback("order-66", 1.0)
    assert first.trace_id == second.trace_id
    assert UUID(first.trace_id).version == 5
    assert [(one["feedback_id"], one["trace_id"]) for one in await traced.of(Kind.FEEDBACK)] == [
        (given, first.trace_id)
    ]


async def test_ids_are_version_7_and_ordered_by_time(traced: Traced) -> None:
    opened = []
    for _ in range(300):
        async with traced.connector.trace_agent("orchestrator") as span:
            opened.append((span.trace_id, span.span_id))
    for ids in zip(*opened, strict=True):
        assert {UUID(text).version for text in ids} == {7}
        # Ids of one 244 ns tick are told apart by chance only.
        assert sum(first > second for first, second in itertools.pairwise(ids)) == 0
    made = UUID(opened[-1][1]).int >> 80
    assert abs(made / 1000 - datetime.now(UTC).timestamp()) < 60


def test_traceparent_is_trace_and_last_half_of_the_span(traced: Traced) -> None:
    with traced.connector.trace_agent("orchestrator") as span:
        expected = f"00-{UUID(span.trace_id).hex}-{UUID(span.span_id).hex[-16:]}-01"
        assert span.traceparent() == expected
        assert traced.connector.inject({"x": "y"}) == {
            "x": "y",
            "traceparent": expected,
            "tracestate": f"e2i={UUID(span.span_id).hex}",
        }
    assert traced.connector.inject({"x": "y"}) == {"x": "y"}


async def test_injected_headers_continue_the_trace_under_the_full_parent_id(traced: Traced, tmp_path: Path) -> None:
    sink = MemorySink()
    other = connector_on(tmp_path / "other", sink)
    async with traced.connector.trace_agent("orchestrator", "here") as here:
        headers = {name.upper(): value for name, value in traced.connector.inject().items()}
    async with other.trace_agent("explainer", "there", headers=headers) as there:
        pass
    assert await other.shutdown()
    assert (there.trace_id, there.parent_span_id) == (here.trace_id, here.span_id)
    await traced.spans()
    assert find_orphans([*traced.sink.spans, *sink.spans]) == []


async def test_a_child_process_continues_the_trace_it_inherits(traced: Traced, tmp_path: Path) -> None:
    with traced.connector.trace_agent("orchestrator", "parent") as parent:
        inherited = {name.upper(): value for name, value in traced.connector.inject().items()}
        arguments = [sys.executable, "-c", CHILD, str(tmp_path / "child")]
        child = subprocess.run(
            arguments, cwd=PROJECT_ROOT, env=os.environ | inherited, capture_output=True, text=True, check=True
        )
    assert child.stdout.split() == [parent.trace_id, parent.span_id]


async def test_a_foreign_parent_is_kept_without_inventing_its_full_id(traced: Traced) -> None:
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    async with traced.connector.trace_agent("orchestrator", "work", headers=headers):
        pass
    span = (await traced.spans())["work"]
    assert UUID(span["trace_id"]).hex == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert span["parent_span_id"] is None
    assert span["attributes"]["w3c.parent_id"] == "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "traceparent",
    ["", "nonsense", "00-0-0-01", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff-{'a' * 32}-00f067aa0ba902b7-01"],
)
async def test_malformed_headers_start_a_trace_of_its_own(traced: Traced, traceparent: str) -> None:
    async with traced.connector.trace_agent("orchestrator", headers={"traceparent": traceparent}) as span:
        pass
    assert UUID(span.trace_id).version == 7
    assert span.parent_span_id is None
