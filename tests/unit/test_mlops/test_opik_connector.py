"""Does the connector start, stop, describe itself, and take model calls, metrics and feedback as its users rely on?"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from src.errors import ConfigError, ContractViolation, ServiceOutage
from src.mlops.opik_connector import (
    LLMSpanContext,
    OpikConfig,
    OpikConnector,
    SpanContext,
    get_opik_connector,
    reset_opik_connector,
)
from src.mlops.tracing.ids import uuid7, uuid_int, uuid_text
from src.mlops.tracing.opik_sink import OpikSink
from src.mlops.tracing.records import Kind, MemorySink
from src.mlops.tracing.silent import SilentSpan
from src.resilience.circuit_breaker import CircuitOpenError, CircuitState
from src.resilience.outcomes import Unavailable
from src.scripted_servers import faults
from src.scripted_servers.opik import ScriptedOpik
from src.settings import PROJECT_ROOT
from tests.opik_samples import records
from tests.opik_samples import span as span_document
from tests.unit.test_mlops.recorded import StuckSink, Traced, connector_on, settings


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    sink = MemorySink()
    connector = connector_on(tmp_path / "spool", sink)
    yield Traced(connector, sink)
    await connector.shutdown(5)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A process without a connector, on a folder of its own."""
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    reset_opik_connector()
    yield
    reset_opik_connector()


@pytest.mark.usefixtures("process")
def test_thirty_two_threads_get_one_connector() -> None:
    with ThreadPoolExecutor(32) as pool:
        connectors = set(pool.map(lambda _: id(get_opik_connector()), range(32)))
    assert len(connectors) == 1


@pytest.mark.usefixtures("process")
def test_another_configuration_replaces_the_connector_and_acts() -> None:
    first = get_opik_connector()
    second = get_opik_connector(OpikConfig(project_name="elsewhere", sample_rate=0.25, workspace="theirs"))
    assert second is not first
    status = second.get_status()
    assert (status["project_name"], status["sample_rate"], status["workspace"]) == ("elsewhere", 0.25, "theirs")
    assert get_opik_connector() is second


@pytest.mark.usefixtures("process")
def test_the_configuration_in_use_changes_nothing() -> None:
    first = get_opik_connector(OpikConfig(project_name="elsewhere"))
    assert get_opik_connector(OpikConfig(project_name="elsewhere")) is first


@pytest.mark.usefixtures("process")
def test_force_new_makes_a_new_connector_and_keeps_what_the_old_one_recorded() -> None:
    first = get_opik_connector()
    with first.trace_agent("orchestrator", "before"):
        pass
    second = get_opik_connector(force_new=True)
    assert second is not first
    assert second.get_status()["sinks"]["database"]["pending"] == 1


@pytest.mark.usefixtures("process")
def test_reset_leaves_nothing_of_the_old_connector() -> None:
    first = get_opik_connector(OpikConfig(project_name="elsewhere"))
    first.circuit_breaker.force_open()
    with first.trace_agent("orchestrator"):
        reset_opik_connector()
        second = get_opik_connector()
        assert second.config.opik.project_name == "e2i-causal-analytics"
        assert second.circuit_breaker.state is CircuitState.CLOSED
        assert (second.get_status()["active_traces"], second.current_span()) == (0, None)


@pytest.mark.usefixtures("process")
def test_spans_for_one_database_never_wait_in_the_spool_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/one")
    first = get_opik_connector()
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/two")
    second = get_opik_connector()
    assert second is not first
    assert second.get_status()["spool"] != first.get_status()["spool"]


def test_the_shipped_file_is_the_default() -> None:
    assert OpikConfig.from_env({}) == OpikConfig(
        api_key="", workspace="default", project_name="e2i-causal-analytics", url="", use_local=True, enabled=False,
        sample_rate=1.0, always_sample_errors=True,
    )  # fmt: skip


def test_the_environment_names_the_server() -> None:
    config = OpikConfig.from_env(
        {"OPIK_ENABLED": "true", "OPIK_ENDPOINT": "https://opik.test", "OPIK_API_KEY": "k", "OPIK_WORKSPACE": "w"}
    )
    assert (config.enabled, config.url, config.api_key, config.workspace) == (True, "https://opik.test", "k", "w")


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    file = tmp_path / "observability.yaml"
    raw = yaml.safe_load((PROJECT_ROOT / "config/observability.yaml").read_text(encoding="utf-8"))
    raw["opik"]["project_name"] = "mine"
    raw["sampling"]["default_rate"] = 0.125
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    config = OpikConfig.from_config_file(file, environ={})
    assert (config.project_name, config.sample_rate) == ("mine", 0.125)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (OpikConfig(sample_rate=1.5), "sampling.default_rate"),
        (OpikConfig(url="ftp://x"), "opik.url"),
        (OpikConfig(project_name=""), "opik.project_name"),
        (OpikConfig(enabled=True, use_local=False), "opik"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(config: OpikConfig, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        OpikConnector(config)


async def test_a_model_call_has_tokens_and_the_cost_of_the_price_table(traced: Traced) -> None:
    opik = traced.connector
    asked = {"prompt_template": "Explain {effect}", "input_data": {"effect": 0.4}}
    async with opik.trace_agent("explainer", "outer"), opik.trace_llm_call("claude-sonnet-5-5", **asked) as call:
        call.log_tokens(1_000, 200, cache_read_tokens=5_000)
        call.set_output("It rose.")
    span = (await traced.spans())["llm_call"]
    assert (span["input_tokens"], span["output_tokens"], span["total_tokens"]) == (1_000, 200, 1_200)
    assert span["total_cost"] == pytest.approx((1_000 * 2.0 + 200 * 10.0 + 5_000 * 0.1) / 1e6)
    assert span["model_name"] == "claude-sonnet-5-5"
    assert span["agent_name"] == "explainer"
    shown = span["attributes"]
    assert shown["span_type"] == "llm"
    assert shown["prompt_template"] == "Explain {effect}"
    assert (shown["input"], shown["output"]) == ({"effect": 0.4}, "It rose.")
    assert shown["gen_ai.operation.name"] == "chat"
    assert shown["gen_ai.provider.name"] == "anthropic"
    assert shown["gen_ai.usage.cache_read.input_tokens"] == 5_000


async def test_a_model_call_without_parent_is_a_trace_of_its_own(traced: Traced) -> None:
    async with traced.connector.trace_llm_call("gpt-5-mini", provider="openai") as call:
        assert isinstance(call, LLMSpanContext)
    span = (await traced.spans())["llm_call"]
    assert (span["parent_span_id"], span["agent_name"]) == (None, "unknown")


@pytest.mark.parametrize(
    ("model", "cost", "stored"),
    [("nobody-knows-it", None, None), ("nobody-knows-it", 0.25, 0.25), ("gpt-5", 0.5, 0.5), ("gpt-5", math.nan, None)],
)
async def test_an_unknown_cost_is_none_and_a_given_one_wins(
    traced: Traced, model: str, cost: float | None, stored: float | None
) -> None:
    async with traced.connector.trace_llm_call(model) as call:
        call.log_tokens(10, 20)
        call.set_cost(cost)
    assert (await traced.spans())["llm_call"]["total_cost"] == (stored if cost is None or math.isfinite(cost) else None)


async def test_a_model_call_without_usage_has_neither_tokens_nor_cost(traced: Traced) -> None:
    async with traced.connector.trace_llm_call("gpt-5") as call:
        assert call.total_tokens is None
    span = (await traced.spans())["llm_call"]
    assert [span[name] for name in ("input_tokens", "output_tokens", "total_tokens", "total_cost")] == [None] * 4


async def test_negative_token_counts_are_refused(traced: Traced) -> None:
    async with traced.connector.trace_llm_call("gpt-5") as call:
        with pytest.raises(ValueError, match="negative"):
            call.log_tokens(-1, 5)


async def test_a_metric_belongs_to_the_open_span_or_the_trace_given_or_to_none(traced: Traced) -> None:
    opik = traced.connector
    opik.log_metric("alone", 1)
    async with opik.trace_agent("orchestrator") as span:
        opik.log_metric("inside", 2, metadata={"unit": "rows"})
    opik.log_metric("after", 3, trace_id=span.trace_id)
    metrics = {one["name"]: one for one in await traced.of(Kind.METRIC)}
    assert {name: (one["trace_id"], one["span_id"], one["value"]) for name, one in metrics.items()} == {
        "alone": (None, None, 1.0),
        "inside": (span.trace_id, span.span_id, 2.0),
        "after": (span.trace_id, None, 3.0),
    }
    assert metrics["inside"]["metadata"] == {"unit": "rows"}


async def test_feedback_is_taken_while_a_trace_is_open_after_it_ended_and_for_an_unknown_one(traced: Traced) -> None:
    opik, elsewhere = traced.connector, str(uuid7())
    async with opik.trace_agent("explainer") as span:
        ids = [opik.log_feedback(span.trace_id, 0.5, "helpful", "clear", category="tone")]
    ids.append(span.log_feedback(0.75))
    ids.append(opik.log_feedback(elsewhere, -1.0, span_id=span.span_id.upper(), source="online_scoring"))
    given = {one["feedback_id"]: one for one in await traced.of(Kind.FEEDBACK)}
    during, after, unknown = (given[one] for one in ids)
    assert (during["trace_id"], during["name"], during["value"]) == (span.trace_id, "helpful", 0.5)
    assert (during["reason"], during["category"], during["source"]) == ("clear", "tone", "sdk")
    assert (after["trace_id"], after["name"], after["value"]) == (span.trace_id, "quality", 0.75)
    assert (unknown["trace_id"], unknown["span_id"], unknown["source"]) == (elsewhere, span.span_id, "online_scoring")


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, True, "0.5", None, 10**400, 1 + 0j], ids=lambda value: str(value)[:8]
)
def test_a_score_that_is_no_finite_number_is_refused(traced: Traced, value: Any) -> None:
    with pytest.raises(ContractViolation, match="finite number"):
        traced.connector.log_metric("faithfulness", value)
    with pytest.raises(ContractViolation, match="finite number"):
        traced.connector.log_feedback(str(uuid7()), value)


@pytest.mark.parametrize("name", ["", "  ", None, 5, "x" * 201])
def test_a_score_without_a_usable_name_is_refused(traced: Traced, name: Any) -> None:
    with pytest.raises(ContractViolation, match="name"):
        traced.connector.log_metric(name, 0.5)
    with pytest.raises(ContractViolation, match="name"):
        traced.connector.log_feedback(str(uuid7()), 0.5, name)


def test_feedback_from_nowhere_is_refused(traced: Traced) -> None:
    with pytest.raises(ContractViolation, match="sdk, ui or online_scoring"):
        traced.connector.log_feedback(str(uuid7()), 0.5, source="rumour")


@pytest.mark.parametrize("value", [3, np.float64(0.25), np.float32(0.25), np.int64(7), Fraction(1, 4)])
async def test_scores_of_numeric_libraries_are_kept_as_numbers(traced: Traced, value: Any) -> None:
    traced.connector.log_metric("auc", value)
    assert [one["value"] for one in await traced.of(Kind.METRIC)] == [float(value)]


async def test_the_status_has_its_shape_and_its_numbers_add_up(traced: Traced) -> None:
    async with traced.connector.trace_agent("orchestrator"):
        assert traced.connector.get_status()["active_traces"] == 1
    await traced.connector.flush()
    status = traced.connector.get_status()
    assert json.loads(json.dumps(status)) == status
    assert {name: status[name] for name in ("enabled", "is_enabled", "active_traces", "queue_depth", "dropped")} == {
        "enabled": False, "is_enabled": True, "active_traces": 0, "queue_depth": 0, "dropped": 0,
    }  # fmt: skip
    assert {"project_name", "workspace", "sample_rate", "spooled", "circuit_breaker"} <= status.keys()
    assert status["circuit_breaker"]["state"] == "closed"
    numbers = status["sinks"]["memory"]
    assert (numbers["accepted"], numbers["delivered"], numbers["pending"], numbers["adds_up"]) == (1, 1, 0, True)


async def test_what_a_stuck_sink_leaves_is_delivered_by_the_next_connector(tmp_path: Path) -> None:
    stuck = StuckSink()
    connector = connector_on(tmp_path, stuck)
    async with connector.trace_agent("orchestrator", "work") as span:
        pass
    assert await connector.accepted(5)
    assert not await connector.flush(0.2)
    assert connector.get_status()["spooled"] == 1
    assert not await connector.shutdown(0.2)
    sink = MemorySink()
    following = connector_on(tmp_path, sink)
    assert await following.flush()
    stuck.released.set()
    numbers = following.get_status()["sinks"]["memory"]
    assert await following.shutdown()
    assert [stored["span_id"] for stored in sink.spans] == [span.span_id]
    assert (numbers["accepted"], numbers["delivered"], numbers["adds_up"]) == (1, 1, True)


@pytest.fixture
def failing_opik() -> Iterator[ScriptedOpik]:
    with ScriptedOpik(fault=faults.status(503)) as server:
        yield server


GUARDED: dict[str, Callable[[OpikConnector, OpikSink], Any]] = {
    "query_traces": lambda connector, _: asyncio.run(connector.query_traces()),
    "query_feedback": lambda connector, _: asyncio.run(connector.query_feedback(datetime.now(UTC))),
    "deliver": lambda _, sink: sink.deliver(records(span_document())),
    "ping": lambda _, sink: sink.ping(),
}


@pytest.mark.parametrize("method", GUARDED)
def test_every_call_to_a_failing_server_passes_the_breaker(
    failing_opik: ScriptedOpik, method: str, tmp_path: Path
) -> None:
    config = settings(
        opik={"enabled": True, "local_endpoint": failing_opik.url},
        circuit_breaker={"failure_threshold": 3, "reset_timeout_seconds": 60},
    )
    connector = OpikConnector(config, spool=tmp_path)
    sink = OpikSink(config.opik, breaker=connector.circuit_breaker)
    answers: list[Any] = []
    for _ in range(10):
        try:
            answers.append(GUARDED[method](connector, sink))
        except ServiceOutage as outage:
            answers.append(outage)
    assert len(failing_opik.requests) == 3
    assert connector.circuit_breaker.state is CircuitState.OPEN
    assert connector.circuit_breaker.metrics.rejected == 7
    if method.startswith("query"):
        assert {type(answer) for answer in answers} == {Unavailable}
        assert answers[-1].retry_after_s > 0
    elif method == "deliver":
        assert isinstance(answers[-1], CircuitOpenError)
    else:
        assert not any(answer.reachable for answer in answers)
    sink.close()
    connector.close()


async def test_questions_to_an_opik_that_is_not_configured_are_unavailable(traced: Traced) -> None:
    for answer in (await traced.connector.query_traces(), await traced.connector.query_feedback(datetime.now(UTC))):
        assert isinstance(answer, Unavailable)
        assert "not enabled" in answer.reason


async def test_a_named_id_in_any_spelling_is_the_same_span(traced: Traced) -> None:
    number = uuid_int(str(uuid7()))
    async with traced.connector.trace_agent("orchestrator", trace_id=f"{number:032X}") as span:
        pass
    assert span.trace_id == uuid_text(number)


async def test_the_body_runs_once_though_nothing_can_be_kept_and_what_waited_arrives_later(tmp_path: Path) -> None:
    occupied = tmp_path / "spool"
    occupied.write_text("a file where the folder should be", encoding="utf-8")
    sink = MemorySink()
    connector = connector_on(occupied, sink)
    runs = 0
    async with connector.trace_agent("orchestrator", "agent"):
        runs += 1
    with connector.trace_llm_call("gpt-5"):
        runs += 1
    assert runs == 2
    assert not await connector.accepted(0.3)
    assert str(occupied) in connector.get_status()["spool_error"]
    occupied.unlink()
    assert await connector.flush()
    assert connector.get_status()["spool_error"] is None
    assert await connector.shutdown()
    assert {span["operation_type"] for span in sink.spans} == {"agent", "llm_call"}


async def test_a_spool_that_cannot_be_written_at_the_end_is_said_and_counted(tmp_path: Path) -> None:
    occupied = tmp_path / "spool"
    occupied.write_text("a file where the folder should be", encoding="utf-8")
    connector = connector_on(occupied, MemorySink())
    async with connector.trace_agent("orchestrator"):
        pass
    await connector.shutdown(2)
    status = connector.get_status()
    assert str(occupied) in status["spool_error"]
    assert status["refused"] == 1


@pytest.mark.parametrize("used_before", [False, True])
async def test_what_ends_after_the_close_waits_in_the_spool(tmp_path: Path, used_before: bool) -> None:
    first = connector_on(tmp_path, MemorySink())
    if used_before:
        async with first.trace_agent("orchestrator", "before"):
            pass
    assert await first.shutdown()
    async with first.trace_agent("orchestrator", "after") as span:
        span.set_output(1)
    assert await first.accepted(5)
    sink = MemorySink()
    second = connector_on(tmp_path, sink)
    assert await second.flush()
    assert await second.shutdown()
    assert [stored["span_id"] for stored in sink.spans] == [span.span_id]


def test_a_disabled_connector_records_nothing_and_costs_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    connector = OpikConnector(settings(fallback={"database": False}), spool=tmp_path / "spool")
    assert not connector.is_enabled
    with connector.trace_agent("orchestrator", "outer") as span, connector.trace_llm_call("gpt-5") as call:
        call.log_tokens(1, 2, 3, 4)
        span.session_id = "one"
        assert connector.current_span() is None
        assert span.traceparent().endswith("-00")
    assert connector.log_metric("auc", 0.5) == connector.log_feedback(str(uuid7()), 1.0) == ""
    assert connector.get_status()["sinks"] == {}
    connector.close()
    assert set(threading.enumerate()) == before
    assert not (tmp_path / "spool").exists()


def test_a_silent_span_takes_whatever_a_recording_one_takes() -> None:
    for name, method in inspect.getmembers(LLMSpanContext, inspect.isfunction):
        if not name.startswith("_"):
            assert list(inspect.signature(getattr(SilentSpan, name)).parameters) == list(
                inspect.signature(method).parameters
            ), name
    readable = {name for name, value in inspect.getmembers(LLMSpanContext) if isinstance(value, property)}
    readable |= {"name", "input_data", "output_data", "metadata", "tags", "user_id", "session_id", "prompt_versions"}
    silent = SilentSpan()
    assert {name for name in readable if not hasattr(silent, name)} == set()


@pytest.mark.parametrize("opened", [SpanContext, SilentSpan])
def test_neither_kind_of_span_swallows_an_exception(opened: type, traced: Traced) -> None:
    span = traced.connector.trace_agent("orchestrator") if opened is SpanContext else SilentSpan()
    with pytest.raises(LookupError, match="mine"), span:
        raise LookupError("mine")
