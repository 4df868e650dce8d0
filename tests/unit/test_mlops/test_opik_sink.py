"""Records arrive once and whole; every way to fail is told apart: wait, split, or done."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import ConfigError, ServiceOutage
from src.mlops.tracing.configuration import OpikSettings
from src.mlops.tracing.json_http import JsonHttp, in_batches
from src.mlops.tracing.opik_sink import OpikSink
from src.mlops.tracing.records import RecordRefused, Sink
from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, CircuitState
from src.resilience.outages import is_outage, retry_after_seconds
from src.scripted_servers import faults
from src.scripted_servers.http import Answer, Request, ScriptedServer
from src.scripted_servers.opik import ScriptedOpik
from tests.opik_contract import problem, sdk_types
from tests.opik_samples import PROJECT, at, feedback, identity, metric, records, span

KEY = "opik-key-0123456789"
TRACE = identity(number=1)
TRACES, SPANS = "/v1/private/traces/batch", "/v1/private/spans/batch"


@pytest.fixture(scope="module", autouse=True)
def _judge_is_ready() -> None:
    sdk_types()


@pytest.fixture
def opik() -> Iterator[ScriptedOpik]:
    with ScriptedOpik(validate=problem, api_key=KEY) as server:
        yield server


def settings_for(url: str, **changes: Any) -> OpikSettings:
    return OpikSettings(
        **{"url": url, "api_key": KEY, "workspace": "pharma", "request_timeout_seconds": 5.0, **changes}
    )


def breaker(threshold: int = 1000) -> CircuitBreaker:
    return CircuitBreaker("opik", CircuitBreakerConfig(failure_threshold=threshold))


def sink_for(url: str, **changes: Any) -> OpikSink:
    options = {name: changes.pop(name) for name in ("max_batch_size", "max_body_bytes", "client") if name in changes}
    return OpikSink(
        settings_for(url, **changes.pop("settings", {})), breaker=changes.pop("breaker", breaker()), **options
    )


@pytest.fixture
def sink(opik: ScriptedOpik) -> Iterator[OpikSink]:
    made = sink_for(opik.url)
    yield made
    made.close()


def everything() -> list[Any]:
    root = span(span_id=identity(1, 499), attributes={"root": True, "input": {"q": 1}})
    child = span(span_id=identity(1.2, 500), parent_span_id=root["span_id"])
    scored = feedback(span_id=root["span_id"], name="faithfulness")
    return records(child, feedback(), scored, metric(), metric(metric_id=identity(4, 501), trace_id=None), root)


def test_it_is_a_mirror(sink: OpikSink) -> None:
    as_declared: Sink = sink
    assert (as_declared.name, as_declared.primary) == ("opik", False)


def test_everything_arrives_under_our_ids(opik: ScriptedOpik, sink: OpikSink) -> None:
    sink.deliver(everything())
    assert opik.traces[TRACE]["input"] == {"q": 1}
    assert opik.traces[identity(4, 501)]["name"] == "metric rows_read"
    assert len(opik.spans) == 2
    assert {name: score["value"] for name, score in opik.scores(TRACE).items()} == {"quality": 0.5, "rows_read": 12.0}
    root = next(span for span in opik.spans.values() if "parent_span_id" not in span)
    assert opik.spans[identity(1.2, 500)]["parent_span_id"] == root["id"]
    assert list(opik.scores(root["id"], "spans")) == ["faithfulness"]


def test_traces_go_before_their_spans_and_scores_last_and_nothing_is_ever_patched(
    opik: ScriptedOpik, sink: OpikSink
) -> None:
    sink.deliver(everything())
    assert [(request.method, request.path.removeprefix("/v1/private/")) for request in opik.requests] == [
        ("POST", "traces/batch"),
        ("POST", "spans/batch"),
        ("PUT", "traces/feedback-scores"),
        ("PUT", "spans/feedback-scores"),
    ]


def test_requests_carry_the_raw_key_the_workspace_and_gzipped_json(opik: ScriptedOpik, sink: OpikSink) -> None:
    sink.deliver(everything())
    for request in opik.requests:
        assert request.headers["authorization"] == KEY
        assert request.headers["comet-workspace"] == "pharma"
        assert request.headers["content-encoding"] == "gzip"
        assert request.headers["content-type"] == "application/json"


def test_without_a_key_no_authorization_is_sent() -> None:
    with ScriptedOpik() as server:
        keyless = sink_for(server.url, settings={"api_key": ""})
        keyless.deliver(everything())
        keyless.close()
        assert all("authorization" not in request.headers for request in server.requests)


def test_nothing_to_send_makes_no_request(opik: ScriptedOpik, sink: OpikSink) -> None:
    sink.deliver([])
    assert opik.requests == []


def test_sending_again_changes_nothing(opik: ScriptedOpik, sink: OpikSink) -> None:
    sink.deliver(everything())
    before = stored(opik)
    again = sink_for(opik.url)
    again.deliver(everything())
    again.close()
    assert stored(opik) == before


def test_a_trace_in_two_batches_ends_as_its_root_says(opik: ScriptedOpik, sink: OpikSink) -> None:
    sink.deliver(records(span(span_id=identity(1.5), parent_span_id=identity(1, 600))))
    assert opik.traces[TRACE]["metadata"]["provisional"] is True
    sink.deliver(records(span(span_id=identity(1, 600), attributes={"root": True, "output": "done"})))
    sink.deliver(records(span(span_id=identity(9), started_at=at(8), ended_at=at(9))))
    assert opik.traces[TRACE]["output"] == {"output": "done"}


def test_a_resumed_trace_keeps_what_its_first_root_said(opik: ScriptedOpik, sink: OpikSink) -> None:
    sink.deliver(records(span(attributes={"root": True, "input": "first"})))
    sink.deliver(records(span(started_at=at(60), ended_at=at(61), attributes={"root": True, "output": "last"})))
    trace = opik.traces[TRACE]
    assert (trace["input"], trace["output"], trace["end_time"]) == ({"input": "first"}, {"output": "last"}, at(61))


@pytest.mark.parametrize(
    ("most", "most_bytes", "requests"), [(1000, 4_000_000, 1), (10, 4_000_000, 3), (1000, 6_000, 5), (1000, 10, 25)]
)
def test_large_batches_are_split_before_they_are_sent(most: int, most_bytes: int, requests: int) -> None:
    documents = [span(span_id=identity(1, 1000 + n), attributes={"input": "x" * 500}) for n in range(25)]
    with ScriptedOpik(validate=problem, max_body_bytes=max(most_bytes, 3000) + 50) as server:
        splitting = sink_for(server.url, max_batch_size=most, max_body_bytes=most_bytes)
        splitting.deliver(records(*documents))
        splitting.close()
        sent = server.requests_to(SPANS)
        assert len(server.spans) == 25
    assert len(sent) == requests
    assert all(len(request.json["spans"]) <= most for request in sent)


@given(st.lists(st.binary(max_size=30), max_size=30), st.integers(1, 10), st.integers(1, 60))
def test_splitting_keeps_every_item_in_order_within_both_bounds(items: list[bytes], most: int, most_bytes: int) -> None:
    batches = list(in_batches(items, most=most, most_bytes=most_bytes))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) <= most for batch in batches)
    assert all(len(batch) == 1 or sum(map(len, batch)) + len(batch) <= most_bytes for batch in batches)


OUTAGES = [
    faults.RESET,
    faults.RESET_AFTER,
    faults.BLACK_HOLE,
    *(faults.status(code) for code in (408, 425, 429, 500, 502, 503, 504, 529)),
]


@pytest.mark.parametrize("fault", OUTAGES, ids=lambda fault: f"{fault.kind}{fault.status or ''}")
def test_an_outage_is_told_as_one_and_the_next_attempt_leaves_nothing_out(
    opik: ScriptedOpik, fault: faults.Fault
) -> None:
    counting = breaker()
    patience = 2.0 if fault is faults.BLACK_HOLE else 60.0
    fragile = sink_for(opik.url, breaker=counting, settings={"request_timeout_seconds": patience})
    opik.script_faults([None, fault])
    with pytest.raises(ServiceOutage) as failure:
        fragile.deliver(everything())
    assert is_outage(failure.value)
    assert counting.metrics.failed == 1
    fragile.deliver(everything())
    fragile.close()
    assert len(opik.spans) == 2
    assert opik.traces[TRACE]["input"] == {"q": 1}


def test_a_server_that_is_down_is_an_outage_and_back_it_gets_everything(opik: ScriptedOpik, sink: OpikSink) -> None:
    with opik.down(), pytest.raises(ServiceOutage, match="did not answer"):
        sink.deliver(everything())
    sink.deliver(everything())
    assert len(opik.spans) == 2


@pytest.mark.parametrize(("header", "seconds"), [(7, 7.0), (None, None)])
def test_the_servers_wish_when_to_come_back_can_be_read(
    opik: ScriptedOpik, sink: OpikSink, header: int | None, seconds: float | None
) -> None:
    opik.fault = faults.status(429, retry_after=header)
    with pytest.raises(ServiceOutage) as failure:
        sink.deliver(everything())
    assert retry_after_seconds(failure.value) == seconds


@pytest.mark.parametrize(
    ("code", "words"),
    [(401, "key"), (403, "access"), (402, "quota"), (404, "no such service"), (405, "no such service")],
)
def test_a_wrong_key_or_address_makes_records_wait_and_says_so(opik: ScriptedOpik, code: int, words: str) -> None:
    counting = breaker()
    refused = sink_for(opik.url, breaker=counting)
    opik.fault = faults.status(code)
    with pytest.raises(ServiceOutage, match=words) as failure:
        refused.deliver(everything())
    refused.close()
    assert is_outage(failure.value)
    assert counting.metrics.failed == 1


@pytest.mark.parametrize("code", [400, 413, 415, 422])
def test_what_the_server_will_never_take_is_refused_and_does_not_charge_the_breaker(
    opik: ScriptedOpik, code: int
) -> None:
    counting = breaker()
    refused = sink_for(opik.url, breaker=counting)
    opik.fault = faults.status(code)
    with pytest.raises(RecordRefused, match=str(code)):
        refused.deliver(everything())
    refused.close()
    assert counting.metrics.failed == 0


@pytest.mark.parametrize("code", [200, 201, 204, 207, 409])
def test_any_success_and_a_conflict_count_as_delivered(code: int) -> None:
    with ScriptedServer(lambda _: Answer(code, body=b"" if code == 204 else b"{}")) as server:
        satisfied = sink_for(server.url)
        satisfied.deliver(everything())
        satisfied.close()
        assert len(server.requests) == 4


def test_a_redirect_is_not_followed(opik: ScriptedOpik) -> None:
    moved = Answer(307, {"location": f"{opik.url}{TRACES}"})
    with ScriptedServer(lambda _: moved) as server:
        lost = sink_for(server.url)
        with pytest.raises(ServiceOutage, match="redirect to"):
            lost.deliver(everything())
        lost.close()
    assert opik.requests == []


def test_an_open_breaker_keeps_requests_back(opik: ScriptedOpik) -> None:
    tripping = breaker(threshold=2)
    patient = sink_for(opik.url, breaker=tripping)
    opik.fault = faults.status(503)
    for _ in range(2):
        with pytest.raises(ServiceOutage):
            patient.deliver(everything())
    assert tripping.state is CircuitState.OPEN
    opik.forget_requests()
    with pytest.raises(CircuitOpenError):
        patient.deliver(everything())
    assert patient.ping().reachable is False
    patient.close()
    assert opik.requests == []


def echoing(request: Request) -> Answer:
    return Answer(400, body=f"bad key {request.headers.get('authorization')}".encode())


@pytest.mark.parametrize("user", ["", "user:pass-word@"], ids=["key", "password"])
@pytest.mark.parametrize("fault", [None, faults.status(401), faults.status(503), faults.RESET], ids=str)
def test_the_key_is_in_no_error(fault: faults.Fault | None, user: str) -> None:
    with ScriptedServer(echoing, fault=fault) as server:
        changes = {"api_key": ""} if user else {}
        secretive = sink_for(server.url.replace("http://", f"http://{user}"), settings=changes)
        with pytest.raises((ServiceOutage, RecordRefused)) as failure:
            secretive.deliver(everything())
        secretive.close()
        assert server.requests
    error: BaseException | None = failure.value
    while error is not None:
        assert KEY not in f"{error!r}{error}"
        assert "pass-word" not in f"{error!r}{error}"
        error = error.__cause__


@pytest.mark.parametrize("key", ["line\nbreak", "schlüssel", " spaces "])
def test_a_key_that_no_header_can_carry_is_named_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigError, match="Authorization") as failure:
        sink_for("http://127.0.0.1:9", settings={"api_key": key})
    assert key not in str(failure.value)


def test_an_address_with_credentials_beside_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="one credential") as failure:
        sink_for("http://user:pass-word@127.0.0.1:9")
    assert "pass-word" not in str(failure.value)


def test_without_an_address_there_is_no_sink() -> None:
    with pytest.raises(ConfigError, match="OPIK_ENDPOINT"):
        OpikSink(OpikSettings(use_local=False), breaker=breaker())


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        JsonHttp("Opik", url, breaker=breaker(), timeout_s=1.0)


def test_ping_says_whether_and_how_fast(opik: ScriptedOpik, sink: OpikSink) -> None:
    reachable, latency_ms, reason = sink.ping()
    assert (reachable, reason) == (True, None)
    assert latency_ms is not None
    assert latency_ms >= 0
    with opik.down():
        assert sink.ping().reachable is False
        assert "did not answer" in str(sink.ping().reason)


def test_a_web_page_is_no_opik() -> None:
    page = Answer(200, {"content-type": "text/html"}, b"<!doctype html>")
    with ScriptedServer(lambda _: page) as server:
        misled = sink_for(server.url)
        assert misled.ping().reachable is False
        misled.close()


def test_after_close_it_connects_again(opik: ScriptedOpik, sink: OpikSink) -> None:
    sink.deliver(everything())
    sink.close()
    sink.close()
    sink.deliver(everything())
    assert len(opik.requests) == 8


def test_proxies_of_the_environment_do_not_catch_a_local_server(
    opik: ScriptedOpik, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(lambda _: Answer(418)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        direct = sink_for(opik.url)
        direct.deliver(everything())
        direct.close()
        assert proxy.requests == []


def test_proxies_of_the_environment_reach_a_distant_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedOpik() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        distant = sink_for("http://opik.example")
        assert distant.ping().reachable is True
        distant.close()


def test_a_client_given_is_used(opik: ScriptedOpik) -> None:
    with httpx.Client(headers={"x-of": "the caller"}) as client:
        sink_for(opik.url, client=client).deliver(everything())
    assert {request.headers["x-of"] for request in opik.requests} == {"the caller"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_uses_connections_of_its_own() -> None:
    with Callers() as server:
        sink = sink_for(f"http://127.0.0.1:{server.server_port}")
        assert sink.ping().reachable
        child = os.fork()
        if child == 0:
            os._exit(0 if sink.ping().reachable else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert sink.ping().reachable
        sink.close()
    first, forked, second = server.callers
    assert first == second != forked


class Callers(ThreadingHTTPServer):
    """Answers every request and notes the port it came from."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.callers: list[int] = []
        super().__init__(("127.0.0.1", 0), _Healthy)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Healthy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Callers

    def do_GET(self) -> None:
        self.server.callers.append(self.client_address[1])
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written to standard error."""


@settings(max_examples=15)
@given(
    st.lists(
        st.sampled_from([None, faults.RESET, faults.RESET_AFTER, faults.status(503), faults.status(429)]), max_size=8
    )
)
def test_whatever_fails_on_the_way_repeating_ends_with_the_same_rows(fates: list[faults.Fault | None]) -> None:
    with ScriptedOpik(validate=problem) as calm, ScriptedOpik(validate=problem, faults=fates) as stormy:
        for server in (calm, stormy):
            stubborn = sink_for(server.url)
            repeat(stubborn, records(*one_trace()[:3]))
            repeat(stubborn, records(*one_trace()[3:]))
            stubborn.close()
        assert len(calm.spans) == 3
        assert stored(stormy) == stored(calm)


def one_trace() -> list[dict[str, Any]]:
    return [
        span(span_id=identity(1.5, 801), parent_span_id=identity(1, 800)),
        feedback(),
        metric(),
        span(span_id=identity(1, 800), attributes={"root": True, "input": "q"}),
        span(span_id=identity(1.6, 802), parent_span_id=identity(1, 800)),
    ]


def repeat(sink: OpikSink, batch: list[Any]) -> None:
    for _ in range(20):
        try:
            sink.deliver(batch)
        except ServiceOutage:
            continue
        return
    raise AssertionError("never delivered")


def stored(server: ScriptedOpik) -> dict[str, Any]:
    """What the server holds, without the times it puts on rows itself."""
    own = ("created_at",)
    rows = {**server.traces, **server.spans, **{f"score {name}": row for name, row in server.scores(TRACE).items()}}
    return {
        name: {
            key: value
            for key, value in row.items()
            if key not in own and ("start_time" in row or key != "last_updated_at")
        }
        for name, row in rows.items()
    }


def test_bodies_on_the_wire_are_really_compressed(opik: ScriptedOpik) -> None:
    bodies: list[bytes] = []
    transport = httpx.MockTransport(lambda request: bodies.append(request.content) or httpx.Response(204))  # type: ignore[func-returns-value]
    with httpx.Client(transport=transport) as client:
        sink_for(opik.url, client=client).deliver(records(span(attributes={"input": "x" * 5000})))
    assert [gzip.decompress(body)[:11] for body in bodies] == [b'{"traces":[', b'{"spans":[{']
    assert max(map(len, bodies)) < 2000
    assert PROJECT.encode() in gzip.decompress(bodies[0])
