"""Which traces do the mirrors get, and does the database get every one?"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing import sampling
from src.mlops.tracing.configuration import SamplingSettings, load_observability_config
from src.mlops.tracing.encoding import Encoder
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid7, uuid_text
from src.mlops.tracing.recorder import SpanRecorder
from src.mlops.tracing.records import Kind, MemorySink, Record, Route
from src.mlops.tracing.sampling import TraceRouter
from tests.unit.test_mlops.recorded import Mirror, connector_on, ended_span, settings

PLAIN: dict[str, Any] = {"always_sample_agents": [], "tier_rates": {}, "agent_rates": {}, "always_sample_errors": True}
RANDOM = random.Random(5)
TRACES = [str(UUID(int=RANDOM.getrandbits(128), version=4)) for _ in range(300)]
ENCODER = Encoder(settings().spans)


def belongs(trace: str, rate: str) -> bool:
    """Written apart from the code under test: the digest's first 16 hex digits as a fraction of all there are."""
    return Fraction(int(hashlib.sha256(trace.encode("ascii")).hexdigest()[:16], 16), 16**16) < Fraction(rate)


def routed(router: TraceRouter, span: Any) -> list[tuple[Route, Record]]:
    return list(router.routes(span, ENCODER.encode(span)))


def router_with(rate: float, **changes: Any) -> TraceRouter:
    chosen = SamplingSettings(**(PLAIN | {"default_rate": rate} | changes))
    return TraceRouter(chosen, primary=True, mirrors=True)


def sinks_of(tmp_path: Path, rate: float, **changes: Mapping[str, Any]) -> tuple[OpikConnector, MemorySink, Mirror]:
    primary, mirror = MemorySink(), Mirror()
    chosen = PLAIN | {"default_rate": rate} | dict(changes.get("sampling", {}))
    config = settings().model_copy(update={"sampling": SamplingSettings(**chosen)})
    return OpikConnector(config, sinks=[primary, mirror], spool=tmp_path), primary, mirror


@pytest.mark.parametrize("rate", ["0", "0.3", "0.75", "1"])
async def test_one_decision_covers_a_trace_and_follows_a_stable_hash(tmp_path: Path, rate: str) -> None:
    connector, primary, mirror = sinks_of(tmp_path, float(rate))
    for trace in TRACES:
        root = connector.trace_agent("explainer", "root", trace_id=trace)
        async with root, connector.trace_agent("causal_impact", "child"), connector.trace_llm_call("gpt-5"):
            connector.log_metric("auc", 0.5)
        connector.log_feedback(trace, 1.0)
    assert await connector.shutdown()
    expected = {trace for trace in TRACES if belongs(trace, rate)}
    assert {span["trace_id"] for span in mirror.spans} == expected
    assert len(mirror.spans) == 3 * len(expected)
    assert len(primary.spans) == 3 * len(TRACES)
    for kind in (Kind.METRIC, Kind.FEEDBACK):
        assert {one["trace_id"] for one in mirror.of(kind)} == expected
        assert {one["trace_id"] for one in primary.of(kind)} == set(TRACES)


def test_the_share_of_the_examples_is_near_the_rate() -> None:
    assert 60 <= sum(belongs(trace, "0.3") for trace in TRACES) <= 120


async def test_an_error_brings_the_whole_trace_to_the_mirror_once(tmp_path: Path) -> None:
    connector, primary, mirror = sinks_of(tmp_path, 0.0)
    async with connector.trace_agent("explainer", "fine"):
        pass
    async with connector.trace_agent("explainer", "root") as root:
        async with connector.trace_agent("explainer", "before"):
            connector.log_metric("rows", 1)
        async with connector.trace_agent("explainer", "failed") as failed:
            failed.set_error(ValueError("no rows"))
        async with connector.trace_agent("explainer", "behind"):
            pass
    root.log_feedback(0.0)
    assert await connector.shutdown()
    assert sorted(span["operation_type"] for span in mirror.spans) == ["before", "behind", "failed", "root"]
    assert len(mirror.records) == 6
    assert {record.kind for record in mirror.records} == set(Kind)
    assert sorted(span["operation_type"] for span in primary.spans) == ["before", "behind", "failed", "fine", "root"]


async def test_errors_are_sampled_like_others_where_that_is_configured(tmp_path: Path) -> None:
    connector, primary, mirror = sinks_of(tmp_path, 0.0, sampling={"always_sample_errors": False})
    async with connector.trace_agent("explainer", "failed") as span:
        span.set_error(ValueError("no rows"))
    assert await connector.shutdown()
    assert (len(primary.records), len(mirror.records)) == (1, 0)


async def test_the_agent_of_the_root_decides_for_its_children(tmp_path: Path) -> None:
    rates = {"agent_rates": {"explainer": 0.0}, "always_sample_agents": ("causal_impact",)}
    connector, _, mirror = sinks_of(tmp_path, 1.0, sampling=rates)
    async with connector.trace_agent("explainer", "unwanted"), connector.trace_agent("causal_impact", "its child"):
        pass
    async with connector.trace_agent("causal_impact", "wanted"), connector.trace_agent("explainer", "its child too"):
        pass
    assert await connector.shutdown()
    assert {span["operation_type"] for span in mirror.spans} == {"wanted", "its child too"}


@pytest.mark.parametrize(
    ("environment", "agent", "tier", "rate"),
    [
        ("development", "explainer", 5, 1.0),
        ("development", "data_preparer", 0, 0.5),
        ("development", "observability_connector", 0, 0.01),
        ("development", "orchestrator", 1, 1.0),
        ("staging", "explainer", 5, 0.5),
        ("production", "explainer", 5, 0.1),
        ("production", "data_preparer", 0, 0.1),
        ("production", "observability_connector", 0, 0.01),
        ("production", "causal_impact", 2, 1.0),
        ("production", "unknown", 3, 0.1),
    ],
)
def test_rates_come_from_agent_tier_and_environment(environment: str, agent: str, tier: int, rate: float) -> None:
    assert load_observability_config(environ={"E2I_ENV": environment}).sampling.rate(agent, tier) == rate


def test_without_mirrors_everything_goes_to_the_database() -> None:
    router = TraceRouter(SamplingSettings(default_rate=0.0), primary=True, mirrors=False)
    assert [route for route, _ in routed(router, ended_span())] == [Route.PRIMARY]


def test_records_held_for_open_traces_that_may_fail_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, router = SpanRecorder(), router_with(0.0)

    def inside(trace: int, error: Exception | None = None) -> list[Route]:
        return [route for route, _ in routed(router, ended_span(trace=trace, recorder=recorder, error=error))]

    with ExitStack() as still_open:
        for trace in (1, 2, 3):
            still_open.enter_context(recorder.span("explainer", "open", trace_id=uuid_text(trace)))
        size = len(ENCODER.encode(ended_span(trace=1, recorder=recorder)).body)
        monkeypatch.setattr(sampling, "MAX_HELD_BYTES", 12 * size)
        assert [inside(trace) for trace in (1, 2, 3) for _ in range(5)] == [[Route.PRIMARY]] * 15
        assert inside(1, ValueError("late")) == [Route.ALL]
        assert inside(3, ValueError("late")) == [Route.MIRRORS] * 5 + [Route.ALL]


def test_nothing_is_held_for_a_trace_that_has_ended_well() -> None:
    recorder, router = SpanRecorder(), router_with(0.0)
    with recorder.span("explainer", "root", trace_id=uuid_text(1)) as root:
        routed(router, ended_span(trace=1, recorder=recorder))
        assert router._held > 0
    routed(router, root)
    assert router._held == 0
    late = routed(router, ended_span(trace=1, error=ValueError("late")))
    assert [route for route, _ in late] == [Route.ALL]


def test_decisions_are_bounded_and_a_forgotten_one_is_made_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_TRACES", 5)
    router = router_with(0.5)
    first = [routed(router, ended_span(trace=number))[0][0] for number in range(1, 30)]
    second = [routed(router, ended_span(trace=number))[0][0] for number in range(1, 30)]
    assert first == second
    assert set(first) == {Route.ALL, Route.PRIMARY}
    assert len(router._decisions) == 5


async def test_a_metric_of_no_trace_always_goes_everywhere(tmp_path: Path) -> None:
    connector, primary, mirror = sinks_of(tmp_path, 0.0)
    connector.log_metric("alone", 1.0)
    assert await connector.shutdown()
    assert len(primary.of(Kind.METRIC)) == len(mirror.of(Kind.METRIC)) == 1


async def test_where_only_mirrors_are_fed_an_unwanted_trace_is_not_recorded_at_all(tmp_path: Path) -> None:
    mirror = Mirror()
    chosen = PLAIN | {"default_rate": 0.3, "always_sample_errors": False}
    connector = connector_on(tmp_path, mirror, sampling=chosen)
    for trace in TRACES:
        root = connector.trace_agent("explainer", "root", trace_id=trace)
        async with root, connector.trace_llm_call("gpt-5"):
            await nested(connector)
    assert await connector.flush()
    status = connector.get_status()["sinks"]["mirror"]
    assert await connector.shutdown()
    expected = {trace for trace in TRACES if belongs(trace, "0.3")}
    assert {span["trace_id"] for span in mirror.spans} == expected
    assert status["accepted"] == 3 * len(expected)


async def test_a_span_measured_elsewhere_follows_its_trace_in_any_spelling_of_the_id(tmp_path: Path) -> None:
    connector, _, mirror = sinks_of(tmp_path, 0.3)
    now = datetime.now(UTC)
    for trace in TRACES:
        for spelling in (trace, trace.upper(), trace.replace("-", "")):
            connector.record_span(FinishedSpan(spelling, str(uuid7()), "explainer", "work", now, now, 0.0))
    assert await connector.shutdown()
    expected = [trace for trace in TRACES if belongs(trace, "0.3")]
    assert sorted(span["trace_id"] for span in mirror.spans) == sorted(expected * 3)


async def nested(connector: OpikConnector) -> None:
    async with connector.trace_agent("explainer", "inner"):
        pass


async def test_an_unwanted_trace_is_silent_to_its_leaves_inside_another_connectors_span_too(tmp_path: Path) -> None:
    mirror = Mirror()
    rates = PLAIN | {"agent_rates": {"explainer": 0.0}, "always_sample_errors": False}
    connector = connector_on(tmp_path / "mine", mirror, sampling=rates)
    other = connector_on(tmp_path / "other", Mirror())
    async with other.trace_agent("orchestrator"), connector.trace_agent("explainer", "unwanted"):
        for _ in range(5):
            await nested(connector)
            with connector.trace_agent("orchestrator", "wanted on its own"):
                pass
    assert await connector.shutdown()
    await other.shutdown()
    assert mirror.spans == []
