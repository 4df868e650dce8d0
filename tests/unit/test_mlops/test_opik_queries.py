"""What the server knows is read back whole: by our filters, over all pages, with everybody's feedback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.errors import ServiceRefused
from src.mlops.tracing.configuration import OpikSettings
from src.mlops.tracing.opik_queries import FoundFeedback, FoundTrace, OpikQueries, TraceFilter, filters
from src.mlops.tracing.opik_sink import OpikSink
from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig
from src.resilience.outcomes import Unavailable
from src.scripted_servers import faults
from src.scripted_servers.http import Answer, ScriptedServer, json_answer
from src.scripted_servers.opik import ScriptedOpik
from tests.opik_contract import sdk_types
from tests.opik_samples import START, at, feedback, identity, records, span

TRACES = "/v1/private/traces"


class Clock:
    """The server's time, moved by hand."""

    def __init__(self) -> None:
        self.now = START + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opik(clock: Clock) -> Iterator[ScriptedOpik]:
    with ScriptedOpik(clock=clock) as server:
        yield server


def settings_for(server: ScriptedServer) -> OpikSettings:
    return OpikSettings(url=server.url, request_timeout_seconds=2.0)


def breaker() -> CircuitBreaker:
    return CircuitBreaker("opik", CircuitBreakerConfig(failure_threshold=3))


@pytest.fixture
def queries(opik: ScriptedOpik) -> Iterator[OpikQueries]:
    made = OpikQueries(settings_for(opik), breaker=breaker(), page_size=3)
    yield made
    made.close()


def store(server: ScriptedOpik, *documents: dict[str, Any]) -> None:
    sink = OpikSink(settings_for(server), breaker=breaker())
    sink.deliver(records(*documents))
    sink.close()


def root(number: int, *, agent: str = "orchestrator", seconds: float = 0.0, **changes: Any) -> dict[str, Any]:
    attributes = {"root": True, "name": f"run {number}", **changes.pop("attributes", {})}
    return span(
        trace_id=identity(seconds, number),
        span_id=identity(seconds, 10_000 + number),
        agent_name=agent,
        started_at=at(seconds),
        ended_at=at(seconds + 1),
        attributes=attributes,
        **changes,
    )


def found(answer: tuple[Any, ...] | Unavailable) -> tuple[Any, ...]:
    assert not isinstance(answer, Unavailable), answer
    return answer


def test_a_trace_is_read_back_as_it_was_written(opik: ScriptedOpik, queries: OpikQueries) -> None:
    failing = {"status": "error", "error_type": "DataUnavailable", "error_message": "no data"}
    written = root(1, session_id="s1", attributes={"input": {"q": 1}, "output": {"a": 2}, "tags": ["x"]}, **failing)
    call = span(
        trace_id=written["trace_id"],
        span_id=identity(0.5, 77),
        parent_span_id=written["span_id"],
        input_tokens=3,
        output_tokens=4,
        total_tokens=7,
        total_cost=0.5,
    )
    store(opik, written, call, feedback(trace_id=written["trace_id"]))
    (trace,) = found(queries.query_traces())
    assert isinstance(trace, FoundTrace)
    assert (trace.trace_id, trace.name, trace.agent, trace.thread_id) == (
        written["trace_id"],
        "run 1",
        "orchestrator",
        "s1",
    )
    assert (trace.input, trace.output, trace.tags) == ({"q": 1}, {"a": 2}, ("x",))
    assert (trace.error_type, trace.error_message, trace.failed) == ("DataUnavailable", "no data", True)
    assert (trace.total_tokens, trace.total_cost, trace.span_count) == (7, 0.5, 2)
    assert trace.ended_at == START + timedelta(seconds=1)
    assert [(score.name, score.value, score.source) for score in trace.feedback] == [("quality", 0.5, "sdk")]
    with pytest.raises(FrozenInstanceError):
        trace.name = "another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (TraceFilter(), [4, 3, 2, 1]),
        (TraceFilter(limit=2), [4, 3]),
        (TraceFilter(agent="causal_impact"), [3, 2]),
        (TraceFilter(name="run 2"), [2]),
        (TraceFilter(thread_id="s4"), [4]),
        (TraceFilter(tag="x"), [2]),
        (TraceFilter(since=START + timedelta(seconds=20)), [4, 3, 2]),
        (TraceFilter(since=START + timedelta(seconds=20), until=START + timedelta(seconds=30)), [2]),
        (TraceFilter(failed=True), [3]),
        (TraceFilter(failed=False), [4, 2, 1]),
        (TraceFilter(agent="causal_impact", failed=True), [3]),
        (TraceFilter(agent="explainer"), []),
    ],
    ids=str,
)
def test_every_filter_selects_what_it_says(
    opik: ScriptedOpik, queries: OpikQueries, wanted: TraceFilter, numbers: list[int]
) -> None:
    store(
        opik,
        root(1, seconds=10),
        root(2, seconds=20, agent="causal_impact", attributes={"tags": ["x"]}),
        root(3, seconds=30, agent="causal_impact", status="error", error_type="E", error_message="e"),
        root(4, seconds=40, session_id="s4"),
    )
    assert [trace.name for trace in found(queries.query_traces(wanted))] == [f"run {number}" for number in numbers]


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        (TraceFilter(agent="causal_impact"), 'metadata.agent = "causal_impact"'),
        (TraceFilter(name="n", thread_id="t"), 'name = "n" and thread_id = "t"'),
        (TraceFilter(tag="x"), 'tags contains "x"'),
        (TraceFilter(failed=True), "error_info is_not_empty"),
        (TraceFilter(failed=False), "error_info is_empty"),
        (
            TraceFilter(since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 1, 2, tzinfo=UTC)),
            'start_time >= "2026-01-01T00:00:00.000000Z" and start_time < "2026-01-02T00:00:00.000000Z"',
        ),
    ],
    ids=str,
)
def test_filters_are_written_as_the_sdks_own_query_language_writes_them(wanted: TraceFilter, language: str) -> None:
    sdk_types()
    from opik.api_objects.opik_query_language import OpikQueryLanguage

    expected = json.loads(OpikQueryLanguage.for_traces(language).parsed_filters or "[]")
    assert json.loads(filters(wanted)) == [
        {key: value for key, value in condition.items() if key != "type"} for condition in expected
    ]


def test_all_pages_are_read_and_each_trace_once(opik: ScriptedOpik, queries: OpikQueries) -> None:
    store(opik, *(root(number, seconds=number) for number in range(1, 9)))
    assert len(found(queries.query_traces())) == 8
    assert [request.query["page"] for request in opik.requests_to(TRACES)] == [["1"], ["2"], ["3"]]


def test_a_trace_that_arrives_while_pages_are_read_shows_none_twice(opik: ScriptedOpik, queries: OpikQueries) -> None:
    store(opik, *(root(number, seconds=number) for number in range(1, 7)))
    opik.forget_requests()

    def arrives(request: Any) -> None:
        if request.query.get("page") == ["2"]:
            opik.store.upsert("traces", {**next(iter(opik.traces.values())), "id": identity(99, 99)})

    opik.fault = arrives
    names = [trace.trace_id for trace in found(queries.query_traces())]
    assert len(names) == len(set(names)) == 6


def test_a_project_without_traces_has_none(queries: OpikQueries) -> None:
    assert queries.query_traces() == ()
    assert queries.query_feedback(START) == ()


def test_feedback_of_people_in_the_web_page_is_read(opik: ScriptedOpik, queries: OpikQueries, clock: Clock) -> None:
    store(opik, root(1, agent="causal_impact"))
    opik.give_feedback(identity(0, 1), "helpful", 1.0, author="ana", reason="clear")
    assert queries.query_feedback(START) == (
        FoundFeedback(
            trace_id=identity(0, 1),
            span_id=None,
            agent="causal_impact",
            name="helpful",
            value=1.0,
            reason="clear",
            category=None,
            source="ui",
            author="ana",
            given_at=clock.now,
        ),
    )


def test_what_several_people_say_under_one_name_is_told_apart(opik: ScriptedOpik, queries: OpikQueries) -> None:
    store(opik, root(1))
    for author, value in (("ana", 1.0), ("ben", 0.0), ("ana", 0.8)):
        opik.give_feedback(identity(0, 1), "helpful", value, author=author)
    said = found(queries.query_feedback(START))
    assert sorted((one.author, one.value) for one in said) == [("ana", 0.8), ("ben", 0.0)]


def test_feedback_on_a_span_belongs_to_the_spans_agent(opik: ScriptedOpik, queries: OpikQueries) -> None:
    child = span(
        trace_id=identity(0, 1), span_id=identity(0.5, 50), parent_span_id=identity(0, 10_001), agent_name="explainer"
    )
    store(opik, root(1), child)
    opik.give_feedback(identity(0.5, 50), "wording", 0.3, kind="spans")
    opik.give_feedback(identity(0, 1), "helpful", 1.0)
    (one,) = found(queries.query_feedback(START, "explainer"))
    assert (one.trace_id, one.span_id, one.name, one.source) == (identity(0, 1), identity(0.5, 50), "wording", "ui")
    assert [one.name for one in found(queries.query_feedback(START, "orchestrator"))] == ["helpful"]


def test_only_feedback_since_then_is_read_also_of_older_traces(
    opik: ScriptedOpik, queries: OpikQueries, clock: Clock
) -> None:
    store(opik, root(1))
    opik.give_feedback(identity(0, 1), "early", 1.0)
    since = clock.now + timedelta(days=2)
    clock.now += timedelta(days=3)
    opik.give_feedback(identity(0, 1), "late", 1.0)
    assert [one.name for one in found(queries.query_feedback(since))] == ["late"]
    assert queries.query_feedback(since, lookback=timedelta(hours=1)) == ()


def test_a_trace_whose_id_the_mirror_had_to_change_is_read_under_our_own(
    opik: ScriptedOpik, queries: OpikQueries
) -> None:
    foreign = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
    inner = span(trace_id=foreign, span_id=identity(0.5, 60), parent_span_id=identity(0, 61))
    store(opik, span(trace_id=foreign, span_id=identity(0, 61), attributes={"root": True}), inner)
    opik.give_feedback(identity(0.5, 60), "wording", 1.0, kind="spans")
    assert [trace.trace_id for trace in found(queries.query_traces())] == [foreign]
    assert [one.trace_id for one in found(queries.query_feedback(START))] == [foreign]


@pytest.mark.parametrize(
    ("fault", "reason", "after"),
    [
        (faults.RESET, "did not answer", None),
        (faults.TRUNCATED, "did not answer", None),
        (faults.status(503, retry_after=9), "503", 9.0),
        (faults.status(401), "key", None),
        (faults.status(404), "no such service", None),
        (faults.MALFORMED, "no JSON", None),
    ],
    ids=str,
)
def test_an_outage_is_an_answer_nobody_takes_for_no_traces(
    opik: ScriptedOpik, queries: OpikQueries, fault: faults.Fault, reason: str, after: float | None
) -> None:
    store(opik, root(1))
    opik.fault = fault
    for answer in (queries.query_traces(), queries.query_feedback(START)):
        assert isinstance(answer, Unavailable)
        assert reason in answer.reason
        assert answer.retry_after_s == after


def test_an_open_breaker_answers_unavailable_with_the_time_of_the_next_probe(opik: ScriptedOpik) -> None:
    tripped = breaker()
    tripped.force_open()
    queries = OpikQueries(settings_for(opik), breaker=tripped)
    answer = queries.query_traces()
    assert isinstance(answer, Unavailable)
    assert answer.retry_after_s is not None
    assert answer.retry_after_s > 0
    assert opik.requests == []


def test_a_question_the_server_rejects_is_an_error(opik: ScriptedOpik, queries: OpikQueries) -> None:
    opik.fault = faults.status(400)
    with pytest.raises(ServiceRefused, match="400"):
        queries.query_traces(TraceFilter(name="x"))


def test_a_page_that_is_none_is_an_outage() -> None:
    with ScriptedServer(lambda _: Answer(200, {"content-type": "application/json"}, b"[]")) as server:
        queries = OpikQueries(settings_for(server), breaker=breaker())
        assert isinstance(queries.query_traces(), Unavailable)
        queries.close()


@pytest.mark.parametrize("by_author", [{}, {"ana": {"value": 0.7, "source": "ui"}}])
def test_a_score_without_details_by_author_is_read_too(by_author: dict[str, Any]) -> None:
    score = {"name": "q", "value": 0.7, "source": "ui", "last_updated_at": at(60), "last_updated_by": "ana"}
    row = {"id": identity(0, 1), "start_time": at(0), "feedback_scores": [score | {"value_by_author": by_author}]}
    with ScriptedServer(lambda _: json_answer({"page": 1, "total": 1, "content": [row]})) as server:
        queries = OpikQueries(settings_for(server), breaker=breaker())
        (one,) = found(queries.query_feedback(START))
        assert queries.query_feedback(START + timedelta(seconds=61)) == ()
        queries.close()
    assert (one.author, one.value, one.source, one.given_at) == ("ana", 0.7, "ui", START + timedelta(seconds=60))
