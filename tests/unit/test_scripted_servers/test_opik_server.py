"""The scripted server keeps Opik's rules, and the real SDK can use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from src.mlops.tracing.configuration import OpikSettings
from src.mlops.tracing.opik_sink import OpikSink
from src.resilience.circuit_breaker import CircuitBreaker
from src.scripted_servers import faults
from src.scripted_servers.opik import ScriptedOpik
from src.settings import PROJECT_ROOT
from tests.opik_contract import schema_problem, sdk_types
from tests.opik_samples import PROJECT, START, at, feedback, identity, records, span

TRACE = identity(number=1)
TRACES, SPANS = "/v1/private/traces", "/v1/private/spans"


@pytest.fixture
def opik() -> Iterator[ScriptedOpik]:
    with ScriptedOpik(clock=lambda: datetime(2026, 3, 5, tzinfo=UTC)) as server:
        yield server


@pytest.fixture
def http(opik: ScriptedOpik) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=opik.url, trust_env=False) as client:
        yield client


def trace(**changes: Any) -> dict[str, Any]:
    return {
        "id": TRACE,
        "project_name": PROJECT,
        "name": "run",
        "start_time": at(0),
        "last_updated_at": at(1),
        **changes,
    }


def put(http: httpx.Client, *traces: dict[str, Any]) -> int:
    return http.post(f"{TRACES}/batch", json={"traces": list(traces)}).status_code


@pytest.mark.parametrize(("versions", "kept"), [([1, 2], 1), ([2, 1], 0), ([1, 1], 1)])
@pytest.mark.parametrize("together", [True, False])
def test_the_version_updated_last_stays_whatever_the_order(
    opik: ScriptedOpik, http: httpx.Client, versions: list[int], kept: int, together: bool
) -> None:
    bodies = [trace(name=f"sent {n}", last_updated_at=at(version)) for n, version in enumerate(versions)]
    answers = [put(http, *bodies)] if together else [put(http, body) for body in bodies]
    assert set(answers) == {204}
    assert opik.traces[TRACE]["name"] == f"sent {kept}"


def test_an_update_that_arrives_before_its_record_hides_the_record(opik: ScriptedOpik, http: httpx.Client) -> None:
    assert http.patch(f"{TRACES}/{TRACE}", json={"project_name": PROJECT, "output": {"a": 1}}).status_code == 204
    assert put(http, trace(input={"q": 1}, last_updated_at=at(60))) == 204
    assert "input" not in opik.traces[TRACE]
    assert opik.traces[TRACE]["start_time"].startswith("1970")


def test_an_update_of_a_stored_record_changes_only_what_it_names(opik: ScriptedOpik, http: httpx.Client) -> None:
    put(http, trace(input={"q": 1}))
    http.patch(f"{TRACES}/batch", json={"ids": [TRACE], "update": {"tags": ["seen"]}})
    assert (opik.traces[TRACE]["input"], opik.traces[TRACE]["tags"]) == ({"q": 1}, ["seen"])


def test_creating_what_is_there_is_a_conflict(http: httpx.Client) -> None:
    assert http.post(TRACES, json=trace()).status_code == 201
    assert http.post(TRACES, json=trace()).status_code == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{TRACES}/batch", {"traces": [trace(model="m")]}),
        (f"{TRACES}/batch", {"traces": [trace()], "more": 1}),
        (f"{TRACES}/batch", {"traces": [trace(id="0" * 32)]}),
        (f"{TRACES}/batch", {"traces": [trace(start_time="2026-01-01T00:00:00")]}),
        (f"{TRACES}/batch", {"traces": [trace(start_time=None)]}),
        (f"{TRACES}/batch", {"traces": []}),
        (f"{TRACES}/batch", {"traces": [trace() for _ in range(1001)]}),
        (f"{TRACES}/batch", {"traces": ["text"]}),
        (f"{SPANS}/batch", {"spans": [{"id": TRACE, "trace_id": "run-1", "start_time": at(0)}]}),
    ],
)
def test_a_body_that_breaks_the_api_is_refused_whole(
    opik: ScriptedOpik, http: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["message"]
    assert opik.traces == opik.spans == {}


def test_unknown_fields_pass_where_the_server_is_not_strict() -> None:
    with ScriptedOpik(strict=False) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        assert put(http, trace(future_field=1)) == 204


def test_a_judge_may_refuse_any_written_body() -> None:
    judge = lambda method, path, body: f"{method} {path} {len(body['traces'])}"  # noqa: E731
    with ScriptedOpik(validate=judge) as server, httpx.Client(base_url=f"{server.url}/api", trust_env=False) as http:
        answer = http.post(f"{TRACES}/batch", json={"traces": [trace()]})
        assert (answer.status_code, answer.json()["message"]) == (400, f"POST {TRACES}/batch 1")


@pytest.mark.parametrize(("key", "status"), [("right", 200), ("wrong", 401), (None, 401)])
def test_a_server_with_a_key_asks_for_it(key: str | None, status: int) -> None:
    with ScriptedOpik(api_key="right") as server:
        headers = {} if key is None else {"Authorization": key}
        assert httpx.post(f"{server.url}/v1/private/auth", headers=headers, trust_env=False).status_code == status
        assert httpx.get(f"{server.url}/is-alive/ping", trust_env=False).json()["healthy"] is True


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("DELETE", f"{TRACES}/{TRACE}", 405), ("GET", f"{TRACES}/{TRACE}", 404)],
)
def test_what_is_not_there_is_said(http: httpx.Client, method: str, path: str, status: int) -> None:
    assert http.request(method, path).status_code == status


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ({"field": "name", "operator": "starts_with", "value": "b"}, ["b"]),
        ({"field": "name", "operator": "!=", "value": "b"}, ["c", "a"]),
        ({"field": "duration", "operator": ">=", "value": "2000"}, ["c", "b"]),
        ({"field": "end_time", "operator": "<", "value": at(2)}, ["a"]),
        ({"field": "metadata", "key": "agent", "operator": "=", "value": "x"}, ["a"]),
        ({"field": "tags", "operator": "not_contains", "value": "t"}, ["c", "b"]),
        ({"field": "feedback_scores", "key": "q", "operator": ">", "value": "0.5"}, ["c"]),
        ({"field": "usage.total_tokens", "operator": "=", "value": "5"}, ["b"]),
        ({"field": "input", "operator": "contains", "value": "WHY"}, ["b"]),
        ({"field": "error_info", "operator": "is_empty", "value": ""}, ["c", "b", "a"]),
    ],
    ids=str,
)
def test_filters_select(opik: ScriptedOpik, http: httpx.Client, condition: dict[str, str], names: list[str]) -> None:
    put(
        http,
        trace(id=identity(1, 1), name="a", end_time=at(1), metadata={"agent": "x"}, tags=["t"]),
        trace(id=identity(2, 2), name="b", end_time=at(2), input={"q": "why"}),
        trace(id=identity(3, 3), name="c", end_time=at(3)),
    )
    call = {"id": identity(2, 9), "trace_id": identity(2, 2), "project_name": PROJECT, "start_time": at(0)}
    http.post(f"{SPANS}/batch", json={"spans": [call | {"usage": {"total_tokens": 5}}]})
    opik.give_feedback(identity(3, 3), "q", 0.9)
    answer = http.get(TRACES, params={"project_name": PROJECT, "filters": json.dumps([condition])})
    assert [row["name"] for row in answer.json()["content"]] == names


@pytest.mark.parametrize(
    "filters",
    [
        "nonsense",
        '[{"field": "colour", "operator": "=", "value": "red"}]',
        '[{"field": "name", "operator": "~", "value": "red"}]',
    ],
)
def test_a_filter_opik_does_not_know_is_refused(http: httpx.Client, filters: str) -> None:
    put(http, trace())
    assert http.get(TRACES, params={"project_name": PROJECT, "filters": filters}).status_code == 400


def test_pages_hold_what_the_api_describes(opik: ScriptedOpik, http: httpx.Client) -> None:
    put(http, *(trace(id=identity(n, n), metadata={"n": n}) for n in range(1, 6)))
    opik.give_feedback(identity(4, 4), "q", 1.0, reason="good")
    page = http.get(TRACES, params={"project_name": PROJECT, "page": 2, "size": 2, "exclude": '["metadata"]'}).json()
    assert (page["page"], page["size"], page["total"]) == (2, 2, 5)
    assert [row["id"] for row in page["content"]] == [identity(3, 3), identity(2, 2)]
    assert all("metadata" not in row for row in page["content"])
    assert schema_problem("TracePage_Public", page) is None
    everything = http.get(TRACES, params={"project_name": PROJECT, "size": 50}).json()
    assert schema_problem("TracePage_Public", everything) is None
    assert http.get(TRACES, params={"project_name": "another"}).status_code == 404


def test_the_sdks_client_reads_what_we_wrote(opik: ScriptedOpik) -> None:
    sdk_types()
    from opik.rest_api.client import OpikApi

    sink = OpikSink(OpikSettings(url=opik.url), breaker=CircuitBreaker("opik"))
    root = span(span_id=identity(1, 40), session_id="s1", attributes={"root": True, "input": {"q": "wie groß?"}})
    call = span(
        span_id=identity(1.2, 41),
        parent_span_id=identity(1, 40),
        model_name="claude-haiku-5-5",
        input_tokens=1,
        output_tokens=2,
        total_tokens=3,
        total_cost=0.5,
        attributes={"span_type": "llm", "gen_ai.provider.name": "anthropic"},
    )
    sink.deliver(records(root, call, feedback(), feedback(span_id=identity(1.2, 41), name="faithfulness")))
    sink.close()

    with httpx.Client(trust_env=False) as client:
        sdk = OpikApi(base_url=opik.url, httpx_client=client)
        (found,) = sdk.traces.get_traces_by_project(project_name=PROJECT).content or []
        spans = sdk.spans.get_spans_by_project(project_name=PROJECT, trace_id=TRACE).content or []
        one = sdk.spans.get_span_by_id(identity(1.2, 41))
        projects = sdk.projects.find_projects(name="e2i").content or []
    assert (found.id, found.thread_id, found.input) == (TRACE, "s1", {"q": "wie groß?"})
    assert found.start_time == START.replace(microsecond=123000)
    assert [(score.name, score.value) for score in found.feedback_scores or []] == [("quality", 0.5)]
    assert found.usage is not None
    assert found.usage["total_tokens"] == 3
    assert {span.id for span in spans} == {identity(1, 40), identity(1.2, 41)}
    assert (one.type, one.model, one.provider, one.total_estimated_cost) == (
        "llm",
        "claude-haiku-5-5",
        "anthropic",
        0.5,
    )
    assert [score.name for score in one.feedback_scores or []] == ["faithfulness"]
    assert [project.name for project in projects] == [PROJECT]


def test_what_the_sdks_client_writes_is_kept(opik: ScriptedOpik) -> None:
    types = sdk_types()
    from opik.rest_api.client import OpikApi

    with httpx.Client(trust_env=False) as client:
        sdk = OpikApi(base_url=opik.url, httpx_client=client)
        sdk.traces.create_traces(
            traces=[types.TraceWrite(id=TRACE, project_name=PROJECT, name="by sdk", start_time=START)]
        )
        score = types.FeedbackScoreBatchItem(id=TRACE, project_name=PROJECT, name="q", value=1.0, source="sdk")
        sdk.traces.score_batch_of_traces(scores=[score])
        sdk.traces.update_trace(TRACE, project_name=PROJECT, output={"a": 1})
    assert (opik.traces[TRACE]["name"], opik.traces[TRACE]["output"]) == ("by sdk", {"a": 1})
    assert opik.scores(TRACE)["q"]["value"] == 1.0


def test_scripted_faults_speak_as_opik_does(opik: ScriptedOpik, http: httpx.Client) -> None:
    opik.script_faults([faults.status(429, retry_after=3)])
    answer = http.get("/is-alive/ping")
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["code"]) == (429, "3", 429)
    assert http.get("/is-alive/ping").status_code == 200


def test_it_runs_on_its_own_and_prints_its_address() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "src.scripted_servers.opik"],
        stdout=subprocess.PIPE,
        cwd=PROJECT_ROOT,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert httpx.get(f"{address}/is-alive/ping", trust_env=False).json()["healthy"] is True
    finally:
        process.terminate()
        process.communicate()
