"""Do compositions appear in the traces: their question, their four phases under them, and how they ended?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from src.agents.tool_composer.opik_tracer import (
    PHASES,
    PROJECT,
    SUCCESS_RATE,
    PhaseSpanContext,
    ToolComposerOpikTracer,
    get_tool_composer_tracer,
    reset_tool_composer_tracer,
    traced_composition,
)
from src.errors import ConfigError, ContractViolation, DataUnavailable, ServiceOutage
from src.mlops.opik_connector import OpikConnector, get_opik_connector, reset_opik_connector
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.opik_sink import OpikSink
from src.mlops.tracing.orphans import find_orphans
from src.mlops.tracing.recorder import share
from src.mlops.tracing.records import Kind, MemorySink
from src.resilience.circuit_breaker import CircuitBreaker
from src.scripted_servers import faults
from src.scripted_servers.opik import ScriptedOpik
from tests.traces import memory_connector
from tests.unit.test_agents.test_tool_composer.parts import ONE_FACET, Datasets, GapArguments, compose, tool, tools
from tests.unit.test_mlops.recorded import connector_on, settings

Traced = tuple[OpikConnector, MemorySink]


@pytest.fixture
async def traced() -> AsyncIterator[Traced]:
    connector, sink = memory_connector()
    yield connector, sink
    await connector.shutdown(2)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A process without a tracer or connector, on a folder of its own."""
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    reset_opik_connector()
    reset_tool_composer_tracer()
    yield
    reset_tool_composer_tracer()
    reset_opik_connector()


async def spans(traced: Traced) -> dict[str, dict[str, Any]]:
    assert await traced[0].flush()
    assert find_orphans(traced[1].spans) == []
    return {span["operation_type"]: span for span in traced[1].spans}


def connected(server: ScriptedOpik, folder: Path, primary: MemorySink) -> OpikConnector:
    """A connector that delivers to a sink in memory and mirrors to a server."""
    config = settings(opik={"enabled": True, "url": server.url})
    mirror = OpikSink(config.opik, breaker=CircuitBreaker("opik"))
    return OpikConnector(config, sinks=[primary, mirror], spool=folder / "spool")


async def phase_attributes(traced: Traced, name: str, log: Any, **settings_: Any) -> dict[str, Any]:
    tracer = ToolComposerOpikTracer(connector=traced[0], **settings_)
    async with tracer.trace_composition() as composition, composition.trace_phase(name) as phase:
        log(phase)
    attributes: dict[str, Any] = (await spans(traced))[name]["attributes"]
    return attributes


async def test_the_four_phases_are_spans_under_their_composition_in_its_own_project(traced: Traced) -> None:
    async with ToolComposerOpikTracer(connector=traced[0]).trace_composition("why?") as composition:
        for name in PHASES:
            async with composition.trace_phase(name):
                pass
    kept = await spans(traced)
    assert kept["compose"]["parent_span_id"] is None
    assert {kept[name]["parent_span_id"] for name in PHASES} == {composition.span_id}
    assert {span["trace_id"] for span in kept.values()} == {composition.trace_id}
    assert {span["attributes"]["opik.project_name"] for span in kept.values()} == {PROJECT}
    assert {span["agent_name"] for span in kept.values()} == {"tool_composer"}


async def test_the_question_is_the_input_of_the_composition(traced: Traced) -> None:
    async with ToolComposerOpikTracer(connector=traced[0]).trace_composition("where are gaps?"):
        pass
    assert (await spans(traced))["compose"]["attributes"]["input"] == {"query": "where are gaps?"}


async def test_a_project_of_ones_own_is_used(traced: Traced) -> None:
    async with ToolComposerOpikTracer("another", connector=traced[0]).trace_composition():
        pass
    assert (await spans(traced))["compose"]["attributes"]["opik.project_name"] == "another"


async def test_a_trace_id_given_begins_that_trace(traced: Traced) -> None:
    wanted = str(uuid7())
    async with ToolComposerOpikTracer(connector=traced[0]).trace_composition(trace_id=wanted) as composition:
        assert composition.trace_id == wanted
    assert (await spans(traced))["compose"]["trace_id"] == wanted


async def test_inside_an_orchestrated_answer_the_composition_is_a_child(traced: Traced) -> None:
    with traced[0].trace_agent("orchestrator", "dispatch") as outer:
        async with ToolComposerOpikTracer(connector=traced[0]).trace_composition():
            pass
    assert (await spans(traced))["compose"]["parent_span_id"] == outer.span_id


async def test_a_phase_that_compositions_do_not_have_is_refused_by_name(traced: Traced) -> None:
    async with ToolComposerOpikTracer(connector=traced[0]).trace_composition() as composition:
        with pytest.raises(ContractViolation, match="no phase 'synthesise'.*synthesize"):
            async with composition.trace_phase("synthesise"):
                pass


async def test_decomposition_is_logged_as_counts_and_texts(traced: Traced) -> None:
    def log(phase: PhaseSpanContext) -> None:
        phase.log_decomposition(["gaps?", "risk?"], ["performance_gap", "prediction"], "llm")

    kept = await phase_attributes(traced, "decompose", log)
    assert (kept["sub_question_count"], kept["intents"], kept["source"]) == (
        2,
        ["performance_gap", "prediction"],
        "llm",
    )
    assert kept["output"] == {"sub_questions": ["gaps?", "risk?"]}


async def test_planning_is_logged_with_its_tools_order_and_source(traced: Traced) -> None:
    def log(phase: PhaseSpanContext) -> None:
        phase.log_planning(["a", "b"], "cache", dependencies=1, plan_id="p-1", arguments=[{"by": "region"}, {}])

    kept = await phase_attributes(traced, "plan", log)
    assert (kept["step_count"], kept["tools"], kept["source"]) == (2, ["a", "b"], "cache")
    assert (kept["dependency_count"], kept["plan_id"]) == (1, "p-1")
    assert kept["output"] == {"arguments": [{"by": "region"}, {}]}


async def test_a_plan_that_is_not_kept_has_no_id(traced: Traced) -> None:
    kept = await phase_attributes(traced, "plan", lambda phase: phase.log_planning(["a"]))
    assert "plan_id" not in kept


async def test_execution_is_logged_by_step_with_the_kinds_of_errors_only(traced: Traced) -> None:
    def log(phase: PhaseSpanContext) -> None:
        phase.log_execution(
            {0: "success", 1: "failed", 2: "skipped"}, retries=2, latencies_ms={0: 1.5}, errors={1: "EstimationError"}
        )

    kept = await phase_attributes(traced, "execute", log)
    assert [kept[f"{name}_count"] for name in ("success", "failed", "skipped", "step")] == [1, 1, 1, 3]
    assert (kept["retries"], kept["errors"]) == (2, {"1": "EstimationError"})
    assert kept["statuses"] == {"0": "success", "1": "failed", "2": "skipped"}
    assert kept["latencies_ms"] == {"0": 1.5}


async def test_synthesis_is_logged_with_who_told_it_and_how_sure(traced: Traced) -> None:
    def log(phase: PhaseSpanContext) -> None:
        phase.log_synthesis("It rose.", confidence=0.7, source="llm", caveats=2, figures=3)

    kept = await phase_attributes(traced, "synthesize", log)
    assert (kept["source"], kept["confidence"], kept["caveat_count"], kept["figure_count"]) == ("llm", 0.7, 2, 3)
    assert (kept["answer_characters"], kept["output"]) == (8, {"answer": "It rose."})


async def test_what_was_logged_can_be_read_from_the_contexts(traced: Traced) -> None:
    async with ToolComposerOpikTracer(connector=traced[0]).trace_composition() as composition:
        async with composition.trace_phase("synthesize") as phase:
            phase.log_synthesis("short")
        composition.log_composition_complete("completed", steps=1, succeeded=1)
    said = composition.to_dict()
    assert [one["phase"] for one in said["phases"]] == ["synthesize"]
    assert said["phases"][0]["answer_characters"] == 5
    assert (said["status"], said["trace_id"]) == ("completed", composition.trace_id)


async def test_the_end_is_recorded_on_the_composition_and_as_a_metric_of_its_trace(traced: Traced) -> None:
    async with ToolComposerOpikTracer(connector=traced[0]).trace_composition() as composition:
        composition.log_composition_complete(
            "partial", sub_questions=2, steps=4, succeeded=3, retries=1, confidence=0.6, duration_ms=12.5
        )
    kept = (await spans(traced))["compose"]["attributes"]
    assert (kept["status"], kept["step_count"], kept["succeeded_count"]) == ("partial", 4, 3)
    assert (kept["sub_question_count"], kept["retries"], kept["confidence"], kept["duration_ms"]) == (2, 1, 0.6, 12.5)
    [metric] = traced[1].of(Kind.METRIC)
    assert (metric["name"], metric["value"], metric["trace_id"]) == (SUCCESS_RATE, 0.75, composition.trace_id)


async def test_a_composition_without_steps_has_no_success_rate(traced: Traced) -> None:
    async with ToolComposerOpikTracer(connector=traced[0]).trace_composition() as composition:
        composition.log_composition_complete("failed")
    await spans(traced)
    assert traced[1].of(Kind.METRIC) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(DataUnavailable("no rows"), "error"), (TimeoutError("late"), "timeout"), (KeyError("x"), "error")],
)
async def test_an_exception_leaves_unchanged_and_is_on_phase_and_composition(
    traced: Traced, error: Exception, status: str
) -> None:
    async def failing() -> None:
        tracer = ToolComposerOpikTracer(connector=traced[0])
        async with tracer.trace_composition() as composition, composition.trace_phase("execute"):
            raise error

    with pytest.raises(type(error)) as caught:
        await failing()
    assert caught.value is error
    kept = await spans(traced)
    assert {kept[name]["status"] for name in ("compose", "execute")} == {status}
    assert kept["execute"]["error_type"] == type(error).__name__


async def test_a_tracer_that_is_not_enabled_records_nothing_and_yields_usable_contexts(traced: Traced) -> None:
    async with ToolComposerOpikTracer(enabled=False, connector=traced[0]).trace_composition("q") as composition:
        async with composition.trace_phase("plan") as phase:
            phase.log_planning(["a"])
        composition.log_composition_complete("completed", steps=1, succeeded=1)
    assert phase.logged["step_count"] == 1
    assert composition.completed["status"] == "completed"
    assert await traced[0].flush()
    assert (traced[1].spans, traced[1].of(Kind.METRIC)) == ([], [])


async def test_outside_the_sample_counts_are_recorded_and_texts_are_not(traced: Traced) -> None:
    tracer = ToolComposerOpikTracer(connector=traced[0], sample_rate=0.0)
    async with tracer.trace_composition("secret") as composition, composition.trace_phase("decompose") as phase:
        phase.log_decomposition(["secret"])
    kept = await spans(traced)
    assert kept["decompose"]["attributes"]["sub_question_count"] == 1
    assert composition.detailed is False
    assert "secret" not in str(kept)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
async def test_the_sample_is_a_stable_share_of_the_traces(traced: Traced, rate: float) -> None:
    tracer = ToolComposerOpikTracer(connector=traced[0], sample_rate=rate)
    for trace_id in [str(uuid7()) for _ in range(20)]:
        for _ in range(2):
            async with tracer.trace_composition(trace_id=trace_id) as composition:
                assert composition.detailed is (share(trace_id) < rate)


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        ToolComposerOpikTracer(sample_rate=rate)


def test_a_project_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="project"):
        ToolComposerOpikTracer(" ")


async def test_compositions_at_the_same_time_keep_their_phases_apart(traced: Traced) -> None:
    tracer = ToolComposerOpikTracer(connector=traced[0])

    async def one(number: int) -> tuple[str, str]:
        traced_one = tracer.trace_composition(metadata={"number": number})
        async with traced_one as composition, composition.trace_phase("plan") as phase:
            await asyncio.sleep(0)
            phase.log_planning([f"tool {number}"])
        return composition.span_id, f"tool {number}"

    made = dict(await asyncio.gather(*(one(number) for number in range(6))))
    await spans(traced)
    plans = [span for span in traced[1].spans if span["operation_type"] == "plan"]
    assert {span["parent_span_id"]: span["attributes"]["tools"][0] for span in plans} == made


async def test_a_decorated_function_runs_inside_a_composition_named_for_it(traced: Traced) -> None:
    @traced_composition(tracer=ToolComposerOpikTracer(connector=traced[0]))
    async def monthly_review(brand: str) -> str:
        """Reviews."""
        return f"{brand} reviewed"

    assert await monthly_review("Kisqali") == "Kisqali reviewed"
    assert (monthly_review.__name__, monthly_review.__doc__) == ("monthly_review", "Reviews.")
    assert set(await spans(traced)) == {"monthly_review"}


async def test_a_decorated_functions_exception_comes_out_unchanged(traced: Traced) -> None:
    failure = ServiceOutage("away")

    @traced_composition(tracer=ToolComposerOpikTracer(connector=traced[0]))
    async def fails() -> None:
        raise failure

    with pytest.raises(ServiceOutage) as caught:
        await fails()
    assert caught.value is failure
    assert (await spans(traced))["fails"]["error_type"] == "ServiceOutage"


@pytest.mark.usefixtures("process")
async def test_without_arguments_the_decorator_uses_the_tracer_of_the_process() -> None:
    @traced_composition
    async def bare() -> int:
        span = get_opik_connector().current_span()
        assert span is not None
        assert (span.agent_name, span.operation) == ("tool_composer", "bare")
        return 7

    assert await bare() == 7


@pytest.mark.usefixtures("process")
def test_a_process_has_one_tracer_until_its_settings_change_or_it_is_reset() -> None:
    first = get_tool_composer_tracer()
    assert get_tool_composer_tracer() is first
    other = get_tool_composer_tracer("another", sample_rate=0.5)
    assert (other.project_name, other.sample_rate) == ("another", 0.5)
    assert get_tool_composer_tracer() is not first
    second = get_tool_composer_tracer()
    reset_tool_composer_tracer()
    assert get_tool_composer_tracer() is not second


@pytest.mark.usefixtures("process")
def test_a_tracer_without_a_connector_uses_that_of_the_process() -> None:
    assert get_tool_composer_tracer().connector is get_opik_connector()


async def test_the_graph_uses_its_node_spans_as_phases_with_what_they_logged() -> None:
    ran = await compose()
    found = [span for span in ran.sink.spans if span["operation_type"] in PHASES]
    [root] = [span for span in ran.sink.spans if span["operation_type"] == "compose"]
    assert [span["operation_type"] for span in found] == list(PHASES)
    assert {span["parent_span_id"] for span in found} == {root["span_id"]}
    by_name = {span["operation_type"]: span["attributes"] for span in found}
    assert by_name["decompose"]["intents"] == ["causal_effect", "performance_gap"]
    assert by_name["plan"]["tools"] == ["causal_effect_estimator", "gap_calculator"]
    assert by_name["execute"]["success_count"] == 2
    assert by_name["synthesize"]["output"]["answer"] == ran.result.answer
    assert (root["attributes"]["status"], root["attributes"]["succeeded_count"]) == ("completed", 2)
    assert root["attributes"]["opik.project_name"] == PROJECT
    assert find_orphans(ran.sink.spans) == []


async def test_every_tool_is_a_span_under_the_execution() -> None:
    ran = await compose()
    [execute] = [span for span in ran.sink.spans if span["operation_type"] == "execute"]
    steps = [span for span in ran.sink.spans if span["attributes"].get("span_type") == "tool"]
    assert sorted(span["operation_type"] for span in steps) == ["causal_effect_estimator", "gap_calculator"]
    assert {span["parent_span_id"] for span in steps} == {execute["span_id"]}


async def test_a_failed_step_is_an_error_on_its_span_and_counted_on_the_phase() -> None:
    def refuse(*_: Any) -> Any:
        raise DataUnavailable("nothing measured")

    ran = await compose(tools=tools(gap_calculator=tool("gap_calculator", refuse, GapArguments, frame="metrics")))
    by_name = {span["operation_type"]: span for span in ran.sink.spans}
    assert by_name["gap_calculator"]["status"] == "error"
    assert by_name["execute"]["attributes"]["failed_count"] == 1


async def test_a_question_that_is_not_understood_ends_with_its_first_phase() -> None:
    ran = await compose("effect of rep calls on NRx of Humira")
    assert ran.route == ["decompose"]
    [root] = [span for span in ran.sink.spans if span["operation_type"] == "compose"]
    assert root["attributes"]["status"] == "failed"


async def test_no_row_and_no_id_of_a_person_reaches_a_span() -> None:
    ran = await compose()
    assert "hcp_0000" not in str(ran.sink.spans)


async def test_a_composition_arrives_in_opik_with_phases_as_spans_in_its_project(tmp_path: Path) -> None:
    with ScriptedOpik() as server:
        connector = connected(server, tmp_path, MemorySink())
        async with ToolComposerOpikTracer(connector=connector).trace_composition("gaps?") as composition:
            for name in PHASES:
                async with composition.trace_phase(name):
                    pass
        assert await connector.flush(10)
        await connector.shutdown(5)
        trace = server.traces[composition.trace_id]
        phases = [span for span in server.spans.values() if span["trace_id"] == composition.trace_id]
    assert trace["project_name"] == PROJECT
    assert {span["name"] for span in phases} >= set(PHASES)


async def test_an_opik_that_fails_changes_neither_the_answer_nor_what_the_primary_sink_gets(tmp_path: Path) -> None:
    with ScriptedOpik() as server:
        server.fault = faults.status(503)
        primary = MemorySink()
        connector = connected(server, tmp_path, primary)
        tracer = ToolComposerOpikTracer(connector=connector)
        async with tracer.trace_composition() as composition, composition.trace_phase("plan") as phase:
            phase.log_planning(["a"])
        await connector.flush(0.3)
        await connector.shutdown(0.3)
    assert {span["operation_type"] for span in primary.spans} == {"compose", "plan"}


async def test_sampling_of_the_mirror_leaves_the_primary_sink_complete(tmp_path: Path) -> None:
    primary, mirror = MemorySink(), MemorySink("mirror", primary=False)
    connector = connector_on(tmp_path / "spool", primary, mirror, sampling={"default_rate": 0.0, "tier_rates": {}})
    tracer = ToolComposerOpikTracer(connector=connector)
    for _ in range(3):
        async with tracer.trace_composition():
            pass
    assert await connector.flush()
    await connector.shutdown(2)
    assert (len(primary.spans), mirror.spans) == (3, [])


async def test_datasets_that_are_missing_fail_the_steps_and_the_composition_says_so() -> None:
    ran = await compose(ONE_FACET, datasets=Datasets(other=Datasets().frames["hcp_month_panel"]))
    [root] = [span for span in ran.sink.spans if span["operation_type"] == "compose"]
    assert (ran.result.error.type if ran.result.error else None) == "DatasetNotFound"
    assert root["attributes"]["status"] == "failed"
