"""What does a span say of its work, and can tracing ever get into the way of it?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.errors import ServiceOutage
from src.mlops.opik_connector import (
    OpikConnector,
    SpanStatus,
)
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from src.resilience.circuit_breaker import CircuitState
from tests.unit.test_mlops.recorded import Traced, connector_on, settings


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    sink = MemorySink()
    connector = connector_on(tmp_path / "spool", sink)
    yield Traced(connector, sink)
    await connector.shutdown(5)


async def test_a_duration_ignores_the_steps_of_the_wall_clock(tmp_path: Path) -> None:
    sink = MemorySink()
    noon = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1e9)
    wall = iter([noon, noon - 3_600_000_000_000])
    monotonic = iter([5_000_000_000, 5_250_500_000])
    connector = OpikConnector(
        settings(),
        sinks=[sink],
        spool=tmp_path,
        wall_ns=lambda: next(wall),
        monotonic_ns=lambda: next(monotonic),
    )
    async with connector.trace_agent("orchestrator") as span:
        pass
    assert await connector.shutdown()
    assert span.duration_ms == 250.5
    assert span.started_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert span.ended_at == span.started_at + timedelta(milliseconds=250.5)
    stored = sink.spans[0]
    assert (stored["started_at"], stored["ended_at"], stored["duration_ms"]) == (
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00.250500Z",
        250.5,
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no rows"), "error"),
        (ConnectionError("gone"), "error"),
        (TimeoutError("too slow"), "timeout"),
        (asyncio.CancelledError("stopped"), "error"),
        (KeyboardInterrupt(), "error"),
    ],
)
async def test_the_bodys_exception_leaves_unchanged_and_is_recorded(
    traced: Traced, error: BaseException, status: str
) -> None:
    opik = traced.connector

    async def fails() -> None:
        async with opik.trace_agent("causal_impact", "outer"):
            with opik.trace_agent("causal_impact", "inner"):
                raise error

    with pytest.raises(type(error)) as caught:
        await fails()
    assert caught.value is error
    spans = await traced.spans()
    for operation in ("outer", "inner"):
        span = spans[operation]
        assert (span["status"], span["error_type"]) == (status, type(error).__name__)
        assert span["error_message"] == (str(error) or type(error).__name__)
        assert "raise error" in span["attributes"]["exception.stacktrace"]
    metrics = traced.connector.circuit_breaker.metrics
    assert (metrics.failed, traced.connector.circuit_breaker.state) == (0, CircuitState.CLOSED)


async def test_a_node_that_runs_out_of_time_is_a_timeout(traced: Traced) -> None:
    with pytest.raises(TimeoutError):
        async with traced.connector.trace_agent("causal_impact", "slow"), asyncio.timeout(0.01):
            await asyncio.sleep(5)
    assert (await traced.spans())["slow"]["status"] == "timeout"


async def test_a_failure_handled_in_the_body_is_recorded_too(traced: Traced) -> None:
    async with traced.connector.trace_agent("causal_impact", "handled") as span:
        span.set_error(ServiceOutage("the first model is away"))
        span.set_fallback(["gpt-5", "rules"])
    assert span.status is SpanStatus.ERROR
    stored = (await traced.spans())["handled"]
    assert (stored["status"], stored["error_message"]) == ("error", "the first model is away")
    assert (stored["fallback_used"], stored["fallback_chain"]) == (True, ["gpt-5", "rules"])


async def test_an_exception_whose_text_cannot_be_made_is_recorded_and_leaves_unchanged(traced: Traced) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    error = Mute()
    with pytest.raises(Mute) as caught:
        async with traced.connector.trace_agent("causal_impact", "mute"):
            raise error
    assert caught.value is error
    assert (await traced.spans())["mute"]["error_type"] == "Mute"


@pytest.mark.parametrize(
    ("agent", "stored", "tier", "caller"),
    [
        ("causal_impact", "causal_impact", "causal_analytics", None),
        ("orchestrator", "orchestrator", "coordination", None),
        ("unknown", "unknown", "monitoring", None),
        ("orchestrator2", "unknown", "monitoring", "orchestrator2"),
        ("", "unknown", "monitoring", ""),
    ],
)
async def test_an_agent_is_itself_or_unknown(
    traced: Traced, agent: str, stored: str, tier: str, caller: str | None
) -> None:
    async with traced.connector.trace_agent(agent, "work"):
        pass
    span = (await traced.spans())["work"]
    assert (span["agent_name"], span["agent_tier"]) == (stored, tier)
    assert span["attributes"].get("caller") == caller


async def test_everything_said_about_a_span_arrives(traced: Traced) -> None:
    async with traced.connector.trace_agent(
        "causal_impact", "estimate", metadata={"method": "dml"}, tags=["nightly"], input_data={"rows": 500}
    ) as span:
        span.set_attribute("folds", 5)
        span.add_event("converged", {"rounds": 12})
        span.set_output({"ate": 0.4})
        assert span.status is SpanStatus.STARTED
        assert span.duration_ms is None
    shown = (await traced.spans())["estimate"]["attributes"]
    assert {key: shown[key] for key in ("method", "folds", "tags", "input", "output")} == {
        "method": "dml", "folds": 5, "tags": ["nightly"], "input": {"rows": 500}, "output": {"ate": 0.4},
    }  # fmt: skip
    assert [(event["name"], event["attributes"]) for event in shown["events"]] == [("converged", {"rounds": 12})]
    assert span.to_dict()["status"] == "completed"
    assert json.loads(json.dumps(span.to_dict(), default=str))["input_data"] == {"rows": 500}


async def test_nothing_said_after_the_end_is_recorded(traced: Traced) -> None:
    async with traced.connector.trace_llm_call("gpt-5", input_data="asked") as span:
        span.set_output("answered")
    before = span.to_dict()
    span.set_attribute("late", 1)
    span.add_event("late")
    span.set_input("late")
    span.set_output("late")
    span.set_error(ValueError("late"))
    span.set_fallback(["late"])
    span.log_tokens(1, 1)
    span.set_cost(1.0)
    assert span.to_dict() == before
    assert "late" not in json.dumps((await traced.spans())["llm_call"])


async def test_what_is_recorded_is_what_it_was_when_it_was_said(traced: Traced) -> None:
    given = {"rows": [1, 2], "inner": {"a": 1}}
    async with traced.connector.trace_agent("causal_impact", "work", input_data=given, metadata=given) as span:
        span.set_output(given)
        span.set_attribute("seen", given)
        given["rows"].append(3)  # type: ignore[attr-defined]
        given["inner"] = "changed"
    shown = (await traced.spans())["work"]["attributes"]
    before = {"rows": [1, 2], "inner": {"a": 1}}
    assert [shown["input"], shown["output"], shown["seen"], shown["rows"], shown["inner"]] == [
        before, before, before, [1, 2], {"a": 1},
    ]  # fmt: skip


async def test_a_span_measured_elsewhere_is_kept_with_its_times(traced: Traced) -> None:
    began = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    trace, span = str(uuid7()), str(uuid7())
    traced.connector.record_span(
        FinishedSpan(trace, span, "model_trainer", "fit", began, began + timedelta(seconds=2), 1_990.0)
    )
    stored = (await traced.spans())["fit"]
    assert (stored["trace_id"], stored["span_id"], stored["agent_tier"]) == (trace, span, "ml_foundation")
    assert (stored["started_at"], stored["duration_ms"]) == ("2026-01-02T03:04:05Z", 1_990.0)


class Hostile:
    """Refuses to be read."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") and name != "__str__":
            return super().__getattribute__(name)
        raise RuntimeError("not for you")


class BrokenMapping(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("not for you")


@pytest.mark.parametrize("value", [Hostile(), BrokenMapping(a=1), [BrokenMapping(a=1), 2]], ids=["object", "map", "in"])
async def test_a_value_that_cannot_be_read_costs_neither_the_body_nor_the_span(traced: Traced, value: Any) -> None:
    async with traced.connector.trace_agent("orchestrator", "work", input_data=value) as span:
        span.set_attribute("value", value)
        span.set_output({"value": value, "kept": 1})
        span.add_event("seen", {"value": value})
    assert (await traced.spans())["work"]["attributes"]["output"]["kept"] == 1


async def test_odd_names_and_tags_do_not_cost_the_span(traced: Traced) -> None:
    async with traced.connector.trace_agent("orchestrator", "work", metadata={5: "five"}, tags=(7,)) as span:  # type: ignore[dict-item, arg-type]
        span.set_attribute(6, "six")  # type: ignore[arg-type]
    shown = (await traced.spans())["work"]["attributes"]
    assert (shown["5"], shown["6"], shown["tags"]) == ("five", "six", ["7"])
