"""Records keep Opik's published API, and the version of a trace that says most is the one that stays."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.mlops.tracing.opik_batches import OpikBatch, merge_traces, to_opik
from src.mlops.tracing.opik_wire import mirror_id
from src.mlops.tracing.records import Kind, Record, RecordRefused
from tests.opik_contract import openapi, problem, schema_problem
from tests.opik_samples import PROJECT, at, feedback, identity, metric, records, span

TRACE = identity(number=1)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
counts = st.none() | st.integers(0, 2**40)
spans = st.builds(
    span,
    trace_id=st.uuids().map(str) | st.just(TRACE) | texts,
    span_id=st.uuids().map(str) | st.builds(identity),
    parent_span_id=st.none() | st.uuids().map(str) | st.builds(identity) | texts,
    operation_type=texts,
    ended_at=st.none() | st.just(at(2.0)),
    status=st.sampled_from(["success", "error", "timeout"]),
    error_type=st.none() | st.just("ValueError"),
    error_message=st.none() | texts,
    model_name=st.none() | texts,
    input_tokens=counts,
    output_tokens=counts,
    total_tokens=counts,
    total_cost=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    session_id=st.none() | texts,
    prompt_versions=st.none() | st.dictionaries(texts, texts, max_size=2),
    attributes=st.dictionaries(texts, json_values, max_size=3).map(dict)
    | st.fixed_dictionaries(
        {},
        optional={
            "root": json_values,
            "input": json_values,
            "output": json_values,
            "tags": json_values,
            "name": json_values,
            "span_type": json_values,
            "events": json_values,
            "gen_ai.provider.name": json_values,
            "gen_ai.usage.cache_read.input_tokens": json_values,
            "exception.stacktrace": json_values,
            "ttft_ms": json_values,
            "agent": json_values,
        },
    ),
)


def convert(*documents: dict[str, Any], known: dict[str, Any] | None = None) -> OpikBatch:
    return to_opik(records(*documents), PROJECT, known)


def root(**changes: Any) -> dict[str, Any]:
    return span(**{**changes, "attributes": {"root": True, **changes.get("attributes", {})}})


def only_span(**changes: Any) -> dict[str, Any]:
    return convert(span(**changes)).spans[0]


def problems(batch: OpikBatch) -> list[str]:
    sent = [
        problem("POST", "/v1/private/traces/batch", {"traces": list(batch.traces)}) if batch.traces else None,
        problem("POST", "/v1/private/spans/batch", {"spans": list(batch.spans)}) if batch.spans else None,
        problem("PUT", "/v1/private/traces/feedback-scores", {"scores": list(batch.trace_scores)})
        if batch.trace_scores
        else None,
        problem("PUT", "/v1/private/spans/feedback-scores", {"scores": list(batch.span_scores)})
        if batch.span_scores
        else None,
    ]
    return [found for found in sent if found]


@given(document=spans)
def test_the_bodies_of_any_span_keep_the_published_api(document: dict[str, Any]) -> None:
    batch = convert(document)
    assert problems(batch) == []
    assert len(batch.spans) == len(batch.traces) == 1
    assert UUID(batch.spans[0]["id"]).version == UUID(batch.spans[0]["trace_id"]).version == 7
    assert batch.spans[0]["trace_id"] == batch.traces[0]["id"]
    assert None not in batch.spans[0].values()
    assert None not in batch.traces[0].values()


@given(
    value=st.floats(-1e9, 1e9),
    name=texts.filter(str.strip),
    reason=st.none() | texts,
    target=st.none() | st.builds(identity),
    source=st.sampled_from(["sdk", "ui", "online_scoring"]),
)
def test_the_bodies_of_any_score_keep_the_published_api(
    value: float, name: str, reason: str | None, target: str | None, source: str
) -> None:
    batch = convert(
        feedback(value=value, name=name, reason=reason, span_id=target, source=source),
        metric(value=value, name=name + "2"),
        metric(value=value, name=name, trace_id=None),
    )
    assert problems(batch) == []
    given_score = (batch.span_scores if target else batch.trace_scores)[0]
    assert given_score["id"] == (target or TRACE)
    assert given_score["source"] == source
    assert given_score["reason"]


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        ("SpanBatch_Write", {"spans": [{"id": TRACE}]}),
        ("SpanBatch_Write", {"spans": [{"start_time": at(0), "tags": ["a", "a"]}]}),
        ("SpanBatch_Write", {"spans": [{"start_time": at(0), "usage": {"total_tokens": 2**31}}]}),
        ("SpanBatch_Write", {"spans": [{"start_time": "2026-01-01T00:00:00"}]}),
        ("SpanBatch_Write", {"spans": [{"start_time": at(0), "input": 3}]}),
        ("TraceBatch_Write", {"traces": [{"start_time": at(0), "model": "m"}]}),
        ("FeedbackScoreBatch", {"scores": []}),
    ],
)
def test_the_judge_of_bodies_finds_what_breaks_the_api(schema: str, body: dict[str, Any]) -> None:
    if openapi() is None:
        pytest.skip("needs Opik's OpenAPI file in shared/data/opik")
    assert schema_problem(schema, body) is not None


def test_a_model_call_keeps_model_provider_usage_cost_and_time_to_first_token() -> None:
    body = only_span(
        model_name="claude-haiku-5-5",
        input_tokens=10,
        output_tokens=4,
        total_tokens=14,
        total_cost=0.25,
        attributes={
            "span_type": "llm",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.usage.cache_read.input_tokens": 3,
            "ttft_ms": 120.5,
        },
    )
    assert (body["type"], body["model"], body["provider"]) == ("llm", "claude-haiku-5-5", "anthropic")
    assert (body["total_estimated_cost"], body["ttft"]) == (0.25, 120.5)
    assert body["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "total_tokens": 14,
        "original_usage.input_tokens": 10,
        "original_usage.output_tokens": 4,
        "original_usage.cache_read_input_tokens": 3,
    }


def test_a_count_beyond_32_bits_is_left_out_of_usage_only() -> None:
    body = only_span(
        input_tokens=2**31, output_tokens=1, total_tokens=2**31 + 1, attributes={"gen_ai.usage.input_tokens": 2**31}
    )
    assert body["usage"] == {"completion_tokens": 1, "original_usage.output_tokens": 1}
    assert body["metadata"]["gen_ai.usage.input_tokens"] == 2**31


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ({"question": "?"}, {"question": "?"}),
        ("plain", {"input": "plain"}),
        ([1, 2], {"input": [1, 2]}),
        (0, {"input": 0}),
    ],
)
def test_input_is_an_object_whatever_was_recorded(value: Any, sent: dict[str, Any]) -> None:
    assert only_span(attributes={"input": value})["input"] == sent


def test_metadata_hides_nothing_the_caller_set() -> None:
    metadata = only_span(prompt_versions={"intent": "v3"}, attributes={"agent": "somebody else", "dataset_id": "abc"})[
        "metadata"
    ]
    assert metadata["agent"] == "orchestrator"
    assert metadata["tier"] == "coordination"
    assert metadata["operation"] == "classify_intent"
    assert metadata["prompt_versions"] == {"intent": "v3"}
    assert metadata["attributes"] == {"agent": "somebody else", "dataset_id": "abc"}
    assert metadata["gen_ai.agent.name"] == "orchestrator"


@pytest.mark.parametrize(
    ("stack", "traceback"), [("File x, line 1", "File x, line 1"), (None, "no data"), ("  ", "no data")]
)
def test_an_error_has_type_message_and_traceback(stack: str | None, traceback: str) -> None:
    body = convert(
        root(
            status="error",
            error_type="DataUnavailable",
            error_message="no data",
            attributes={"exception.stacktrace": stack},
        )
    )
    expected = {"exception_type": "DataUnavailable", "message": "no data", "traceback": traceback}
    assert body.spans[0]["error_info"] == body.traces[0]["error_info"] == expected


def test_a_root_writes_its_whole_trace() -> None:
    batch = convert(root(session_id="s1", attributes={"input": {"q": 1}, "output": {"a": 2}, "tags": ["x", "x", "y"]}))
    (trace,) = batch.traces
    assert trace["id"] == TRACE
    assert trace["project_name"] == PROJECT
    assert (trace["thread_id"], trace["input"], trace["output"]) == ("s1", {"q": 1}, {"a": 2})
    assert (trace["tags"], trace["end_time"], trace["last_updated_at"]) == (["x", "y"], at(2.0), at(2.0))


def winner(*traces: dict[str, Any]) -> dict[str, Any]:
    """The version that Opik keeps."""
    return max(traces, key=lambda trace: trace["last_updated_at"])


def test_the_final_trace_wins_over_every_provisional_one() -> None:
    early = convert(span(started_at=at(0.1), ended_at=at(0.2)), span(started_at=at(0.3), ended_at=at(0.4))).traces
    late = convert(span(started_at=at(50), ended_at=at(60))).traces
    (final,) = convert(root(started_at=at(0), ended_at=at(0))).traces
    assert len(early) == len(late) == 1
    assert winner(*early, final, *late) is final
    assert early[0]["metadata"]["provisional"] is True


def test_a_span_that_outlives_its_trace_does_not_bring_the_provisional_one_back() -> None:
    done = convert(root())
    assert convert(span(started_at=at(90)), known=dict(done.final_traces)).traces == ()


@pytest.mark.parametrize("remote", [{"parent_span_id": identity(0.5)}, {"attributes": {"w3c.parent_id": "ab" * 8}}])
def test_a_trace_continued_in_another_process_shows_that_root_only_until_its_own_arrives(
    remote: dict[str, Any],
) -> None:
    (continued,) = convert(root(started_at=at(5), ended_at=at(6), **remote)).traces
    (provisional,) = convert(span(started_at=at(70), ended_at=at(80))).traces
    (own,) = convert(root(started_at=at(0), ended_at=at(1))).traces
    assert winner(provisional, continued) is continued
    assert winner(provisional, continued, own) is own


def resumed() -> tuple[dict[str, Any], dict[str, Any]]:
    first = root(
        started_at=at(0.5),
        ended_at=at(2),
        status="error",
        error_type="TimeoutError",
        error_message="late",
        attributes={"input": {"q": "why"}, "tags": ["a"], "name": "ask"},
    )
    second = root(
        started_at=at(100),
        ended_at=at(101),
        attributes={"input": {}, "output": {"a": 1}, "tags": ["b"], "name": "resume"},
    )
    return first, second


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("together", [True, False])
def test_a_resumed_trace_keeps_its_first_question_and_its_last_answer(order: tuple[int, int], together: bool) -> None:
    documents = [resumed()[index] for index in order]
    if together:
        (trace,) = convert(*documents).traces
    else:
        before = convert(documents[0])
        (after,) = convert(documents[1], known=dict(before.final_traces)).traces
        trace = winner(before.traces[0], after) if order == (0, 1) else after
    assert (trace["input"], trace["output"], trace["name"]) == ({"q": "why"}, {"a": 1}, "ask")
    assert (trace["start_time"], trace["end_time"]) == (at(0)[:-4] + "000Z", at(101))
    assert trace["tags"] == ["a", "b"]
    assert "error_info" not in trace


def test_a_resumed_trace_starts_when_it_began_even_where_nobody_knows_its_first_part() -> None:
    (trace,) = convert(resumed()[1]).traces
    assert trace["start_time"] == at(0)[:-4] + "000Z"


@given(
    moments=st.lists(
        st.tuples(st.integers(1, 50), st.integers(51, 99)),
        min_size=2,
        max_size=4,
        unique_by=(lambda m: m[0], lambda m: m[1]),
    )
)
def test_merging_roots_depends_on_neither_order_nor_repetition(moments: list[tuple[int, int]]) -> None:
    bodies = [
        next(
            iter(
                convert(
                    root(
                        started_at=at(began),
                        ended_at=at(ended),
                        attributes={"input": {"n": began}, "output": {"n": ended}},
                    )
                ).final_traces.values()
            )
        )
        for began, ended in moments
    ]
    merged = []
    for order in itertools.islice(itertools.permutations(bodies), 12):
        one = order[0]
        for other in (*order[1:], order[0]):
            one = merge_traces(one, other)
        merged.append(one)
    assert all(one == merged[0] for one in merged)
    assert merged[0]["input"] == {"n": min(began for began, _ in moments)}
    assert merged[0]["output"] == {"n": max(ended for _, ended in moments)}


def test_an_id_of_another_kind_becomes_one_that_opik_takes_and_stays_in_the_metadata() -> None:
    batch = convert(root(trace_id="run-17"), span(trace_id="run-17"), feedback(trace_id="run-17"))
    mapped = mirror_id("run-17", at(0))
    assert UUID(mapped).version == 7
    assert {body["trace_id"] for body in batch.spans} == {mapped}
    assert batch.traces[0]["id"] == batch.trace_scores[0]["id"] == mapped
    assert batch.spans[0]["metadata"]["trace_id"] == "run-17"
    assert mirror_id("run-18", at(0)) != mapped


@pytest.mark.parametrize(
    "foreign",
    [
        "ffffffff-ffff-7fff-8fff-ffffffffffff",
        "7fffffff-ffff-7fff-8fff-ffffffffffff",
        "00000000-ffff-7fff-8fff-ffffffffffff",
    ],
    ids=["beyond-any-date", "far-future", "1970"],
)
def test_a_foreign_id_that_looks_like_version_7_is_not_taken_for_a_time(foreign: str) -> None:
    (trace,) = convert(root(trace_id=foreign)).traces
    assert trace["id"] != foreign
    assert trace["start_time"] == at(1.0)


@pytest.mark.parametrize(
    ("parent", "is_root", "kept"),
    [
        (identity(0.5, 77), False, True),
        (identity(0.5, 77), True, True),
        (str(UUID(int=99)), True, False),
        ("b7ad6b7169203331", False, False),
    ],
)
def test_a_parent_that_opik_will_never_see_is_left_out_but_not_forgotten(
    parent: str, is_root: bool, kept: bool
) -> None:
    (body,) = convert(span(parent_span_id=parent, attributes={"root": is_root})).spans
    assert body.get("parent_span_id") == (parent if kept else None)
    assert kept or body["metadata"]["parent_span_id"] == parent


def test_a_metric_of_a_trace_is_a_score_and_one_without_is_a_trace_of_its_own() -> None:
    batch = convert(
        metric(name="rows", value=3), metric(metric_id=identity(9, 900), trace_id=None, name="drift", value=0.5)
    )
    (score,) = batch.trace_scores
    assert (score["id"], score["name"], score["value"], score["reason"]) == (TRACE, "rows", 3.0, "metric")
    (trace,) = batch.traces
    assert (trace["id"], trace["name"], trace["output"]) == (identity(9, 900), "metric drift", {"value": 0.5})


def test_a_metric_too_large_for_a_score_is_not_lost() -> None:
    batch = convert(metric(value=2e9))
    assert batch.trace_scores == ()
    assert batch.traces[0]["output"] == {"value": 2e9}
    assert batch.traces[0]["metadata"]["trace_id"] == TRACE


def test_of_several_scores_of_one_name_the_newest_is_sent() -> None:
    batch = convert(feedback(value=0.9, recorded_at=at(9)), feedback(value=0.1, recorded_at=at(4)))
    assert [score["value"] for score in batch.trace_scores] == [0.9]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "0.5", True, 1.1e9])
def test_a_score_that_is_no_number_opik_takes_is_refused(value: Any) -> None:
    with pytest.raises(RecordRefused, match="number between"):
        convert(feedback(value=value))


@pytest.mark.parametrize(
    "broken",
    [
        Record(Kind.SPAN, b"{not json"),
        Record(Kind.SPAN, b"[]"),
        Record(Kind.SPAN, orjson.dumps({"trace_id": TRACE})),
        Record(Kind.SPAN, orjson.dumps(span() | {"attributes": 5})),
        Record(Kind.FEEDBACK, orjson.dumps(feedback(name=" "))),
        Record(Kind.METRIC, orjson.dumps(metric(trace_id=None, value=None))),
        Record(Kind.FEEDBACK, orjson.dumps(feedback(trace_id=None))),
    ],
)
def test_a_record_without_a_form_on_the_wire_is_refused_by_name_of_the_fault(broken: Record) -> None:
    with pytest.raises(RecordRefused, match="a record"):
        to_opik([broken], PROJECT)
