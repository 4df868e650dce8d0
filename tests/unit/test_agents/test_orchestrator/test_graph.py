"""The compiled orchestrator graph: its routes, its results and its spans."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from typing import Any, get_type_hints

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from src.agents.orchestrator import nodes
from src.agents.orchestrator.agent import OrchestratorAgent, checkpoint_serializer
from src.agents.orchestrator.graph import after_audit, after_classify, after_context, after_route
from src.agents.orchestrator.state import ContextChunk, OrchestratorState, OrchestratorUpdate, Pattern
from src.agents.runtime import NodeError
from src.domain.findings import Finding, FindingStatus
from src.errors import ConfigError, ContractViolation, DataUnavailable, EstimationError, ServiceOutage
from src.mlops.tracing.orphans import find_orphans
from tests.unit.test_agents.test_orchestrator.parts import (
    EFFECT,
    SEVERAL,
    Desk,
    Scribe,
    desk,
    fail,
    finding,
)

WHOLE = ["audit_init", "classify", "rag_context", "route", "dispatch", "synthesize", "run"]
SHORT = ["audit_init", "classify", "synthesize", "run"]


@pytest.mark.parametrize(
    ("query", "pattern", "route"),
    [
        (EFFECT, Pattern.SINGLE_AGENT, WHOLE),
        (SEVERAL, Pattern.PARALLEL_DELEGATION, WHOLE),
        ("Where should ten extra reps go?", Pattern.TOOL_COMPOSER, WHOLE),
        ("What is the effect of rep calls?", Pattern.CLARIFICATION_NEEDED, SHORT),
        ("Do rep calls raise NRx of Humira?", Pattern.DECLINED, SHORT),
    ],
)
async def test_each_pattern_takes_its_route_under_one_run_span(query: str, pattern: Pattern, route: list[str]) -> None:
    result, sink = await desk().traced(query)
    assert result.classification is not None
    assert result.classification.pattern is pattern
    assert [span["operation_type"] for span in sink.spans] == route
    assert {span["parent_span_id"] for span in sink.spans[:-1]} == {sink.spans[-1]["span_id"]}
    assert find_orphans(sink.spans) == []


def test_every_key_a_node_returns_is_declared_in_the_state() -> None:
    declared = set(get_type_hints(OrchestratorState, include_extras=True))
    assert set(get_type_hints(OrchestratorUpdate, include_extras=True)) == declared


async def test_every_key_of_the_state_arrives_at_the_end_of_a_run() -> None:
    saver = InMemorySaver(serde=checkpoint_serializer())
    made = desk(saver=saver)
    await made.ask(EFFECT)
    graph = made.agent._graph
    state = (await graph.aget_state({"configurable": {"thread_id": "s1"}})).values
    assert set(state) == set(get_type_hints(OrchestratorState))


class BrokenGuards:
    def screen(self, question: str) -> None:
        raise ConfigError("config/guards.yaml cannot be read")


async def test_a_failure_before_anyone_is_asked_ends_in_words_and_a_failed_status() -> None:
    made = desk(guards=BrokenGuards())
    result, sink = await made.traced(EFFECT)
    assert [span["operation_type"] for span in sink.spans] == SHORT
    assert result.answer == "No answer can be given: config/guards.yaml cannot be read"
    assert (result.meta.status, result.error and result.error.node) == ("failed", "classify")
    assert not any(expert.tasks for expert in made.experts.values())


def test_a_run_whose_trail_cannot_be_kept_asks_nobody() -> None:
    failed = NodeError("DatabaseUnavailable", "away", "audit_init")
    assert [one({"error": failed}) for one in (after_audit, after_classify, after_context, after_route)] == [
        "synthesize"
    ] * 4
    assert after_audit({}) == "classify"


def test_each_node_says_which_question_it_answers() -> None:
    for found in pkgutil.iter_modules(nodes.__path__):
        module = importlib.import_module(f"{nodes.__name__}.{found.name}")
        assert (module.__doc__ or "").splitlines()[0].rstrip().endswith("?"), found.name


async def test_an_effect_is_given_to_causal_impact_as_it_was_understood() -> None:
    made = desk()
    await made.ask("Do rep calls raise NRx of Kisqali in the South?", role="field")
    (task,) = made.experts["causal_impact"].tasks
    assert task.understood is not None
    assert (task.understood.treatment, task.understood.outcome) == ("rep_calls", "nrx")
    assert (task.brand, task.region, task.role) == ("Kisqali", "south", "field")
    assert not made.experts["tool_composer"].tasks


async def test_brand_and_region_of_the_request_hold_where_the_question_names_none() -> None:
    made = desk()
    await made.ask("Do rep calls raise NRx in the South?", brand="Fabhalta", region="west")
    (task,) = made.experts["causal_impact"].tasks
    assert task.understood is not None
    assert (task.brand, task.understood.brand, task.region) == ("Fabhalta", "Fabhalta", "south")


async def test_agents_of_one_group_work_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def meets(task: Any) -> Finding:
        await both.wait()
        return finding(task)

    result = await desk(does={"causal_impact": meets, "observability_connector": meets}).ask(SEVERAL)
    assert [one.status for one in result.dispatches] == ["completed", "completed"]
    assert {one.priority for one in result.dispatches} == {1}


async def test_an_agent_that_is_not_there_is_named_and_lowers_the_confidence() -> None:
    result = await desk(agents=("causal_impact", "explainer")).ask(SEVERAL)
    assert "observability_connector is unavailable" in result.answer
    assert "causal_impact found 0.54" in result.answer
    assert result.confidence == pytest.approx(0.4)
    assert result.meta.status == "partial"
    assert any("observability_connector" in line for line in result.meta.degraded)
    assert {one.agent: one.status for one in result.dispatches} == {
        "causal_impact": "completed",
        "observability_connector": "unavailable",
    }


async def test_feedback_without_its_agent_says_that_it_is_unavailable() -> None:
    result = await desk().ask("That last answer was wrong")
    assert "feedback_learner is unavailable" in result.answer
    assert result.meta.status == "failed"
    assert result.confidence is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ServiceOutage("the server is away"), "unavailable"),
        (DataUnavailable("no panel is loaded"), "unavailable"),
        (EstimationError("too few rows"), "declined"),
        (ConfigError("the file is wrong"), "failed"),
        (KeyError("column"), "failed"),
        (TimeoutError("its own wait ended"), "failed"),
    ],
)
async def test_a_failing_agent_costs_its_own_part_only(error: Exception, status: str) -> None:
    result = await desk(does={"causal_impact": fail(error)}).ask(SEVERAL)
    told = {one.agent: one for one in result.dispatches}
    assert told["causal_impact"].status == status
    assert str(error).strip("'") in told["causal_impact"].reason
    assert told["observability_connector"].status == "completed"
    assert "causal_impact" in result.answer
    assert "observability_connector found" in result.answer


async def test_a_crash_is_recorded_with_its_type() -> None:
    result = await desk(does={"causal_impact": fail(ZeroDivisionError("division"))}).ask(SEVERAL)
    assert result.dispatches[0].reason == "it stopped with ZeroDivisionError: division"


async def test_an_agent_that_takes_too_long_is_told_of_and_stopped() -> None:
    stopped = asyncio.Event()

    async def never(task: Any) -> Finding:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return finding(task)

    made = desk(does={"causal_impact": never}, budgets={"causal_impact": 0.01})
    result = await made.ask(SEVERAL)
    told = {one.agent: one for one in result.dispatches}
    assert told["causal_impact"].status == "timeout"
    assert told["observability_connector"].status == "completed"
    assert "did not answer in time" in result.answer
    assert stopped.is_set()


async def test_the_time_of_the_whole_answer_ends_an_agent_before_it_ends_the_run() -> None:
    async def never(task: Any) -> Finding:
        await asyncio.Event().wait()
        return finding(task)

    result, _ = await desk(does={"causal_impact": never}).traced(EFFECT, timeouts={"dispatch": 0.5})
    assert result.dispatches[0].status == "timeout"
    assert result.error is None


async def test_cancellation_reaches_the_agents_and_leaves_unchanged() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def waits(task: Any) -> Finding:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return finding(task)

    running = asyncio.create_task(desk(does={"causal_impact": waits}).ask(SEVERAL))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_a_fallback_answers_in_place_of_an_agent_that_is_away_and_both_are_told() -> None:
    made = desk(does={"tool_composer": fail(ServiceOutage("away"))})
    segments = made.services.vocabulary.intents["segment_analysis"].agents  # type: ignore[index]
    assert segments == ("tool_composer", "causal_impact")
    result = await made.ask("Which segments respond best to rep visits?")
    # No effect was understood, so causal_impact cannot stand in.
    assert [one.agent for one in result.dispatches] == ["tool_composer"]
    assert result.findings[0].status is FindingStatus.UNAVAILABLE


async def test_a_number_that_no_finding_has_is_never_passed_on() -> None:
    result = await desk(scribe=Scribe("Rep calls add 7.31 NRx.")).ask(EFFECT)
    assert "7.31" not in result.answer
    assert "causal_impact found 0.54" in result.answer
    assert "It rests on observed data." in result.answer
    assert any("7.31" in line for line in result.meta.degraded)
    assert result.recommendations == ("Confirm it with a hold-out.",)
    assert result.citations == ("run:causal_impact",)


@pytest.mark.parametrize("says", [ServiceOutage("the model is away"), "   "])
async def test_without_a_written_answer_the_findings_speak_for_themselves(says: Any) -> None:
    result = await desk(scribe=Scribe(says)).ask(EFFECT)
    assert "causal_impact found 0.54" in result.answer
    assert any(line.startswith("answer: in the findings' own words") for line in result.meta.degraded)


async def test_a_number_of_the_findings_may_be_written() -> None:
    result = await desk(scribe=Scribe("Each call adds 0.5 NRx; 2 further caveats in the full answer.")).ask(EFFECT)
    assert result.answer.startswith("Each call adds 0.5 NRx")
    assert result.meta.status == "completed"


async def test_an_assumption_is_said_in_the_answer() -> None:
    result = await desk().ask("Do rep calls raise NRx?")
    assert "Assumed: no brand was named: all brands together." in result.answer


async def test_the_reader_named_in_the_question_is_written_for() -> None:
    made = desk()
    await made.ask("Do triggers raise NRx of Kisqali? Please write it up for an executive.")
    assert made.scribe.requests[0].user_expertise == "executive"
    assert made.experts["causal_impact"].tasks[0].expertise == "executive"


async def test_a_declined_question_says_why_and_reaches_no_agent() -> None:
    made = desk()
    result = await made.ask("What dose of Kisqali should my mother take?")
    assert result.classification is not None
    assert result.classification.rule == "clinical_advice"
    assert result.declined is not None
    assert result.declined in result.answer
    assert not any(expert.tasks for expert in made.experts.values())


async def test_a_question_back_offers_what_there_is_to_choose_from() -> None:
    result = await desk().ask("What is the effect of rep calls?")
    assert result.clarification is not None
    assert "new prescriptions (NRx)" in result.options
    assert all(option in result.answer for option in result.options)


class Corpus:
    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.asked: list[Any] = []

    async def passages(self, query: str, *, k: int, brand: str | None, region: str | None) -> Any:
        self.asked.append((query, k, brand, region))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is None:
            await asyncio.Event().wait()
        return self.outcome


async def test_five_passages_are_asked_for_with_brand_and_region() -> None:
    corpus = Corpus([ContextChunk("c1", 0.5, "plan", "text")])
    result = await desk(contexts=corpus).ask("Do rep calls raise NRx of Kisqali in the South?")
    assert corpus.asked[0][1:] == (5, "Kisqali", "south")
    assert result.meta.warnings == ()


@pytest.mark.parametrize("outcome", [None, ServiceOutage("the index is away")])
async def test_an_answer_does_not_wait_for_documents(outcome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = importlib.import_module("src.agents.orchestrator.nodes.retrieve_context")
    monkeypatch.setattr(node, "SECONDS", 0.01)
    result = await desk(contexts=Corpus(outcome)).ask(EFFECT)
    assert "causal_impact found 0.54" in result.answer
    assert len(result.meta.warnings) == 1
    assert result.meta.warnings[0].startswith("answered without documents")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"query": "?", "session_id": "s", "colour": "red"}, "colour"),
        ({"query": "?"}, "session_id"),
        ({"query": " ", "session_id": "s"}, "query"),
        ({"query": "?", "session_id": "x" * 300}, "session_id"),
    ],
)
async def test_a_request_that_is_not_valid_is_refused(raw: dict[str, Any], said: str) -> None:
    made = desk()
    with pytest.raises(ContractViolation, match=said):
        await made.agent.run(raw, None)  # type: ignore[arg-type]


async def test_a_request_may_come_as_json() -> None:
    made: Desk = desk()
    result = await made.ask(EFFECT)
    assert result.session_id == "s1"
    assert (OrchestratorAgent.agent_name, OrchestratorAgent.tier) == ("orchestrator", 1)
    assert isinstance(made.agent.sla_seconds, float)
