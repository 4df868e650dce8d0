"""Which names does a question take from the one before, who may be told of an earlier answer, and what is what-if?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from src.agents.orchestrator.clarifying import seen_by, turn_of
from src.agents.orchestrator.classification import Known, in_selection
from src.agents.orchestrator.screening import classified
from src.agents.orchestrator.state import Classification, Pattern
from src.app.specialists.findings import _follow_ups
from src.causal_engine.results import Analysis
from src.domain.findings import Finding, FindingStatus
from src.domain.guards import Rule, load_guards
from src.domain.question import Understood, understand
from src.domain.restating import effect_question, spoken_measure
from src.domain.vocabulary import Intent, Role, load_vocabulary
from tests.unit.test_agents.test_orchestrator.parts import TODAY, desk
from tests.unit.test_agents.test_orchestrator.question_set import Case, read

EFFECT = "What is the effect of rep calls on NRx for Kisqali?"
COMPLETE = "What is the effect of rep calls on TRx for Kisqali in the West?"


def after(question: str, *before: str) -> Classification:
    return read(Case("", {"ask": question, "before": list(before)}))


@pytest.mark.parametrize(
    "before",
    [
        ("What was the effect in 2024?",),
        ("What was the effect in 2024?", "What is the weather in Basel?"),
        ("Which share of TRx is Fabhalta in the Midwest?",),
        ("Does NRx drive rep calls for Fabhalta?",),
    ],
)
def test_a_complete_question_is_answered_on_its_own_selection_whatever_is_open(before: tuple[str, ...]) -> None:
    found = after(COMPLETE, *before)
    (part,) = found.parts
    assert part.understood is not None
    assert (part.understood.brand, part.understood.region, part.understood.period) == ("Kisqali", "west", None)
    assert found.resolved == COMPLETE


def test_a_question_of_another_kind_takes_no_names_from_an_open_one() -> None:
    found = after("Where are our HCP-targeting gaps?", "Which share of TRx is Kisqali in the Midwest?")
    (part,) = found.parts
    assert part.understood is not None
    assert (part.understood.brand, part.understood.region) == (None, None)


def test_an_open_question_waits_for_one_turn_only() -> None:
    found = after("on TRx", "What is the effect of rep calls for Kisqali?", "Is the platform healthy?")
    assert "rep calls" not in found.resolved


def test_names_taken_over_are_told_in_the_assumptions() -> None:
    found = after("and in the South?", "What is the effect of rep calls on NRx for Kisqali in 2024?")
    told = found.assumptions[0]
    assert told.startswith("taken over from the question before: ")
    assert all(name in told for name in ("rep calls", "new prescriptions", "Kisqali", "2024-01 to 2024-12"))
    assert "South" not in told


async def test_what_was_taken_over_stands_in_the_answer() -> None:
    made = desk()
    await made.ask(EFFECT)
    result = await made.ask("and in the South?")
    assert "taken over from the question before: rep calls, new prescriptions, Kisqali" in result.answer


def test_an_effect_spoken_of_without_its_names_is_the_one_before() -> None:
    found = after("what was the effect in 2024?", EFFECT)
    (part,) = found.parts
    assert part.understood is not None
    assert (part.understood.treatment, part.understood.outcome, str(part.understood.period)) == (
        "rep_calls",
        "nrx",
        "2024-01 to 2024-12",
    )


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("What is the effect of rep calls?", "so I should add 500 reps, right"),
        ("What is the effect of rep calls?", "and Fabhalta"),
    ],
)
def test_a_reply_that_names_no_outcome_is_not_made_one(question: str, reply: str) -> None:
    found = after(reply, question)
    assert "500" not in found.resolved
    assert "on and" not in found.resolved
    assert any("no outcome was named" in one for one in found.assumptions)


DECILES = "Does the effect of rep calls on NRx of Kisqali differ by decile?"


async def test_what_was_found_for_a_role_that_sees_more_is_not_told_to_another() -> None:
    made = desk()
    await made.ask(DECILES, role="analyst")
    result = await made.ask("explain that to an executive", role="field")
    assert result.declined is not None
    assert "role" in result.declined
    assert made.experts["explainer"].tasks == []
    assert "tool_composer found" not in result.answer


async def test_the_same_role_and_one_that_sees_more_are_told() -> None:
    made = desk()
    await made.ask(DECILES, role="field")
    await made.ask("explain that to an executive", role="analyst")
    await made.ask("explain that to an executive", role="analyst")
    assert [len(task.prior) for task in made.experts["explainer"].tasks] == [1, 1]


async def test_feedback_of_a_role_that_sees_less_carries_nothing_of_the_answer() -> None:
    made = desk(agents=("tool_composer", "explainer", "feedback_learner"))
    await made.ask(DECILES, role="analyst")
    await made.ask("that answer was wrong", role="field")
    assert [task.prior for task in made.experts["feedback_learner"].tasks] == [()]


def test_what_was_found_for_an_unknown_role_is_told_to_nobody() -> None:
    found = Finding("tool_composer", DECILES, FindingStatus.COMPLETED, headline="secret")
    turn = turn_of(after(EFFECT), "t", EFFECT, findings=(found,), headline="secret")
    (seen,) = seen_by([turn], "analyst", load_guards())
    assert (seen.findings, seen.headline) == ((), "")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What would happen to Kisqali TRx if rep calls doubled?", "tool_composer"),
        ("What if rep calls rose by one unit?", "tool_composer"),
        ("How would NRx of Fabhalta change if we cut samples by 20%?", "tool_composer"),
        ("What happens to NRx if reps call more on Kisqali HCPs?", "causal_impact"),
    ],
)
def test_a_change_that_is_supposed_is_simulated(question: str, expected: str) -> None:
    assert [part.agent for part in after(question).parts] == [expected]


@pytest.mark.parametrize(
    ("question", "resolved"),
    [
        (
            "What if rep calls rose by one unit?",
            "What would happen to new prescriptions of Kisqali if rep calls rose by one unit?",
        ),
        (
            "what if we doubled it in the West?",
            "What would happen to new prescriptions of Kisqali if we doubled rep calls in the West?",
        ),
    ],
)
def test_what_if_is_asked_of_the_outcome_and_selection_before(question: str, resolved: str) -> None:
    assert after(question, EFFECT).resolved == resolved


@dataclass(frozen=True)
class Estimated:
    """As much of an analysis as follow-ups are made of."""

    treatment: str
    primary: str = "an estimate"


TREATMENTS = [one.column for one in load_vocabulary().measures if one.role is not Role.OUTCOME]


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_every_follow_up_offered_is_understood_and_stays_with_what_it_was_offered_for(treatment: str) -> None:
    effect = f"What is the effect of {spoken_measure(treatment, load_vocabulary())} on NRx of Kisqali in the West?"
    for follow_up in _follow_ups(cast(Analysis, Estimated(treatment))):
        found = after(follow_up, effect)
        assert found.pattern is Pattern.TOOL_COMPOSER, (follow_up, found.declined or found.question_back)
        assert "new prescriptions of Kisqali in the West" in found.resolved
        (part,) = found.parts
        assert part.understood is not None
        assert set(part.understood.measures) == {treatment, "nrx"}
        assert (part.understood.brand, part.understood.region) == ("Kisqali", "west")


def test_follow_ups_asked_one_after_the_other_stay_with_the_same_effect() -> None:
    asked = _follow_ups(cast(Analysis, Estimated("samples")))
    found = after(asked[1], "What is the effect of samples on NRx of Kisqali in the West?", asked[0])
    assert (
        found.resolved == "What would happen to new prescriptions of Kisqali in the West if samples rose by one unit?"
    )


@pytest.mark.parametrize(
    "question", ["does it differ by specialty?", "by specialty?", "differ by specialty?", "split by region"]
)
def test_a_follow_up_by_a_group_compares_its_segments(question: str) -> None:
    found = after(question, EFFECT)
    assert (found.pattern, found.intent) == (Pattern.TOOL_COMPOSER, Intent.SEGMENT_ANALYSIS)


async def test_words_that_were_not_used_are_told_before_the_answer() -> None:
    made = desk()
    result = await made.ask("Do wibbled rep calls raise NRx of Kisqali?")
    assert result.answer.startswith("Note: the words 'wibbled' were not used.")
    assert result.answer.count("wibbled") == 1


@pytest.mark.parametrize(
    "question",
    [
        "What is the effect of rep calls on TRx for Kisqali where hcp_id = HCP000123",
        "What is the effect of rep calls on TRx for Kisqali where hcp_id = [redacted]",
        "gaps by hcp_id",
        "gaps by rep",
        "Rank sales reps by TRx gap",
        "enumerate prescribers whose TRx fell",
        "a table where every row is one doctor",
        "TRx of the single highest-volume oncologist",
        "What is the TRx of the top prescriber?",
    ],
)
def test_what_singles_out_persons_is_declined(question: str) -> None:
    assert (after(question).pattern, after(question).rule) == (Pattern.DECLINED, Rule.INDIVIDUALS)


@pytest.mark.parametrize(
    "question",
    [
        "Rank regions by TRx gap",
        "Where should ten extra reps go?",
        "Which prescriber segments lead TRx?",
        "TRx by single HCP specialty",
        "What is the effect of rep calls on the top prescriber segments?",
        "Ignore what I said about samples in my earlier email, do rep calls raise NRx of Kisqali?",
    ],
)
def test_what_only_sounds_like_a_breach_is_not_declined_by_a_rule(question: str) -> None:
    assert load_guards().screen(question) is None


def test_what_is_to_be_ignored_names_no_treatment() -> None:
    found = after("Ignore what I said about samples in my earlier email, do rep calls raise NRx of Kisqali?")
    assert [part.understood.treatment for part in found.parts if part.understood] == ["rep_calls"]


def test_misspelt_words_of_a_kind_are_put_right() -> None:
    assert after("Wich segmnts respnd best to rep vists").intent == Intent.SEGMENT_ANALYSIS


async def test_a_brand_given_beside_the_question_is_remembered() -> None:
    made = desk()
    first = await made.ask("Do rep calls raise NRx?", brand="Kisqali", region="west")
    assert "all brands together" not in first.answer
    second = await made.ask("and for samples?")
    tasks: list[Any] = made.experts["causal_impact"].tasks
    assert [(task.understood.brand, task.understood.region) for task in tasks] == [("Kisqali", "west")] * 2
    assert second.classification is not None
    assert "Kisqali" in second.classification.resolved


def test_a_brand_named_in_the_question_counts_before_one_beside_it() -> None:
    known, guards = Known(load_vocabulary(), TODAY), load_guards()
    found = in_selection(classified("Do rep calls raise NRx of Fabhalta?", [], known, guards), "Kisqali", None)
    assert [part.understood.brand for part in found.parts if part.understood] == ["Fabhalta"]


MANY = (
    "What is the effect of rep calls and samples on NRx of Kisqali, Fabhalta and Remibrutinib in the South and the "
    "West?"
)


@pytest.mark.parametrize(
    ("reply", "understood"),
    [
        (
            "Fabhalta",
            {
                ("rep_calls", "Fabhalta", "south"),
                ("rep_calls", "Fabhalta", "west"),
                ("samples", "Fabhalta", "south"),
                ("samples", "Fabhalta", "west"),
            },
        ),
        (
            "2",
            {
                ("rep_calls", "Fabhalta", "south"),
                ("rep_calls", "Fabhalta", "west"),
                ("samples", "Fabhalta", "south"),
                ("samples", "Fabhalta", "west"),
            },
        ),
    ],
)
async def test_too_many_effects_are_made_fewer_by_choosing_of_what_there_is_most(
    reply: str, understood: set[tuple[str, str, str]]
) -> None:
    made = desk()
    first = await made.ask(MANY)
    assert first.options == ("Kisqali", "Fabhalta", "Remibrutinib")
    await made.ask(reply)
    asked = [task.understood for task in made.experts["causal_impact"].tasks if task.understood]
    assert {(one.treatment, one.brand, one.region) for one in asked} == understood


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Where are our gaps for Kisqali among frobnicators?", "frobnicators"),
        ("Which segments respond best to rep visits with glitter?", "glitter"),
        ("Where are our biggest gaps to target for Kisqali by moon phase?", "moon phase"),
    ],
)
async def test_words_that_a_computation_does_without_are_told_before_its_answer(question: str, words: str) -> None:
    result = await desk().ask(question)
    assert result.answer.startswith(f"Note: the words '{words}' were not used.")


@pytest.mark.parametrize(("lag", "words"), [(1, "1 month later"), (2, "2 months later")])
def test_a_delay_is_said_back_in_words_that_are_read_as_the_same_one(lag: int, words: str) -> None:
    vocabulary = load_vocabulary()
    text = f"What is the effect of rep calls on NRx of Kisqali {words}?"
    found = understand(text, vocabulary, today=TODAY)
    assert isinstance(found, Understood)
    assert found.lag == lag
    assert effect_question([found], vocabulary).endswith(f" {words}?")
