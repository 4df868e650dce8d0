"""A component that answers once more with other instructions, and what is said of that answer."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.agents.runtime import Deps
from src.app.improving.inputs import GivenInputs
from src.app.improving.replays import ModelJudge, PromptReplay
from src.app.improving.runners import ExplainerRunner, RagAnswerRunner, can_answer_again, runner_of
from src.domain.improvement import ChangeKind, LearningItem, Variant
from src.domain.prompts import FilePrompts
from src.domain.rubric import CRITERIA
from src.errors import BudgetExhausted, DataUnavailable
from src.llm.budget import Budget
from src.llm.client import LLMClient
from src.llm.configuration import load_llm_config
from src.llm.detection import client_over
from src.llm.scripted import ScriptedVendor
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.ids import uuid7
from src.rag.configuration import load_rag_config
from src.rag.evaluator import RAGASEvaluator
from src.resilience.outcomes import Unavailable
from src.scripted_servers.replies import Prompt, Reply
from tests.traces import memory_connector
from tests.unit.test_agents.test_explainer.parts import EFFECT, reply, request
from tests.unit.test_app.test_improving_inputs import answered

Says = Callable[[Prompt], Any]
HOLDS = reply("Calls are a sound basis for planning.", "Each call goes with 0.54 more NRx.")
INVENTED = reply("Each call adds 0.77 NRx.")
EVERYTHING = 4.0


@pytest.fixture
async def tracer() -> AsyncIterator[OpikConnector]:
    connector, _ = memory_connector()
    yield connector
    await connector.shutdown()


def client(says: Says, budget: Budget | None = None) -> LLMClient:
    config = load_llm_config(environ={})
    vendor = ScriptedVendor(lambda prompt: Reply.json(says(prompt)))
    models = dict.fromkeys(config.anthropic.models.by_purpose(), "gpt-5-mini")
    connector, _ = memory_connector()
    return client_over(vendor, config, models=models, prices=connector.config.prices, budget=budget)


def explained(**fields: Any) -> LearningItem:
    given = GivenInputs(frozenset({"explainer"}))
    given.explained(request(EFFECT, use_llm=True, **fields), {"explainer": 1})
    return item("explainer", given.documents["explainer"])


def from_documents() -> LearningItem:
    given = GivenInputs(frozenset({"rag_answer"}))
    given.answered("How are rep calls planned?", answered())
    return item("rag_answer", given.documents["rag_answer"])


def item(component: str, inputs: Any, number: int = 1) -> LearningItem:
    return LearningItem(
        interaction_id=f"0192ab3c-0000-7000-8000-0000000001{number:02d}",
        trace_id=str(uuid7()),
        component=component,
        query="What is the effect of rep calls on NRx?",
        answer="Rep calls raise NRx.",
        contexts=(),
        created_at=datetime(2026, 3, 2, tzinfo=UTC),
        inputs=inputs,
    )


def deps_of(tracer: OpikConnector) -> Callable[[str], Deps]:
    return lambda agent: Deps(None, tracer, "run-1", str(uuid7()))  # type: ignore[arg-type]


def explainer(tracer: OpikConnector, says: Says, budget: Budget | None = None) -> ExplainerRunner:
    return ExplainerRunner(client(says, budget), deps_of(tracer))


async def test_the_explainer_answers_its_earlier_findings_with_the_text_that_is_tried(tracer: OpikConnector) -> None:
    seen: list[Prompt] = []

    def says(prompt: Prompt) -> Any:
        seen.append(prompt)
        return HOLDS

    ran = await explainer(tracer, says).run("Write with care.", explained())
    assert [one.system for one in seen] == ["Write with care."]
    assert "Each call goes with 0.54 more NRx." in ran.answer
    assert ran.contexts == tuple(one.text for one in EFFECT.evidence)
    assert ran.problems == ()
    assert ran.tokens is not None
    assert ran.tokens > 100
    assert ran.cost_dollars is not None
    assert ran.cost_dollars > 0
    assert ran.latency_ms is not None
    assert ran.latency_ms > 0


async def test_a_text_that_makes_the_model_invent_numbers_is_a_problem(tracer: OpikConnector) -> None:
    ran = await explainer(tracer, lambda prompt: INVENTED).run("Be bold.", explained())
    assert len(ran.problems) == 1
    assert "no text of the model held" in ran.problems[0]
    assert "0.77" not in ran.answer


async def test_a_lost_caveat_and_a_person_are_problems(tracer: OpikConnector, monkeypatch: pytest.MonkeyPatch) -> None:
    import src.agents.explainer.nodes.generate_explanation as generating

    told = generating.explanation_of

    def forgetful(*given: Any) -> Any:
        explanation = told(*given)
        kept = explanation.detail.replace(EFFECT.statements[3].text, "Ask jane.doe@example.com.")
        return dataclasses.replace(explanation, detail=kept)

    monkeypatch.setattr(generating, "explanation_of", forgetful)
    ran = await explainer(tracer, lambda prompt: HOLDS).run("Write.", explained())
    assert [one.split(":")[0] for one in ran.problems] == [
        "a caveat was lost",
        "a person's e-mail address is in the answer",
    ]


@pytest.mark.parametrize("component", ["explainer", "rag_answer"])
async def test_a_model_out_of_reach_is_no_answer_of_the_text_that_is_tried(
    tracer: OpikConnector, component: str
) -> None:
    class Away:
        provider = "anthropic"

        async def complete(self, messages: Any, **options: Any) -> Unavailable:
            return Unavailable("llm", "connection refused")

    runner = runner_of(component, Away(), tracer, deps_of(tracer))  # type: ignore[arg-type]
    with pytest.raises(DataUnavailable, match="connection refused"):
        await runner.run("Write.", explained() if component == "explainer" else from_documents())


async def test_a_spent_budget_ends_the_run_instead_of_being_told_by_template(tracer: OpikConnector) -> None:
    with pytest.raises(BudgetExhausted):
        await explainer(tracer, lambda prompt: HOLDS, Budget(max_tokens=50)).run("Write.", explained())


async def test_documents_are_answered_from_the_passages_that_were_found_then(tracer: OpikConnector) -> None:
    seen: list[Prompt] = []

    def says(prompt: Prompt) -> Any:
        seen.append(prompt)
        quote = "Rep calls are planned by decile"
        return {"sentences": [{"text": quote + ".", "sources": [{"document": 1, "quote": quote}]}], "missing": ""}

    runner = RagAnswerRunner(client(says), tracer, load_rag_config().answering)
    ran = await runner.run("Answer briefly.", from_documents())
    assert (seen[0].system, ran.problems) == ("Answer briefly.", ())
    assert ran.answer == "Rep calls are planned by decile. [1]"
    assert ran.contexts == ("Rep calls are planned by decile.", "Two e-mails a month go out.")


def test_a_component_that_keeps_no_inputs_cannot_be_tried(tracer: OpikConnector) -> None:
    with pytest.raises(DataUnavailable, match="prompt of tool_composer cannot be tried"):
        runner_of("tool_composer", client(lambda prompt: HOLDS), tracer, deps_of(tracer))


@pytest.mark.parametrize(
    ("component", "inputs", "can"),
    [
        ("explainer", None, True),
        ("rag_answer", None, False),
        ("explainer", {}, False),
        ("explainer", {"query": "q", "results": [], "of_another_version": 1}, False),
        ("tool_composer", None, False),
    ],
)
def test_what_was_not_kept_or_cannot_be_read_cannot_be_answered_again(component: str, inputs: Any, can: bool) -> None:
    kept = explained() if inputs is None else item(component, inputs)
    assert can_answer_again(component, kept) is can


def judged_as(score: float) -> dict[str, Any]:
    one = {"reasoning": "as the text says", "evidence_quote": "", "score": score}
    return {**dict.fromkeys(CRITERIA, one), "suggestion": ""}


def replay(tracer: OpikConnector, judges: Says, says: Says) -> PromptReplay:
    judge = ModelJudge(
        "anthropic:judge", client(judges), load_self_improvement(), FilePrompts(), RAGASEvaluator(), scoring=None
    )
    runner = explainer(tracer, says)
    return PromptReplay(lambda component: runner, judge, max_concurrent=2)


def variant(text: str) -> Variant:
    return Variant("explainer", ChangeKind.PROMPT, {"text": text})


async def test_a_wording_is_scored_item_by_item_by_the_model_that_judges(tracer: OpikConnector) -> None:
    def judges(prompt: Prompt) -> Any:
        return judged_as(EVERYTHING if "sound basis" in prompt.last else 2.0)

    def says(prompt: Prompt) -> Any:
        return HOLDS if "care" in prompt.system else reply("That is what was found.")

    items = [dataclasses.replace(explained(), interaction_id=f"item-{number}") for number in range(3)]
    trial = replay(tracer, judges, says)
    good, poor = [await trial.scores(variant(text), items) for text in ("Write with care.", "Write.")]
    assert [one.item_id for one in good] == ["item-0", "item-1", "item-2"]
    assert ([one.target for one in good], [one.target for one in poor]) == ([EVERYTHING] * 3, [2.0] * 3)
    assert good[0].metrics == dict.fromkeys(CRITERIA, EVERYTHING)
    assert trial.judge == "anthropic:judge"


async def test_a_judgement_that_cannot_be_used_is_unmeasured_and_never_by_rules(tracer: OpikConnector) -> None:
    replies = iter([judged_as(EVERYTHING), *[{"nothing": "useful"}] * 20])
    items = [dataclasses.replace(explained(), interaction_id=f"item-{number}") for number in range(2)]
    trial = dataclasses.replace(replay(tracer, lambda prompt: next(replies), lambda prompt: HOLDS), max_concurrent=1)
    first, second = await trial.scores(variant("Write."), items)
    assert (first.target, second.target, second.metrics) == (EVERYTHING, None, {})


async def test_without_any_judgement_there_is_no_test(tracer: OpikConnector) -> None:
    trial = replay(tracer, lambda prompt: {"nothing": "useful"}, lambda prompt: HOLDS)
    with pytest.raises(DataUnavailable, match="judged none of 1 answers"):
        await trial.scores(variant("Write."), [explained()])


async def test_items_that_cannot_be_read_are_unmeasured_and_all_of_them_no_test(tracer: OpikConnector) -> None:
    trial = replay(tracer, lambda prompt: judged_as(EVERYTHING), lambda prompt: HOLDS)
    broken = item("explainer", {"of": "another version"}, 2)
    scores = await trial.scores(variant("Write."), [explained(), broken])
    assert [one.target for one in scores] == [EVERYTHING, None]
    with pytest.raises(DataUnavailable, match="none of the 1 questions can be answered again"):
        await trial.scores(variant("Write."), [broken])
