"""Can a stored trace be found, read whole, and judged?"""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from src.errors import TraceNotFound
from src.mlops.tracing.orphans import explain_orphans, find_orphans
from src.storage.database import Database
from src.storage.trace_records import OrphanReason
from src.storage.traces import TraceRepository
from tests.unit.test_database.stored_spans import Row, add_feedback, add_metric, ago, span, store

pytestmark = pytest.mark.integration
UNENDED = {"ended_at": None, "duration_ms": None}


async def test_a_trace_is_summed_up_from_all_its_spans(db: Database) -> None:
    await store(
        db,
        [
            span("t", "run", agent="orchestrator", ms=90.0),
            span("t", "node", parent="run", ago_s=59.9, status="error"),
            span("t", "llm", parent="node", model_name="m", input_tokens=5, output_tokens=2, total_cost=0.5),
            span("t", "llm2", parent="node", model_name="m", input_tokens=1),
        ],
    )
    (found,) = await TraceRepository(db).recent()
    assert (found.trace_id, found.operation, found.agent_name) == ("t", "run", "orchestrator")
    assert sorted(found.agents) == ["causal_impact", "orchestrator"]
    assert (found.spans, found.errors, found.tokens, found.status) == (4, 1, 8, "success")
    assert (found.cost, found.unpriced_calls, found.duration_ms) == (0.5, 1, 90.0)


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([span("t", "a")], "success"),
        ([span("t", "a", status="error")], "error"),
        ([span("t", "a", status="timeout")], "timeout"),
        ([span("t", "a", **UNENDED)], "incomplete"),
        ([span("t", "b", parent="a")], "incomplete"),
        ([span("t", "a"), span("t", "b", parent="a", **UNENDED)], "incomplete"),
        ([span("t", "first", status="error", ago_s=90), span("t", "resumed", ago_s=30)], "success"),
    ],
)
async def test_a_trace_ends_as_its_latest_root_did(db: Database, rows: list[Row], status: str) -> None:
    await store(db, rows)
    assert [trace.status for trace in await TraceRepository(db).recent()] == [status]
    assert [trace.trace_id for trace in await TraceRepository(db).recent(status=status)] == ["t"]
    other = "error" if status != "error" else "success"
    assert await TraceRepository(db).recent(status=other) == []


async def test_a_resumed_trace_lasts_from_its_first_start_to_its_last_end(db: Database) -> None:
    await store(db, [span("t", "a", ago_s=100, ms=10, status="error"), span("t", "b", ago_s=40, ms=5000)])
    (found,) = await TraceRepository(db).recent()
    assert (found.operation, found.duration_ms) == ("a", pytest.approx(65_000, abs=100))


async def test_recent_traces_are_newest_first_and_whole_across_the_limit_of_time(db: Database) -> None:
    await store(
        db,
        [
            span("early", "x", ago_s=5000),
            span("between", "root", ago_s=400),
            span("between", "late", parent="root", ago_s=100),
            span("new", "x", ago_s=10),
        ],
    )
    traces = TraceRepository(db)
    assert [one.trace_id for one in await traces.recent()] == ["new", "between", "early"]
    since = await traces.recent(since=ago(200))
    assert [(one.trace_id, one.spans) for one in since] == [("new", 1), ("between", 2)]
    assert [one.trace_id for one in await traces.recent(limit=1)] == ["new"]


async def test_the_agent_filter_finds_every_trace_the_agent_worked_in(db: Database) -> None:
    await store(
        db,
        [
            span("a", "run", agent="orchestrator"),
            span("a", "explain", agent="explainer", parent="run"),
            span("b", "run", agent="orchestrator"),
        ],
    )
    traces = TraceRepository(db)
    assert [one.trace_id for one in await traces.recent(agent="explainer")] == ["a"]
    assert len(await traces.recent(agent="orchestrator")) == 2


async def test_one_trace_comes_with_spans_by_start_and_with_feedback_and_metrics(db: Database) -> None:
    attributes = {"input": {"question": "?"}, "n": 3}
    await store(db, [span("t", "z", ago_s=50, parent="a"), span("t", "a", ago_s=60, attributes=attributes)])
    await add_feedback(db, "t", reason="good", source="ui", value=0.9)
    await add_metric(db, "t")
    await add_metric(db, "other")
    found = await TraceRepository(db).trace("t")
    assert [one.span_id for one in found.spans] == ["a", "z"]
    assert found.spans[0].attributes == attributes
    assert [(one.value, one.reason, one.source) for one in found.feedback] == [(0.9, "good", "ui")]
    assert [(one.name, one.value) for one in found.metrics] == [("rows", 7.0)]


async def test_the_unique_beginning_of_an_id_is_enough(db: Database) -> None:
    await store(db, [span("0199c2a4-1", "a"), span("0199c2a4-2", "a"), span("0199c2a4", "a"), span("a%_", "a")])
    traces = TraceRepository(db)
    assert await traces.resolve("0199c2a4-1") == "0199c2a4-1"
    assert await traces.resolve("0199c2a4") == "0199c2a4"
    assert await traces.resolve("a%") == "a%_"
    assert (await traces.trace(" a")).trace_id == "a%_"


@pytest.mark.parametrize(
    ("beginning", "says"),
    [
        ("0199", "2 traces begin with '0199'"),
        ("x", "no trace has the id 'x'"),
        ("", "traces begin with ''"),
        ("%", "no"),
    ],
)
async def test_an_id_that_is_unknown_or_ambiguous_is_refused_in_one_line(
    db: Database, beginning: str, says: str
) -> None:
    await store(db, [span("0199a", "a"), span("0199b", "a")])
    with pytest.raises(TraceNotFound, match="'e2i observe traces' lists them") as caught:
        await TraceRepository(db).trace(beginning)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_feedback_is_found_by_time_and_by_the_agent_it_judges(db: Database) -> None:
    await store(db, [span("t", "run", agent="orchestrator"), span("t", "x", agent="explainer", parent="run")])
    old = await add_feedback(db, "t", ago_s=5000)
    on_trace = await add_feedback(db, "t")
    on_span = await add_feedback(db, "t", span_id="x")
    early = await add_feedback(db, "not stored yet")
    traces = TraceRepository(db)
    found = {one.feedback_id: one.agent_name for one in await traces.query_feedback()}
    assert found == {old: "orchestrator", on_trace: "orchestrator", on_span: "explainer", early: None}
    assert [one.feedback_id for one in await traces.query_feedback(agent="explainer")] == [on_span]
    recent = await traces.query_feedback(since=ago(100), agent="orchestrator")
    assert [one.feedback_id for one in recent] == [on_trace]


async def test_stored_spans_are_counted_by_trace_and_span(db: Database) -> None:
    await store(db, [span("t", "a"), span("t", "b"), span("u", "a")])
    traces = TraceRepository(db)
    assert await traces.stored([("t", "a"), ("u", "a"), ("u", "b"), ("v", "a")]) == 2
    assert await traces.stored([]) == 0


CASES: list[Any] = [
    pytest.param([span("t", "a"), span("t", "b", parent="a"), span("t", "c", parent="b")], {}, id="in place"),
    pytest.param(
        [span("t", "b", parent="gone")], {("t", "b"): OrphanReason.PARENT_ABSENT}, id="parent absent"
    ),
    pytest.param(
        [span("t", "a"), span("u", "r"), span("u", "b", parent="a")],
        {("u", "b"): OrphanReason.PARENT_IN_OTHER_TRACE},
        id="parent in another trace",
    ),
    pytest.param(
        [span("t", "a"), span("u", "a"), span("u", "b", parent="a")], {}, id="the same span id in two traces"
    ),
    pytest.param(
        [span("t", "a", **UNENDED), span("t", "b", parent="a")],
        {("t", "a"): OrphanReason.NEVER_ENDED},
        id="never ended",
    ),
    pytest.param(
        [span("t", "a", parent="gone", **UNENDED)], {("t", "a"): OrphanReason.NEVER_ENDED}, id="neither"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "wanted"), CASES)
async def test_orphans_in_the_database_are_named_with_the_reason(
    db: Database, rows: list[Row], wanted: dict[tuple[str, str], OrphanReason]
) -> None:
    await store(db, rows)
    found = await TraceRepository(db).orphans()
    assert {(one.trace_id, one.span_id): one.reason for one in found} == wanted


@pytest.mark.parametrize("shape", ["keys", "attributes"])
@pytest.mark.parametrize(("rows", "wanted"), CASES)
def test_orphans_in_memory_are_the_same(
    rows: list[Row], wanted: dict[tuple[str, str], OrphanReason], shape: str
) -> None:
    spans: list[Any] = [SimpleNamespace(**row) for row in rows] if shape == "attributes" else list(rows)
    found = {tuple(_ids(one.span)): one.reason for one in explain_orphans(spans)}
    assert found == wanted
    assert [tuple(_ids(one)) for one in find_orphans(spans)] == list(wanted)


def _ids(one: Any) -> tuple[str, str]:
    return (one["trace_id"], one["span_id"]) if isinstance(one, dict) else (one.trace_id, one.span_id)


async def test_orphans_are_asked_for_since_a_time_and_once_their_trace_is_at_rest(db: Database) -> None:
    await store(
        db,
        [
            span("old", "a", parent="gone", ago_s=9000),
            span("new", "a", parent="gone", ago_s=300),
            span("busy", "a", parent="open", ago_s=90),
            span("busy", "b", parent="a", ago_s=0.5),
        ],
    )
    traces = TraceRepository(db)
    assert [one.trace_id for one in await traces.orphans()] == ["old", "new", "busy"]
    since = ago(600)
    assert [one.trace_id for one in await traces.orphans(since)] == ["new", "busy"]
    assert [one.trace_id for one in await traces.orphans(since, settled=timedelta(seconds=60))] == ["new"]
