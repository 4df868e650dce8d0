"""Spans read back the same through OpenTelemetry's own definitions, and a collector's every answer is heard."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from src.errors import ConfigError, ServiceOutage
from src.mlops.tracing.configuration import OtlpSettings
from src.mlops.tracing.otlp_sink import OtlpSink, traces_url
from src.mlops.tracing.otlp_wire import any_value, export_request, nanoseconds, otlp_span, span_id, trace_id
from src.mlops.tracing.records import Kind, Record, RecordRefused, Sink
from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError
from src.resilience.outages import is_outage, retry_after_seconds
from src.scripted_servers import faults
from src.scripted_servers.http import Answer, ScriptedServer, json_answer
from src.scripted_servers.opik import ScriptedOpik
from tests.opik_samples import at, feedback, identity, metric, records, span

TRACE = identity(number=1)
SECRET = "Bearer collector-secret"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def decoded(document: Any) -> ExportTraceServiceRequest:
    """The request as protobuf; its JSON writes ids in hex where protobuf's own mapping expects base64."""
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for one in scope["spans"]:
                for name in {"traceId", "spanId", "parentSpanId"} & set(one):
                    one[name] = base64.b64encode(bytes.fromhex(one[name])).decode()
    return json_format.ParseDict(document, ExportTraceServiceRequest())


def sent(document: dict[str, Any]) -> Span:
    request = decoded(orjson.loads(export_request([orjson.dumps(otlp_span(document))], {"service.name": "e2i"})))
    return request.resource_spans[0].scope_spans[0].spans[0]


def plain(value: AnyValue) -> Any:
    """An independent reading of AnyValue."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: plain(item.value) for item in value.kvlist_value.values}
    return getattr(value, kind)


def attributes_of(one: Any) -> dict[str, Any]:
    return {item.key: plain(item.value) for item in one.attributes}


def without_nulls(value: Any) -> Any:
    """Keys whose value is null are not sent."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@given(json_values)
def test_any_json_value_reads_back_the_same(value: Any) -> None:
    assert plain(json_format.ParseDict(any_value(value), AnyValue())) == without_nulls(value)


@pytest.mark.parametrize(
    ("value", "read"), [(2**64, str(2**64)), (math.inf, "inf"), (True, True), (1, 1), ((1, 2), [1, 2])]
)
def test_what_json_cannot_hold_is_text(value: Any, read: Any) -> None:
    back = plain(json_format.ParseDict(any_value(value), AnyValue()))
    assert back == read
    assert type(back) is type(read)


@given(
    st.builds(
        span,
        trace_id=st.uuids().map(str) | texts,
        span_id=st.uuids().map(str) | texts,
        parent_span_id=st.none() | st.uuids().map(str) | texts,
        operation_type=texts,
        ended_at=st.none() | st.just(at(2.0)),
        error_type=st.none() | texts,
        error_message=st.none() | texts,
        session_id=st.none() | texts,
        attributes=st.dictionaries(texts, json_values, max_size=4),
    )
)
def test_any_span_is_valid_otlp(document: dict[str, Any]) -> None:
    read = sent(document)
    assert (len(read.trace_id), len(read.span_id)) == (16, 8)
    assert len(read.parent_span_id) == (8 if document["parent_span_id"] else 0)
    assert read.end_time_unix_nano >= read.start_time_unix_nano > 0
    assert attributes_of(read)["e2i.agent"] == "orchestrator"


def test_ids_are_those_of_our_traceparent() -> None:
    read = sent(span(span_id=identity(1, 70), parent_span_id=identity(0.5, 71)))
    assert read.trace_id.hex() == UUID(TRACE).hex
    assert read.span_id.hex() == UUID(identity(1, 70)).hex[-16:]
    assert read.parent_span_id.hex() == UUID(identity(0.5, 71)).hex[-16:]


def test_a_foreign_parent_keeps_its_own_id() -> None:
    read = sent(span(attributes={"w3c.parent_id": "00f067aa0ba902b7"}))
    assert read.parent_span_id.hex() == "00f067aa0ba902b7"


@given(texts)
def test_an_id_of_another_kind_is_the_same_everywhere_and_valid(text: str) -> None:
    assert trace_id(text) == trace_id(text)
    assert (len(bytes.fromhex(trace_id(text))), len(bytes.fromhex(span_id(text)))) == (16, 8)


def test_a_model_call_reads_as_one() -> None:
    read = sent(
        span(
            operation_type="llm_call",
            model_name="claude-haiku-5-5",
            input_tokens=10,
            output_tokens=4,
            total_cost=0.25,
            session_id="s1",
            prompt_versions={"intent": "v3"},
            attributes={
                "name": "classify",
                "span_type": "llm",
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "anthropic",
                "gen_ai.request.model": "claude-haiku-5-5",
                "input": [{"role": "user", "content": "why?"}],
                "dataset_id": "abc",
            },
        )
    )
    assert (read.name, read.kind, read.status.code) == ("classify", Span.SPAN_KIND_CLIENT, Status.STATUS_CODE_UNSET)
    attributes = attributes_of(read)
    assert attributes["gen_ai.usage.input_tokens"] == 10
    assert attributes["gen_ai.usage.output_tokens"] == 4
    assert attributes["gen_ai.response.model"] == "claude-haiku-5-5"
    assert attributes["gen_ai.operation.name"] == "chat"
    assert (attributes["e2i.cost_usd"], attributes["session.id"], attributes["dataset_id"]) == (0.25, "s1", "abc")
    assert attributes["e2i.prompt_versions"] == {"intent": "v3"}
    assert json.loads(attributes["e2i.input"]) == [{"role": "user", "content": "why?"}]
    assert "name" not in attributes


def test_times_are_exact_to_the_microsecond() -> None:
    read = sent(span(started_at="2026-03-04T05:06:07.123457Z", ended_at="2026-03-04T05:06:07.123458Z"))
    assert read.start_time_unix_nano == 1772600767_123457_000
    assert read.end_time_unix_nano - read.start_time_unix_nano == 1000


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_nanoseconds_lose_nothing(moment: datetime) -> None:
    seconds, rest = divmod(int(nanoseconds(moment.isoformat())), 10**9)
    assert datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000) == moment


def test_an_error_has_a_status_and_an_exception_event() -> None:
    read = sent(
        span(
            status="error",
            error_type="DataUnavailable",
            error_message="no data",
            attributes={
                "exception.stacktrace": "File x",
                "events": [{"name": "retry", "at": at(1.5), "attributes": {"attempt": 2}}],
            },
        )
    )
    assert (read.status.code, read.status.message) == (Status.STATUS_CODE_ERROR, "no data")
    retry, exception = read.events
    assert (retry.name, attributes_of(retry)) == ("retry", {"attempt": 2})
    assert exception.name == "exception"
    assert attributes_of(exception) == {
        "exception.type": "DataUnavailable",
        "exception.message": "no data",
        "exception.stacktrace": "File x",
    }
    assert attributes_of(read)["error.type"] == "DataUnavailable"


@pytest.fixture
def collector() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: json_answer({"partialSuccess": {}})) as server:
        yield server


def breaker(threshold: int = 1000) -> CircuitBreaker:
    return CircuitBreaker("otlp", CircuitBreakerConfig(failure_threshold=threshold))


def sink_for(url: str, **options: Any) -> OtlpSink:
    settings = OtlpSettings(
        endpoint=url, headers={"authorization": SECRET}, request_timeout_seconds=options.pop("timeout", 5.0)
    )
    return OtlpSink(settings, breaker=options.pop("breaker", breaker()), **options)


def deliver(url: str, *documents: dict[str, Any], **options: Any) -> None:
    sink = sink_for(url, **options)
    try:
        sink.deliver(records(*documents))
    finally:
        sink.close()


def test_it_is_a_mirror() -> None:
    as_declared: Sink = sink_for("http://127.0.0.1:9")
    assert (as_declared.name, as_declared.primary) == ("otlp", False)


def test_spans_arrive_as_one_resource_with_the_headers_of_the_settings(collector: ScriptedServer) -> None:
    deliver(collector.url, span(), span(), resource={"deployment.environment.name": "staging"})
    (request,) = collector.requests
    assert (request.method, request.path) == ("POST", "/v1/traces")
    assert request.headers["authorization"] == SECRET
    assert request.headers["content-type"] == "application/json"
    resource = decoded(request.json).resource_spans[0]
    assert attributes_of(resource.resource) == {"service.name": "e2i", "deployment.environment.name": "staging"}
    assert len(resource.scope_spans[0].spans) == 2


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
        ("https://c/otlp/v1/traces/", "https://c/otlp/v1/traces"),
    ],
)
def test_an_endpoint_may_name_the_path_or_not(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


def test_opik_takes_the_export_too() -> None:
    with ScriptedOpik() as opik:
        deliver(f"{opik.url}/api/v1/private/otel", span())
        assert len(opik.otlp) == 1


def test_scores_have_no_form_in_otlp_and_count_as_delivered(collector: ScriptedServer) -> None:
    deliver(collector.url, feedback(), metric())
    assert collector.requests == []


@pytest.mark.parametrize(("most", "most_bytes", "requests"), [(10, 4_000_000, 3), (1000, 6000, 5), (1000, 1, 25)])
def test_large_batches_are_split(collector: ScriptedServer, most: int, most_bytes: int, requests: int) -> None:
    documents = [span(attributes={"dataset_id": "x" * 300}) for _ in range(25)]
    deliver(collector.url, *documents, max_batch_size=most, max_body_bytes=most_bytes)
    envelope = len(export_request([], {"service.name": "e2i"}))
    assert all(len(request.body) <= most_bytes + envelope for request in collector.requests) or most_bytes == 1
    batches = [decoded(request.json).resource_spans[0].scope_spans[0].spans for request in collector.requests]
    assert sum(map(len, batches)) == 25
    assert len(batches) == requests


@pytest.mark.parametrize("rejected", [1, "3"])
def test_a_partial_success_is_a_refusal_with_the_collectors_reason(rejected: int | str) -> None:
    answer = {"partialSuccess": {"rejectedSpans": rejected, "errorMessage": "too old"}}
    with (
        ScriptedServer(lambda _: json_answer(answer)) as server,
        pytest.raises(RecordRefused, match=r"\d spans: too old"),
    ):
        deliver(server.url, span())


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"partialSuccess": {"errorMessage": "slow down"}}', b'{"partialSuccess": null}', b"\x0a\x00", b"[]"],
)
def test_any_other_success_means_taken(body: bytes) -> None:
    with ScriptedServer(lambda _: Answer(200, body=body)) as server:
        deliver(server.url, span())
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [faults.RESET, faults.BLACK_HOLE, *(faults.status(code) for code in (401, 403, 404, 408, 429, 500, 502, 503, 504))],
    ids=lambda fault: f"{fault.kind}{fault.status or ''}",
)
def test_an_outage_makes_spans_wait(collector: ScriptedServer, fault: faults.Fault) -> None:
    counting = breaker()
    collector.script_faults([fault])
    patience = 0.5 if fault is faults.BLACK_HOLE else 60.0
    with pytest.raises(ServiceOutage) as failure:
        deliver(collector.url, span(), timeout=patience, breaker=counting)
    collector.wait_for_requests(1, timeout=60)
    assert is_outage(failure.value)
    assert SECRET not in str(failure.value)
    assert counting.metrics.failed == 1
    deliver(collector.url, span(), breaker=counting)


def test_the_collectors_wish_when_to_come_back_can_be_read(collector: ScriptedServer) -> None:
    collector.fault = faults.status(503, retry_after=4)
    with pytest.raises(ServiceOutage) as failure:
        deliver(collector.url, span())
    assert retry_after_seconds(failure.value) == 4.0


@pytest.mark.parametrize("code", [400, 413])
def test_what_a_collector_rejects_is_refused(collector: ScriptedServer, code: int) -> None:
    collector.fault = faults.status(code)
    with pytest.raises(RecordRefused, match=str(code)):
        deliver(collector.url, span())


def test_an_open_breaker_keeps_requests_back(collector: ScriptedServer) -> None:
    tripped = breaker()
    tripped.force_open()
    with pytest.raises(CircuitOpenError):
        deliver(collector.url, span(), breaker=tripped)
    assert collector.requests == []


@pytest.mark.parametrize(
    "body", [b"{", b"{}", orjson.dumps(span(started_at="yesterday")), orjson.dumps(span(trace_id=5))]
)
def test_a_record_without_a_form_in_otlp_is_refused_before_anything_is_sent(
    collector: ScriptedServer, body: bytes
) -> None:
    sink = sink_for(collector.url)
    with pytest.raises(RecordRefused, match="no valid form"):
        sink.deliver([*records(span()), Record(Kind.SPAN, body)])
    sink.close()
    assert collector.requests == []


def test_a_header_that_cannot_be_sent_is_named_without_its_value() -> None:
    settings = OtlpSettings(endpoint="http://127.0.0.1:9", headers={"x-key": "two\nlines"})
    with pytest.raises(ConfigError, match="x-key") as failure:
        OtlpSink(settings, breaker=breaker())
    assert "two" not in str(failure.value)
