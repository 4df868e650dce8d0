"""What a session remembers, and that no other session knows it."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from src.agents.orchestrator.agent import OrchestratorAgent, checkpoint_serializer
from src.agents.orchestrator.state import MOST_TOLD, MOST_TURNS, Pattern, Turn, last_turns
from src.domain.findings import Finding, FindingStatus
from tests.unit.test_agents.test_orchestrator.parts import EFFECT, Desk, desk


async def test_a_follow_up_is_answered_with_what_it_leaves_out() -> None:
    made = desk()
    await made.ask("Do rep calls raise NRx of Kisqali in the Northeast?")
    result = await made.ask("and in the South?")
    assert result.classification is not None
    assert "rep calls" in result.classification.resolved
    understood = made.experts["causal_impact"].tasks[1].understood
    assert understood is not None
    assert (understood.treatment, understood.brand, understood.region) == ("rep_calls", "Kisqali", "south")


async def test_sessions_do_not_see_one_anothers_turns() -> None:
    made = desk()
    await made.ask("Do rep calls raise NRx of Kisqali in the Northeast?", session="mine")
    result = await made.ask("and in the South?", session="yours")
    assert result.classification is not None
    assert (result.classification.pattern, result.classification.rule) == (Pattern.CLARIFICATION_NEEDED, "reference")
    assert len(made.experts["causal_impact"].tasks) == 1


async def test_without_a_checkpointer_nothing_is_remembered() -> None:
    made = desk(remembers=False)
    await made.ask(EFFECT)
    result = await made.ask("and in the South?")
    assert result.clarification is not None


async def test_why_is_asked_of_the_last_findings_and_leaves_the_question_in_place() -> None:
    made = desk()
    await made.ask("Do rep calls raise NRx of Kisqali in the Northeast?")
    await made.ask("why?")
    (task,) = made.experts["explainer"].tasks
    assert [one.agent for one in task.prior] == ["causal_impact"]
    assert task.prior[0].headline == "causal_impact found 0.54."
    await made.ask("for an executive")
    assert [one.agent for one in made.experts["explainer"].tasks[1].prior] == ["causal_impact"]
    assert made.experts["explainer"].tasks[1].expertise == "executive"
    await made.ask("and in the South?")
    assert made.experts["causal_impact"].tasks[1].region == "south"


async def test_a_declined_question_does_not_take_the_place_of_the_one_before() -> None:
    made = desk()
    await made.ask("Do rep calls raise NRx of Kisqali in the Northeast?")
    await made.ask("and in Canada?")
    result = await made.ask("and in the South?")
    assert result.classification is not None
    assert result.classification.pattern is Pattern.SINGLE_AGENT


@pytest.mark.parametrize(
    ("question", "reply", "expected"),
    [
        ("What is the effect of rep calls?", "on new prescriptions of Kisqali", ("rep_calls", "nrx", "Kisqali")),
        ("What is the effect of rep calls?", "TRx", ("rep_calls", "trx", None)),
        ("What is the effect of rep calls for Kisqali?", "the second", ("rep_calls", "nrx", "Kisqali")),
        ("What is the effect on NRx for Kisqali?", "samples", ("samples", "nrx", "Kisqali")),
        ("What is the effect on NRx for Kisqali?", "1", ("rep_calls", "nrx", "Kisqali")),
        ("Do touchpoints raise NRx of Kisqali?", "e-mail opens", ("email_opens", "nrx", "Kisqali")),
        ("Do samples affect market share of Kisqali?", "TRx", ("samples", "trx", "Kisqali")),
        ("Does NRx drive rep calls for Fabhalta?", "yes", ("rep_calls", "nrx", "Fabhalta")),
        ("Do rep calls raise NRx of Kisqali outside the Northeast?", "the West", ("rep_calls", "nrx", "Kisqali")),
        ("Kisqali?", "effect of samples on TRx", ("samples", "trx", "Kisqali")),
    ],
)
async def test_the_reply_to_a_question_back_completes_the_question(
    question: str, reply: str, expected: tuple[str | None, ...]
) -> None:
    made = desk()
    assert (await made.ask(question)).clarification is not None
    result = await made.ask(reply)
    assert result.clarification is None, result.answer
    understood = made.experts["causal_impact"].tasks[0].understood
    assert understood is not None
    assert (understood.treatment, understood.outcome, understood.brand) == expected


async def test_a_year_given_back_completes_the_period() -> None:
    made = desk()
    await made.ask("Do rep calls raise NRx of Kisqali in Q3?")
    await made.ask("2024")
    understood = made.experts["causal_impact"].tasks[0].understood
    assert understood is not None
    assert str(understood.period) == "2024-07 to 2024-09"


@pytest.mark.parametrize(
    ("question", "unclear", "said"),
    [
        ("What is the effect of rep calls on Kisqali?", "hm, whatever you like", "no outcome was named"),
        ("Do touchpoints raise NRx of Kisqali?", "I do not know", "'touchpoints' read as rep calls"),
        ("Do rep calls raise NRx of Kisqali in Q3?", "no idea", "'Q3' read as 2025-07 to 2025-09"),
    ],
)
async def test_a_second_unclear_turn_is_answered_as_best_it_can_be_and_says_so(
    question: str, unclear: str, said: str
) -> None:
    made = desk()
    await made.ask(question)
    result = await made.ask(unclear)
    assert result.clarification is None
    assert result.findings
    assert said in result.answer


@pytest.mark.parametrize(("question", "unclear"), [("How are we doing?", "you know"), ("and in the South?", "hm")])
async def test_where_no_guess_is_sensible_a_second_unclear_turn_is_refused_naming_what_is_missing(
    question: str, unclear: str
) -> None:
    made = desk()
    await made.ask(question)
    result = await made.ask(unclear)
    assert result.clarification is None
    assert result.classification is not None
    assert result.classification.rule == "not_clarified"
    assert "still open" in result.answer


async def test_another_question_instead_of_a_reply_is_answered() -> None:
    made = desk()
    await made.ask("What is the effect of rep calls?")
    result = await made.ask("Is the platform healthy?")
    assert [one.agent for one in result.dispatches] == ["observability_connector"]


async def test_an_interrupted_run_goes_on_where_it_stopped_and_is_remembered_once() -> None:
    saver = InMemorySaver(serde=checkpoint_serializer())
    tries = iter([RuntimeError("killed"), None])

    class Breaks:
        async def write(self, *args: Any) -> Any:
            if (error := next(tries)) is not None:
                raise error
            return await made.scribe.write(*args)

    made: Desk = desk(saver=saver)
    broken = desk(saver=saver)
    object.__setattr__(broken.services, "writer", Breaks())
    with pytest.raises(RuntimeError, match="killed"):
        await broken.ask(EFFECT, trace_id="0192ab3c-7f00-7abc-8def-0123456789ab")
    result = await broken.ask(EFFECT, trace_id="0192ab3c-7f00-7abc-8def-0123456789ab")
    assert len(broken.experts["causal_impact"].tasks) == 1
    assert "causal_impact found 0.54" in result.answer
    assert len(await turns_of(broken)) == 1


async def test_another_question_after_an_interrupted_run_begins_anew() -> None:
    saver = InMemorySaver(serde=checkpoint_serializer())
    broken = desk(saver=saver)
    object.__setattr__(broken.services, "writer", None)
    with pytest.raises(AttributeError):
        await broken.ask(EFFECT)
    made = desk(saver=saver)
    result = await made.ask("Is the platform healthy?")
    assert [one.agent for one in result.findings] == ["observability_connector"]
    assert [turn.query for turn in await turns_of(made)] == ["Is the platform healthy?"]


async def test_a_session_comes_back_equal_in_another_process() -> None:
    saver = InMemorySaver(serde=checkpoint_serializer())
    await desk(saver=saver).ask("Do rep calls raise NRx of Kisqali from 2024-01 to 2024-06 two months later?")
    made = desk(saver=saver)
    await made.ask("what about Fabhalta?")
    understood = made.experts["causal_impact"].tasks[0].understood
    assert understood is not None
    assert (understood.brand, understood.lag, str(understood.period)) == ("Fabhalta", 2, "2024-01 to 2024-06")


def test_a_session_keeps_its_last_turns_and_the_findings_of_its_last_answers() -> None:
    found = Finding("causal_impact", "?", FindingStatus.COMPLETED)
    made = [Turn(str(at), "?", "?", "general", None, "", findings=(found,)) for at in range(MOST_TURNS + 5)]
    kept: tuple[Turn, ...] = ()
    for turn in made:
        kept = last_turns(kept, (turn,))
    assert len(kept) == MOST_TURNS
    assert [bool(turn.findings) for turn in kept] == [False] * (MOST_TURNS - MOST_TOLD) + [True] * MOST_TOLD
    assert last_turns(kept, (made[-1],)) == kept


@pytest.mark.parametrize(
    ("asked", "explained"),
    [
        ("Explain the first answer", 0),
        ("Please explain the second result to an executive.", 1),
        ("Explain answer 1", 0),
        ("Explain this result to an executive.", 2),
    ],
)
async def test_an_answer_is_explained_by_its_place_in_the_session(asked: str, explained: int) -> None:
    made = desk()
    for brand in ("Kisqali", "Fabhalta", "Remibrutinib"):
        await made.ask(f"Do rep calls raise NRx of {brand}?")
    await made.ask(asked)
    (prior,) = made.experts["explainer"].tasks[-1].prior
    brands = [task.understood.brand for task in made.experts["causal_impact"].tasks if task.understood]
    assert prior.question.count(str(brands[explained])) == 1
    await made.ask("why?")
    assert made.experts["explainer"].tasks[-1].prior == (prior,)


@pytest.mark.parametrize("asked", ["Explain the third answer", "Explain answer 9"])
async def test_an_answer_that_there_is_not_is_not_mistaken_for_another(asked: str) -> None:
    made = desk()
    for brand in ("Kisqali", "Fabhalta"):
        await made.ask(f"Do rep calls raise NRx of {brand}?")
    result = await made.ask(asked)
    assert result.declined is not None
    assert "no such answer" in result.declined
    assert made.experts["explainer"].tasks == []


async def test_an_answer_whose_findings_are_not_kept_any_more_is_asked_for_again() -> None:
    made = desk()
    for _ in range(MOST_TOLD):
        await made.ask("Do rep calls raise NRx of Fabhalta?")
    await made.ask("Do samples raise NRx of Kisqali?")
    result = await made.ask("Explain the first answer")
    assert result.declined is not None
    assert result.declined.endswith("ask again: Do rep calls raise NRx of Fabhalta?")


async def turns_of(made: Desk) -> tuple[Turn, ...]:
    graph = made.agent._graph
    state = await graph.aget_state({"configurable": {"thread_id": "s1"}})
    turns: tuple[Turn, ...] = state.values["turns"]
    return turns


def test_the_agent_is_of_the_coordination_tier() -> None:
    assert (OrchestratorAgent.agent_name, OrchestratorAgent.agent_type, OrchestratorAgent.tier) == (
        "orchestrator",
        "standard",
        1,
    )
