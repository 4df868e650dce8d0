"""observability_connector on real PostgreSQL: what becomes of spans, what is measured, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import numpy as np
import psycopg
import pytest
from langgraph.runtime import Runtime

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.observability_connector.agent import ObservabilityConnectorAgent, ObserveResult
from src.agents.ml_foundation.observability_connector.graph import build_graph
from src.agents.ml_foundation.observability_connector.metric_cache import MemoryCache
from src.agents.ml_foundation.observability_connector.nodes import emit_spans as emitting
from src.agents.ml_foundation.observability_connector.nodes.aggregate_metrics import aggregate_metrics
from src.agents.ml_foundation.observability_connector.nodes.emit_spans import emit_spans
from src.agents.ml_foundation.observability_connector.self_monitor import SelfMonitor
from src.agents.ml_foundation.observability_connector.services import PLACE, Services
from src.agents.ml_foundation.observability_connector.state import Emitted, ObserveRequest, ObserveState
from src.agents.runtime import Deps
from src.errors import ContractViolation, SpoolUnusable
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid7, uuid_int, uuid_text
from src.mlops.tracing.orphans import find_orphans
from src.mlops.tracing.records import MemorySink
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.trace_records import Window
from src.storage.traces import TraceRepository
from tests.unit.test_agents.test_ml_foundation.test_observability_connector.parts import (
    TTL,
    Clock,
    as_json,
    finished,
)

pytestmark = pytest.mark.integration


async def closed_repository(url: str) -> TraceRepository:
    """A repository whose database has gone."""
    async with Database.open(url) as database:
        return TraceRepository(database)


def agent_on(connector: Any, traces: TraceRepository) -> ObservabilityConnectorAgent:
    return ObservabilityConnectorAgent(connector, traces, MemoryCache(10), ttl=TTL, sla_seconds=60)


async def test_spans_reach_the_database_and_the_mirror_and_are_measured(
    agent: ObservabilityConnectorAgent, deps: Deps, db: Database, mirror: MemorySink
) -> None:
    spans = tuple(finished(ms=float(ms)) for ms in range(1, 41))
    result = await agent.run(ObserveRequest(spans, Window.HOUR), deps)
    assert (result.emitted.database, result.emitted.spooled, result.emitted.dropped) == (40, 0, 0)
    assert (result.meta.status, result.error, result.reason) == ("completed", None, None)
    assert result.metrics is not None
    assert result.metrics.latency["agent"]["causal_impact"].n == 40
    stored = await db.fetch("SELECT span_id, duration_ms FROM ml_observability_spans WHERE operation_type='estimation'")
    assert {row["span_id"]: row["duration_ms"] for row in stored} == {span.span_id: span.duration_ms for span in spans}
    assert {span.span_id for span in spans} <= {span["span_id"] for span in mirror.spans}


async def test_percentiles_and_rates_equal_numpy(agent: ObservabilityConnectorAgent, deps: Deps) -> None:
    rng = np.random.default_rng(3)
    agents = ("causal_impact", "explainer", "feedback_learner")
    spans = [
        finished(
            agent=str(rng.choice(agents)),
            ms=float(rng.lognormal(3, 1)),
            status=str(rng.choice(["success", "error", "timeout"])),
            fallback_used=bool(rng.random() < 0.4),
            input_tokens=int(rng.integers(100)),
        )
        for _ in range(200)
    ]
    metrics = (await agent.run(ObserveRequest(tuple(spans), agents=agents), deps)).metrics
    assert metrics is not None
    assert metrics.sample_size == 200
    tiers = {"tier": {"causal_analytics": ["causal_impact"], "self_improvement": ["explainer", "feedback_learner"]}}
    names = {"agent": {name: [name] for name in agents}} | tiers
    assert {part: set(by_name) for part, by_name in metrics.latency.items()} == {
        part: set(by_name) for part, by_name in names.items()
    }
    for part, by_name in names.items():
        for name, together in by_name.items():
            durations = [span.duration_ms for span in spans if span.agent_name in together]
            got = metrics.latency[part][name]
            assert (got.p50, got.p95, got.p99) == pytest.approx(tuple(np.percentile(durations, [50, 95, 99])))
            assert got.n == len(durations)
    for name in names["agent"]:
        mine = [span for span in spans if span.agent_name == name]
        assert metrics.error_rate[name] == pytest.approx(np.mean([span.status != "success" for span in mine]))
        assert metrics.fallback_rate[name] == pytest.approx(np.mean([span.fallback_used for span in mine]))
        assert metrics.tokens[name] == sum(span.input_tokens or 0 for span in mine)
    assert metrics.success_rate == pytest.approx(np.mean([span.status == "success" for span in spans]))


@pytest.mark.parametrize(
    ("spans", "score"),
    [
        ([{}, {}], 1.0),
        ([{}, {"fallback_used": True}], 0.75),
        ([{"status": "error"}, {"fallback_used": True}], 0.25),
        ([{"status": "error", "fallback_used": True}, {"status": "timeout"}], 0.0),
    ],
)
async def test_the_quality_score_credits_success_whole_and_a_fallback_half(
    agent: ObservabilityConnectorAgent, deps: Deps, spans: list[dict[str, Any]], score: float
) -> None:
    given = tuple(finished(**one) for one in spans)
    result = await agent.run(ObserveRequest(given, agents=("causal_impact",)), deps)
    assert result.metrics is not None
    assert result.metrics.quality_score == score


async def test_without_spans_there_are_no_metrics_but_a_reason(agent: ObservabilityConnectorAgent, deps: Deps) -> None:
    assert await agent.get_quality_metrics("1h") == Unavailable("observability_connector", "no spans in the last 1h")
    result = await agent.run({"window": "7d", "agents": ["explainer"]}, deps)
    assert (result.metrics, result.reason) == (None, "no spans of explainer in the last 7d")
    assert (result.meta.status, result.meta.warnings) == ("completed", ("no spans of explainer in the last 7d",))
    assert result.emitted.database == 0


async def test_an_agent_that_is_not_registered_counts_as_unknown_and_as_nobody_else(
    agent: ObservabilityConnectorAgent, deps: Deps, db: Database
) -> None:
    await agent.run(ObserveRequest((finished(agent="causal_impakt"),)), deps)
    (row,) = await db.fetch("SELECT * FROM ml_observability_spans WHERE operation_type = 'estimation'")
    assert (row["agent_name"], row["agent_tier"]) == ("unknown", "monitoring")
    metrics = await agent.get_quality_metrics("24h", ["unknown"])
    assert metrics
    assert set(metrics.latency["agent"]) == {"unknown"}


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"spans": [as_json(finished()), as_json(finished(), status="fine")]}, "status 'fine' is unknown"),
        ({"windov": "1h"}, "unknown key 'windov' in the request; did you mean 'window'"),
        ({"window": "2h"}, "there is no window '2h'"),
        ({"agents": ["causal_impakt"]}, "there is no agent 'causal_impakt'; did you mean 'causal_impact'"),
        (ObserveRequest(agents=("nobody",)), "there is no agent 'nobody'"),
    ],
)
async def test_a_wrong_request_is_refused_before_anything_is_recorded(
    agent: ObservabilityConnectorAgent, deps: Deps, connector: OpikConnector, db: Database, request_: Any, says: str
) -> None:
    with pytest.raises(ContractViolation, match=says):
        await agent.run(request_, deps)
    assert await connector.flush(10)
    rows = await db.fetch("SELECT operation_type, status, error_type FROM ml_observability_spans")
    assert [tuple(row.values()) for row in rows] == [("run", "error", "ContractViolation")]


async def test_a_request_in_json_is_the_same_request(agent: ObservabilityConnectorAgent, deps: Deps) -> None:
    span = finished()
    first = await agent.run({"spans": [as_json(span)], "window": "1h", "agents": ["causal_impact"]}, deps)
    assert (first.emitted.database, first.meta.status) == (1, "completed")
    again = await agent.run(ObserveRequest((span,), Window.HOUR), deps)
    assert again.metrics is not None
    assert again.metrics.latency["agent"]["causal_impact"].n == 1


async def test_foreign_ids_are_found_again_under_the_ids_they_are_stored_by(
    agent: ObservabilityConnectorAgent, deps: Deps, db: Database
) -> None:
    result = await agent.run(ObserveRequest((finished(trace_id="job-7", span_id="step-1"),)), deps)
    assert result.emitted.database == 1
    trace = await TraceRepository(db).trace(uuid_text(uuid_int("job-7")))
    assert [span.operation_type for span in trace.spans] == ["estimation"]


async def test_every_node_is_a_span_under_the_run_of_the_given_trace(
    agent: ObservabilityConnectorAgent, deps: Deps, connector: OpikConnector, db: Database
) -> None:
    await agent.run(ObserveRequest(), deps)
    assert await connector.flush(10)
    spans = (await TraceRepository(db).trace(deps.trace_id)).spans
    by_name = {span.operation_type: span for span in spans}
    assert set(by_name) == {"run", "emit_spans", "aggregate_metrics"}
    assert by_name["run"].parent_span_id is None
    assert by_name["emit_spans"].parent_span_id == by_name["run"].span_id
    assert {span.agent_name for span in spans} == {"observability_connector"}
    assert find_orphans(spans) == []


async def test_with_the_database_gone_spans_are_spooled_and_the_result_is_partial(
    database_url: str, connector: OpikConnector, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emitting, "FLUSH_S", 0.05)
    agent = agent_on(connector, await closed_repository(database_url))
    result = await agent.run(ObserveRequest((finished(), finished())), deps)
    assert (result.emitted.database, result.emitted.spooled, result.emitted.dropped) == (0, 2, 0)
    assert (result.meta.status, result.metrics) == ("partial", None)
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("DatabaseUnavailable", "aggregate_metrics")
    assert "2 spans wait in the spool: the database cannot be reached" in result.meta.degraded[0]


async def test_with_the_database_gone_and_nothing_to_record_the_run_fails(
    database_url: str, connector: OpikConnector, deps: Deps
) -> None:
    agent = agent_on(connector, await closed_repository(database_url))
    result = await agent.run(ObserveRequest(), deps)
    assert (result.meta.status, result.metrics) == ("failed", None)
    assert result.reason is not None
    assert "the database cannot be reached" in result.reason


async def test_spans_that_the_database_refuses_to_take_yet_are_counted_as_spooled(
    agent: ObservabilityConnectorAgent, deps: Deps, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emitting, "FLUSH_S", 0.2)
    with psycopg.connect(database_url) as blocking:
        blocking.execute("LOCK TABLE ml_observability_spans IN SHARE ROW EXCLUSIVE MODE")
        result = await agent.run(ObserveRequest((finished(),)), deps)
        assert (result.emitted.database, result.emitted.spooled, result.meta.status) == (0, 1, "partial")
        blocking.rollback()


class Broken:
    """A connector that fails or keeps nothing, as far as the agent looks."""

    def __init__(self, real: OpikConnector, *, refuse: int = 0, enabled: bool = True, raises: bool = False) -> None:
        self.real, self.refuse, self.enabled, self.raises = real, refuse, enabled, raises
        self.refused = 0
        self.trace_agent = real.trace_agent
        self.flush = real.flush

    def record_span(self, span: FinishedSpan) -> None:
        if self.raises:
            raise SpoolUnusable("the spool cannot be written: disk full")
        if self.refused < self.refuse:
            self.refused += 1
        else:
            self.real.record_span(span)

    def get_status(self) -> dict[str, Any]:
        return self.real.get_status() | {"refused": self.refused, "is_enabled": self.enabled}


async def test_refused_spans_are_counted_as_dropped(connector: OpikConnector, deps: Deps, db: Database) -> None:
    agent = agent_on(Broken(connector, refuse=2), TraceRepository(db))
    result = await agent.run(ObserveRequest(tuple(finished() for _ in range(5))), deps)
    assert (result.emitted.database, result.emitted.spooled, result.emitted.dropped) == (3, 0, 2)
    assert result.meta.status == "partial"
    assert result.meta.degraded == ("2 spans were dropped: the spool has no room",)


async def test_without_any_sink_nothing_is_said_to_be_kept(connector: OpikConnector, deps: Deps, db: Database) -> None:
    agent = agent_on(Broken(connector, enabled=False), TraceRepository(db))
    result = await agent.run(ObserveRequest((finished(),)), deps)
    assert (result.emitted, result.meta.status) == (Emitted(dropped=1), "partial")


async def test_a_spool_that_cannot_be_written_fails_the_run_and_nothing_is_measured(
    connector: OpikConnector, deps: Deps, db: Database
) -> None:
    agent = agent_on(Broken(connector, raises=True), TraceRepository(db))
    result = await agent.run(ObserveRequest((finished(),)), deps)
    assert (result.meta.status, result.metrics, result.emitted) == ("failed", None, Emitted())
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("SpoolUnusable", "emit_spans")


async def test_metrics_are_kept_for_their_time_and_then_computed_again(
    agent: ObservabilityConnectorAgent, deps: Deps, clock: Clock
) -> None:
    async def sample_size(window: str) -> int:
        metrics = await agent.get_quality_metrics(window, ["causal_impact"])
        assert metrics
        return metrics.sample_size

    await agent.run(ObserveRequest((finished(),)), deps)
    assert [await sample_size("1h"), await sample_size("24h")] == [1, 1]
    await agent.run(ObserveRequest((finished(),)), deps)
    clock.now += TTL["1h"] - 1
    assert [await sample_size("1h"), await sample_size("24h")] == [1, 1]
    clock.now += 2
    assert [await sample_size("1h"), await sample_size("24h"), await sample_size("7d")] == [2, 1, 2]
    clock.now += TTL["24h"]
    assert await sample_size("24h") == 2


async def test_a_result_from_the_cache_says_when_it_was_computed(
    agent: ObservabilityConnectorAgent, deps: Deps
) -> None:
    first = await agent.run(ObserveRequest((finished(),)), deps)
    second = await agent.run(ObserveRequest((finished(),)), deps)
    assert first.meta.warnings == ()
    assert second.metrics == first.metrics
    assert second.metrics is not None
    said = f"the metrics were computed at {second.metrics.computed_at:%H:%M:%S} UTC and kept since"
    assert second.meta.warnings == (said,)


async def test_having_no_spans_is_never_kept(agent: ObservabilityConnectorAgent, deps: Deps) -> None:
    assert not await agent.get_quality_metrics("24h", ["causal_impact"])
    await agent.run(ObserveRequest((finished(),)), deps)
    assert await agent.get_quality_metrics("24h", ["causal_impact"])


async def test_the_agent_watches_its_own_latency_and_errors(agent: ObservabilityConnectorAgent, deps: Deps) -> None:
    assert agent.own_work() == {}
    await agent.run(ObserveRequest((finished(),)), deps)
    with pytest.raises(ContractViolation):
        await agent.run({"window": "2h"}, deps)
    work = agent.own_work()
    assert {name: (one.calls, one.errors) for name, one in work.items()} == {
        "run": (2, 1),
        "emit_spans": (1, 0),
        "aggregate_metrics": (1, 0),
    }
    assert work["run"].last_error is not None
    assert work["run"].last_error.startswith("ContractViolation: there is no window '2h'")
    assert 0 < work["run"].p50_ms <= work["run"].p99_ms


def test_own_percentiles_equal_numpy() -> None:
    clock = Clock()
    monitor = SelfMonitor(clock)
    durations = np.random.default_rng(1).lognormal(size=80)
    for seconds in durations:
        with monitor.timing("x"):
            clock.now += seconds
    work = monitor.report()["x"]
    wanted = np.percentile(durations * 1000, [50, 95, 99])
    assert (work.p50_ms, work.p95_ms, work.p99_ms) == pytest.approx(tuple(wanted))


async def test_a_run_over_its_budget_says_so(connector: OpikConnector, deps: Deps, db: Database) -> None:
    agent = ObservabilityConnectorAgent(connector, TraceRepository(db), MemoryCache(1), ttl=TTL, sla_seconds=1e-9)
    result = await agent.run(ObserveRequest(), deps)
    assert any("its budget is 1e-09 s" in warning for warning in result.meta.warnings)


def test_the_budget_is_the_configured_one(connector: OpikConnector, db: Database) -> None:
    agent = ObservabilityConnectorAgent(connector, TraceRepository(db), MemoryCache(1), ttl=TTL)
    assert agent.sla_seconds == load_agents_config().agents[PLACE].timeout_seconds == 5
    assert (agent.agent_name, agent.tier, agent.agent_type) == ("observability_connector", 0, "standard")


async def test_state_declares_every_key_that_a_node_writes(connector: OpikConnector, deps: Deps, db: Database) -> None:
    services = Services(connector, TraceRepository(db), MemoryCache(1), TTL, SelfMonitor())
    context = dataclasses.replace(deps, workspace={PLACE: services})
    state: dict[str, Any] = {"request": ObserveRequest((finished(),))}
    for node in (emit_spans, aggregate_metrics):
        state |= await node(state, Runtime(context=context))
    assert set(state) | {"error"} == set(get_type_hints(ObserveState))


def test_nodes_have_the_names_of_their_budgets() -> None:
    nodes = {name for name in build_graph().nodes if not name.startswith("__")}
    assert nodes == {"emit_spans", "aggregate_metrics"} == set(load_agents_config().agents[PLACE].node_timeouts)


async def test_a_node_over_its_budget_stops_the_run_as_a_timeout(
    agent: ObservabilityConnectorAgent, deps: Deps, connector: OpikConnector, db: Database
) -> None:
    hurried = dataclasses.replace(deps, node_timeouts={"aggregate_metrics": 1e-6}, trace_id=str(uuid7()))
    with pytest.raises(TimeoutError):
        await agent.run(ObserveRequest((finished(),)), hurried)
    assert await connector.flush(10)
    spans = (await TraceRepository(db).trace(hurried.trace_id)).spans
    assert {span.operation_type: span.status for span in spans} == {
        "run": "timeout",
        "emit_spans": "success",
        "aggregate_metrics": "timeout",
    }


def test_a_result_names_every_part_of_the_contract() -> None:
    assert set(get_type_hints(ObserveResult)) == {"emitted", "metrics", "reason", "error", "meta"}
