"""Does what the agents do arrive in PostgreSQL and in Opik, and can it be asked for, whatever is away meanwhile?"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.agents.causal_impact.agent import CausalImpactAgent, ImpactResult
from src.agents.runtime import Deps
from src.app.effects import answer_effect
from src.app.generated_data import register_synthetic
from src.app.questions import EffectQuestion
from src.app.session import open_session
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.ledger import LEDGER
from src.mlops.tracing.opik_queries import FoundFeedback, FoundTrace, TraceFilter
from src.mlops.tracing.orphans import find_orphans
from src.resilience.outcomes import Unavailable
from src.scripted_servers import faults
from src.scripted_servers.faults import Fault
from src.scripted_servers.opik import ScriptedOpik
from src.settings import PROJECT_ROOT
from src.storage.database import Database
from src.storage.traces import TraceRepository
from tests.integration.observed import Observed
from tests.unit.test_agents.test_causal_impact.fakes import FrameDatasets, confounded, request
from tests.unit.test_mlops.recorded import say_everywhere
from tests.unit.test_mlops.test_tracing_privacy import IN_TEXT

NODES = ["audit_init", "graph_builder", "estimation", "refutation", "sensitivity", "interpretation"]
CHILD = """
import os, sys
from pathlib import Path
from src.mlops.opik_connector import OpikConnector
from tests.unit.test_mlops.recorded import settings

connector = OpikConnector(settings(), spool=Path(sys.argv[1]))
if len(sys.argv) > 2:
    connector.use_database(lambda: sys.argv[2])
with connector.trace_agent("explainer", "in the child", headers=connector.inherited_headers()) as span:
    print(span.trace_id)
"""


@pytest.fixture
def opik() -> Iterator[ScriptedOpik]:
    with ScriptedOpik() as server:
        yield server


@pytest.fixture
async def observed(database_url: str, opik: ScriptedOpik, tmp_path: Path) -> AsyncIterator[Observed]:
    world = Observed(database_url, opik, tmp_path / "spool")
    yield world
    for connector in world.opened:
        await connector.shutdown(2)


@pytest.fixture
async def traces(database_url: str) -> AsyncIterator[TraceRepository]:
    async with Database.open(database_url) as database:
        yield TraceRepository(database)


async def run_agent(connector: OpikConnector, *, trace: str | None = None, study: str = "study") -> ImpactResult:
    """One causal analysis of 600 rows."""
    datasets = FrameDatasets(**{study: confounded(0.5, n=600)})
    deps = Deps(datasets, connector, str(uuid7()), trace or str(uuid7()))
    return await CausalImpactAgent().run(request(confounders=("severity",)), deps)


async def record_spans(connector: OpikConnector, *operations: str, agent: str = "explainer") -> list[str]:
    ids = []
    for operation in operations:
        async with connector.trace_agent(agent, operation) as span:
            ids.append(span.trace_id)
    return ids


def found(answer: tuple[FoundTrace, ...] | Unavailable) -> dict[str, FoundTrace]:
    assert not isinstance(answer, Unavailable)
    return {trace.trace_id: trace for trace in answer}


def given(answer: tuple[FoundFeedback, ...] | Unavailable) -> list[FoundFeedback]:
    assert not isinstance(answer, Unavailable)
    return list(answer)


async def test_a_trace_stands_in_both_stores_with_the_same_ids_and_the_same_tree(observed: Observed) -> None:
    connector = observed.connect()
    root = connector.trace_agent("orchestrator", "question", tags=["nightly"], input_data={"q": "?"})
    async with root, connector.trace_agent("causal_impact", "answer") as child:
        child.set_output({"ate": 0.5})
    assert await connector.flush()
    rows, mirrored = observed.spans(), observed.mirrored()
    assert rows.keys() == mirrored.keys() == {"question", "answer"}
    for operation, row in rows.items():
        ours = (row["trace_id"], row["span_id"], row["parent_span_id"])
        theirs = mirrored[operation]
        assert ours == (theirs["trace_id"], theirs["id"], theirs.get("parent_span_id"))
    assert rows["answer"]["parent_span_id"] == root.span_id
    assert rows["answer"]["attributes"]["output"] == mirrored["answer"]["output"] == {"ate": 0.5}
    trace = observed.opik.traces[root.trace_id]
    assert (trace["name"], trace["tags"], trace["input"]) == ("question", ["nightly"], {"q": "?"})


async def test_the_agent_leaves_a_span_per_node_that_can_be_asked_for(
    observed: Observed, traces: TraceRepository
) -> None:
    connector = observed.connect()
    result = await run_agent(connector)
    assert await connector.flush()
    assert result.analysis is not None
    trace = await traces.trace(result.meta.trace_id)
    assert [span.operation_type for span in trace.spans] == ["run", *NODES]
    root = trace.spans[0]
    assert {span.parent_span_id for span in trace.spans[1:]} == {root.span_id}
    assert {(span.agent_name, span.agent_tier) for span in trace.spans} == {("causal_impact", "causal_analytics")}
    assert all(span.status == "success" and span.duration_ms is not None for span in trace.spans)
    assert find_orphans(trace.spans) == []
    assert await traces.orphans() == []
    (summary,) = await traces.recent(agent="causal_impact")
    assert (summary.trace_id, summary.spans, summary.errors, summary.status) == (
        trace.trace_id,
        1 + len(NODES),
        0,
        "success",
    )
    theirs = found(await connector.query_traces(TraceFilter(agent="causal_impact")))
    assert theirs.keys() == {trace.trace_id}
    assert theirs[trace.trace_id].span_count == 1 + len(NODES)
    assert observed.mirrored().keys() == {"run", *NODES}


async def test_runs_at_the_same_time_keep_their_spans_apart(observed: Observed, traces: TraceRepository) -> None:
    connector = observed.connect()
    results = await asyncio.gather(*(run_agent(connector) for _ in range(3)))
    assert await connector.flush()
    for result in results:
        trace = await traces.trace(result.meta.trace_id)
        assert sorted(span.operation_type for span in trace.spans) == sorted(["run", *NODES])
        assert find_orphans(trace.spans) == []


async def test_a_run_that_fails_says_so_in_both_stores(observed: Observed, traces: TraceRepository) -> None:
    connector = observed.connect()
    result = await run_agent(connector, study="another study")
    await run_agent(connector)
    assert await connector.flush()
    assert result.error is not None
    failed = observed.spans(result.meta.trace_id)["graph_builder"]
    assert (failed["status"], failed["error_type"]) == ("error", "DatasetNotFound")
    assert "study" in failed["error_message"]
    theirs = observed.mirrored(result.meta.trace_id)["graph_builder"]
    assert theirs["error_info"]["exception_type"] == "DatasetNotFound"
    summaries = {summary.trace_id: summary.errors for summary in await traces.recent()}
    assert summaries[result.meta.trace_id] == 1
    assert sorted(summaries.values()) == [0, 1]


async def test_a_run_that_is_cancelled_ends_all_its_spans(observed: Observed, traces: TraceRepository) -> None:
    connector = observed.connect()
    entered = asyncio.Event()

    class Slow(FrameDatasets):
        async def load(self, *arguments: Any, **named: Any) -> Any:
            entered.set()
            await asyncio.sleep(60)

    trace = str(uuid7())
    task = asyncio.create_task(CausalImpactAgent().run(request(), Deps(Slow(), connector, str(uuid7()), trace)))
    await entered.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await connector.flush()
    stored = await traces.trace(trace)
    assert {(span.operation_type, span.error_type) for span in stored.spans} == {
        ("audit_init", None),
        ("run", "CancelledError"),
        ("graph_builder", "CancelledError"),
    }
    failed = found(await connector.query_traces(TraceFilter(failed=True)))
    assert failed[trace].error_type == "CancelledError"


async def test_an_answer_through_the_application_is_traced_to_both(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", observed.url)
    monkeypatch.setenv("OPIK_ENABLED", "true")
    monkeypatch.setenv("OPIK_URL_OVERRIDE", observed.opik.url)
    async with open_session() as session:
        made = await register_synthetic(session.catalogue, "simple_linear", 500, 3)
        answer = await answer_effect(session, EffectQuestion(dataset=made.record.dataset_id))
        assert await get_opik_connector().flush()
    rows = observed.spans(answer.run.trace_id)
    assert rows.keys() >= {"run", *NODES}
    assert rows.keys() == observed.mirrored(answer.run.trace_id).keys()
    assert answer.run.trace_id in observed.opik.traces


async def test_tokens_and_cost_of_a_model_call_are_the_same_in_both(
    observed: Observed, traces: TraceRepository
) -> None:
    connector = observed.connect()
    async with connector.trace_agent("explainer", "explain") as root:
        async with connector.trace_llm_call("claude-haiku-5-5") as known:
            known.log_tokens(10_000, 500)
        async with connector.trace_llm_call("nobody-knows-it", provider="local") as unknown:
            unknown.log_tokens(7, 3)
    assert await connector.flush()
    (summary,) = await traces.recent()
    assert (summary.tokens, summary.unpriced_calls) == (10_510, 1)
    assert summary.cost == pytest.approx(10_000 * 0.1e-6 + 500 * 0.5e-6)
    mirrored = observed.opik.spans[known.span_id]
    assert mirrored["usage"]["total_tokens"] == 10_500
    assert mirrored["total_estimated_cost"] == pytest.approx(summary.cost)
    assert (mirrored["type"], mirrored["model"], mirrored["provider"]) == ("llm", "claude-haiku-5-5", "anthropic")
    assert "total_estimated_cost" not in observed.opik.spans[unknown.span_id]
    assert found(await connector.query_traces())[root.trace_id].total_tokens == 10_510


async def test_feedback_is_read_back_from_the_trace_in_both_stores(observed: Observed, traces: TraceRepository) -> None:
    connector = observed.connect()
    async with connector.trace_agent("explainer", "explain") as root:
        connector.log_feedback(root.trace_id, 0.9, "helpful", "clear words", category="tone")
        async with connector.trace_agent("explainer", "draft") as draft:
            pass
    root.log_feedback(0.4, "brevity")
    connector.log_feedback(root.trace_id, 0.7, "grounded", span_id=draft.span_id)
    assert await connector.flush()
    ours = (await traces.trace(root.trace_id)).feedback
    assert {(one.name, one.value, one.span_id) for one in ours} == {
        ("helpful", 0.9, None),
        ("brevity", 0.4, None),
        ("grounded", 0.7, draft.span_id),
    }
    theirs = given(await connector.query_feedback(datetime.now(UTC) - timedelta(minutes=5)))
    assert {(one.trace_id, one.name, one.value, one.span_id) for one in theirs} == {
        (root.trace_id, one.name, one.value, one.span_id) for one in ours
    }
    helpful = next(one for one in theirs if one.name == "helpful")
    assert (helpful.reason, helpful.category, helpful.source, helpful.agent) == (
        "clear words", "tone", "sdk", "explainer",
    )  # fmt: skip


async def test_feedback_on_a_trace_of_an_earlier_process_finds_it(observed: Observed, traces: TraceRepository) -> None:
    first = observed.connect()
    (trace,) = await record_spans(first, "explain")
    assert await first.shutdown()
    second = observed.connect()
    second.log_feedback(trace, -1.0, "helpful", "wrong region")
    assert await second.flush()
    (feedback,) = await traces.query_feedback(agent="explainer")
    assert (feedback.trace_id, feedback.value, feedback.reason) == (trace, -1.0, "wrong region")
    assert observed.opik.scores(trace)["helpful"]["value"] == -1.0


async def test_what_people_say_in_opik_is_found_by_agent_and_time(observed: Observed) -> None:
    connector = observed.connect()
    (explained,) = await record_spans(connector, "explain")
    (answered,) = await record_spans(connector, "answer", agent="causal_impact")
    assert await connector.flush()
    before = datetime.now(UTC) - timedelta(minutes=5)
    observed.opik.give_feedback(explained, "helpful", 0.2, author="ana", reason="too long")
    observed.opik.give_feedback(answered, "helpful", 1.0, author="ben")
    (one,) = given(await connector.query_feedback(before, agent="explainer"))
    assert (one.trace_id, one.value, one.author, one.source, one.reason) == (explained, 0.2, "ana", "ui", "too long")
    assert len(given(await connector.query_feedback(before))) == 2
    assert given(await connector.query_feedback(datetime.now(UTC) + timedelta(hours=1))) == []


async def test_metrics_arrive_with_and_without_a_trace(observed: Observed, traces: TraceRepository) -> None:
    connector = observed.connect()
    async with connector.trace_agent("explainer", "fit") as span:
        connector.log_metric("auc", 0.81, metadata={"fold": 1})
    alone = connector.log_metric("queue_depth", 12)
    assert await connector.flush()
    (metric,) = (await traces.trace(span.trace_id)).metrics
    assert (metric.name, metric.value, metric.span_id, metric.metadata) == ("auc", 0.81, span.span_id, {"fold": 1})
    assert {str(row["metric_id"]) for row in observed.rows("ml_observability_metrics")} >= {alone}
    assert observed.opik.scores(span.trace_id)["auc"]["value"] == 0.81
    assert observed.opik.traces[alone]["output"] == {"value": 12.0}


async def test_opik_can_be_asked_by_agent_time_and_failure(observed: Observed) -> None:
    connector = observed.connect()
    began = datetime.now(UTC)
    (fine,) = await record_spans(connector, "fine")
    async with connector.trace_agent("causal_impact", "failed") as failed:
        failed.set_error(ValueError("no rows"))
    assert await connector.flush()
    asked: dict[str, TraceFilter] = {
        "agent": TraceFilter(agent="explainer"),
        "name": TraceFilter(name="fine"),
        "failed": TraceFilter(failed=True),
        "since": TraceFilter(since=began),
        "until": TraceFilter(until=began),
        "one": TraceFilter(limit=1),
    }
    answers = {name: list(found(await connector.query_traces(wanted))) for name, wanted in asked.items()}
    assert answers == {
        "agent": [fine], "name": [fine], "failed": [failed.trace_id], "since": [failed.trace_id, fine], "until": [],
        "one": [failed.trace_id],
    }  # fmt: skip


async def test_latency_and_error_rates_come_from_the_spans(observed: Observed, traces: TraceRepository) -> None:
    connector = observed.connect(sampling={"default_rate": 0.0, "always_sample_agents": []})
    await record_spans(connector, *["work"] * 3)
    async with connector.trace_agent("explainer", "fails") as span:
        span.set_error(ValueError("no"))
        span.set_fallback(["rules"])
    assert await connector.flush()
    (latency,) = await traces.latency()
    assert (latency.agent_name, latency.agent_tier, latency.total_spans) == ("explainer", "self_improvement", 4)
    assert (latency.error_rate, latency.fallback_rate) == (0.25, 0.25)


async def test_sampling_decides_about_opik_and_never_about_the_database(observed: Observed) -> None:
    connector = observed.connect(sampling={"default_rate": 0.0, "always_sample_agents": ["orchestrator"]})
    await record_spans(connector, "unwanted", "unwanted too")
    (wanted,) = await record_spans(connector, "always", agent="orchestrator")
    with suppress(ValueError):
        async with connector.trace_agent("explainer", "root") as root:
            await record_spans(connector, "before the error")
            raise ValueError("no rows")
    assert await connector.flush()
    assert observed.spans().keys() == {"unwanted", "unwanted too", "always", "root", "before the error"}
    assert observed.opik.traces.keys() == {wanted, root.trace_id}
    assert observed.mirrored().keys() == {"always", "root", "before the error"}


OUTAGES: dict[str, Fault] = {
    "503": faults.status(503),
    "500": faults.status(500),
    "429": faults.status(429, retry_after=0.1),
    "401": faults.status(401),
    "reset": faults.RESET,
    "reset after": faults.RESET_AFTER,
    "black hole": faults.BLACK_HOLE,
}


@pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES)
async def test_while_opik_fails_the_database_gets_everything_and_opik_afterwards(
    observed: Observed, fault: Fault
) -> None:
    connector = observed.connect(opik={"request_timeout_seconds": 0.3 if fault is faults.BLACK_HOLE else 60.0})
    observed.opik.fault = fault
    (trace,) = await record_spans(connector, "during the outage")
    connector.log_feedback(trace, 0.5)
    assert not await connector.flush(1.0)
    assert observed.spans().keys() == {"during the outage"}
    status = connector.get_status()
    assert (status["sinks"]["database"]["pending"], status["sinks"]["opik"]["pending"]) == (0, 2)
    assert status["sinks"]["opik"]["last_error"]
    assert all(numbers["adds_up"] for numbers in status["sinks"].values())
    observed.opik.heal()
    await record_spans(connector, "afterwards")
    assert await connector.flush(60.0)
    assert observed.mirrored().keys() == {"during the outage", "afterwards"}
    assert observed.opik.scores(trace)["quality"]["value"] == 0.5
    assert connector.get_status()["sinks"]["opik"]["delivered"] == 3


async def test_while_nobody_listens_on_opiks_port_everything_waits_for_it(observed: Observed) -> None:
    connector = observed.connect()
    with observed.opik.down():
        await record_spans(connector, *[f"n{number}" for number in range(20)])
        assert not await connector.flush(1.0)
        assert len(observed.rows()) == 20
        answer = await connector.query_traces()
        assert isinstance(answer, Unavailable)
        assert answer.component == "opik"
        assert connector.get_status()["circuit_breaker"]["failed"] > 0
    assert await connector.flush()
    assert len(observed.opik.spans) == 20
    assert connector.get_status()["circuit_breaker"]["state"] == "closed"


async def test_without_the_database_spans_wait_and_opik_goes_on(observed: Observed, traces: TraceRepository) -> None:
    connector = observed.connect()
    await record_spans(connector, "before")
    assert await connector.flush()
    observed.lose_the_database()
    (trace,) = await record_spans(connector, "during the outage")
    assert not await connector.flush(1.0)
    assert observed.mirrored().keys() == {"before", "during the outage"}
    status = connector.get_status()
    assert (status["sinks"]["database"]["pending"], status["spooled"], status["dropped"]) == (1, 1, 0)
    observed.address = observed.url
    assert await connector.flush()
    assert (await traces.trace(trace)).spans[0].operation_type == "during the outage"
    assert connector.get_status()["spooled"] == 0


async def test_the_agent_answers_the_same_whatever_is_away(observed: Observed) -> None:
    healthy = await run_agent(observed.connect())
    observed.opik.fault = faults.status(503)
    observed.lose_the_database()
    degraded = await run_agent(observed.connect())
    assert healthy.analysis is not None
    assert degraded.analysis is not None
    assert degraded.analysis.primary == healthy.analysis.primary
    assert degraded.meta.status == healthy.meta.status
    observed.opik.heal()
    observed.address = observed.url


async def test_what_one_process_could_not_deliver_the_next_one_does(observed: Observed) -> None:
    first = observed.connect()
    observed.opik.fault = faults.status(503)
    observed.lose_the_database()
    await record_spans(first, "left behind")
    assert not await first.shutdown(0.5)
    assert (observed.rows(), observed.opik.spans) == ([], {})
    observed.opik.heal()
    observed.address = observed.url
    second = observed.connect()
    assert await second.flush()
    assert observed.spans().keys() == observed.mirrored().keys() == {"left behind"}
    numbers = second.get_status()["sinks"]
    assert all((one["accepted"], one["delivered"], one["adds_up"]) == (1, 1, True) for one in numbers.values())


async def test_a_process_without_a_database_leaves_its_spans_to_one_that_has_it(observed: Observed) -> None:
    arguments = [sys.executable, "-c", CHILD, str(observed.spool)]
    child = subprocess.run(arguments, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    connector = observed.connect()
    assert await connector.flush()
    assert observed.spans()["in the child"]["trace_id"] == child.stdout.strip()


async def test_a_trace_goes_on_in_another_process_and_stays_one_tree(
    observed: Observed, traces: TraceRepository, tmp_path: Path
) -> None:
    connector = observed.connect()
    async with connector.trace_agent("orchestrator", "in the parent") as parent:
        inherited = {name.upper(): value for name, value in connector.inject().items()}
        arguments = [sys.executable, "-c", CHILD, str(tmp_path / "theirs"), observed.url]
        process = await asyncio.create_subprocess_exec(*arguments, cwd=PROJECT_ROOT, env=os.environ | inherited)
        assert await process.wait() == 0
    assert await connector.flush()
    trace = await traces.trace(parent.trace_id)
    assert [(span.operation_type, span.parent_span_id) for span in trace.spans] == [
        ("in the parent", None),
        ("in the child", parent.span_id),
    ]
    assert await traces.orphans() == []


async def test_delivering_everything_again_changes_neither_store(observed: Observed) -> None:
    connector = observed.connect()
    observed.opik.fault = faults.status(503)
    await record_spans(connector, "one", "two")
    connector.log_metric("auc", 0.5)
    assert not await connector.shutdown(1.0)
    observed.opik.heal()
    kept = {path: path.read_bytes() for path in observed.spool.glob("*.spool")}
    assert await observed.connect().shutdown()
    before = observed.everything()
    (observed.spool / LEDGER).unlink()
    for path, content in kept.items():
        path.write_bytes(content)
    observed.opik.forget_requests()
    assert await observed.connect().shutdown()
    assert observed.opik.requests
    assert observed.everything() == before


async def test_what_opik_refuses_for_good_is_buried_there_and_stored_here(database_url: str, tmp_path: Path) -> None:
    def judge(_: str, path: str, body: Any) -> str | None:
        names = [item.get("name") for item in body.get("traces", [])]
        return "not this one" if path.endswith("traces/batch") and "poison" in names else None

    with ScriptedOpik(validate=judge) as opik:
        observed = Observed(database_url, opik, tmp_path)
        connector = observed.connect()
        await record_spans(connector, "fine", "poison", "fine too")
        assert await connector.flush()
        status = connector.get_status()
        await connector.shutdown()
        assert observed.mirrored().keys() == {"fine", "fine too"}
    assert observed.spans().keys() == {"fine", "poison", "fine too"}
    assert (status["sinks"]["opik"]["delivered"], status["sinks"]["opik"]["dead"]) == (2, 1)
    assert status["sinks"]["opik"]["adds_up"]


async def test_a_wrong_key_keeps_records_waiting_until_it_is_corrected(database_url: str, tmp_path: Path) -> None:
    with ScriptedOpik(api_key="right") as opik:
        observed = Observed(database_url, opik, tmp_path)
        wrong = observed.connect(opik={"api_key": "wr0ng-key"}, circuit_breaker={"failure_threshold": 1_000})
        await record_spans(wrong, "waits")
        assert not await wrong.flush(0.7)
        said = wrong.get_status()["sinks"]["opik"]["last_error"]
        assert "key is missing or wrong" in said
        assert "wr0ng-key" not in said
        assert not await wrong.shutdown(0.5)
        right = observed.connect(opik={"api_key": "right"})
        assert await right.flush()
        assert observed.mirrored().keys() == {"waits"}
        await right.shutdown()


async def test_a_trace_that_is_resumed_is_one_trace_in_both(observed: Observed, traces: TraceRepository) -> None:
    connector, trace = observed.connect(), str(uuid7())
    with suppress(ConnectionError):
        async with connector.trace_agent("causal_impact", "run", trace_id=trace, input_data={"q": "first"}):
            raise ConnectionError("interrupted")
    async with connector.trace_agent("causal_impact", "run", trace_id=trace) as second:
        second.set_output({"ate": 0.5})
    assert await connector.flush()
    (summary,) = await traces.recent()
    assert (summary.spans, summary.errors, summary.status) == (2, 1, "success")
    mirrored = observed.opik.traces[trace]
    assert (mirrored["input"], mirrored["output"]) == ({"q": "first"}, {"ate": 0.5})
    assert len(observed.opik.spans) == 2


async def test_a_mirror_that_is_switched_on_later_gets_what_follows(observed: Observed) -> None:
    alone = observed.connect(opik={"enabled": False})
    await record_spans(alone, "before")
    assert await alone.shutdown()
    both = observed.connect()
    await record_spans(both, "after")
    assert await both.flush()
    assert observed.spans().keys() == {"before", "after"}
    assert observed.mirrored().keys() == {"after"}


@pytest.mark.parametrize("kind", IN_TEXT)
async def test_something_private_is_in_no_row_no_request_no_file_and_no_log(
    observed: Observed, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text, planted = IN_TEXT[kind]("Zk4hW9qLm2Tx", "Anna Keller")
    observed.opik.script_faults([faults.status(503)])
    connector = observed.connect()
    say_everywhere(connector, text, {"nested": [text], "password": "Zk4hW9qLm2Tx", "patient_name": "Anna Keller"})
    await connector.accepted()
    files = b"".join(path.read_bytes() for path in observed.spool.rglob("*") if path.is_file()).decode()
    assert await connector.flush()
    tables = ("ml_observability_spans", "ml_observability_feedback", "ml_observability_metrics")
    stored = json.dumps([observed.rows(table) for table in tables], default=str)
    sent = b"".join(request.body for request in observed.opik.requests).decode()
    assert [len(observed.rows(table)) for table in tables] == [3, 1, 1]
    places: dict[str, str] = {"file": files, "row": stored, "request": sent, "log": caplog.text}
    seen = {name for name, content in places.items() for secret in [*planted, "Zk4h", "Keller"] if secret in content}
    assert seen == set()


SIGNALS: dict[str, Callable[[OpikConnector], object]] = {
    "spans": lambda connector: connector.trace_agent("explainer", "work").__enter__().__exit__(None, None, None),
    "metrics": lambda connector: connector.log_metric("auc", 0.5),
    "feedback": lambda connector: connector.log_feedback(str(uuid7()), 1.0),
}


@pytest.mark.parametrize("signal", SIGNALS)
async def test_more_than_one_request_holds_arrives_completely(observed: Observed, signal: str) -> None:
    connector = observed.connect(batching={"max_batch_size": 40})
    for _ in range(150):
        SIGNALS[signal](connector)
    assert await connector.flush(30)
    sinks = connector.get_status()["sinks"]
    assert {name: (one["accepted"], one["delivered"], one["adds_up"]) for name, one in sinks.items()} == {
        "database": (150, 150, True),
        "opik": (150, 150, True),
    }
