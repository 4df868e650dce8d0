"""Is an answer judged only by the criteria that a good answer to its question could meet?"""

from __future__ import annotations

import pytest

from src.agents.feedback_learner.evaluation.applicability import inapplicable, speaks_of_effects
from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.domain.rubric import CRITERIA, RubricContext, RubricDecision, RubricEvaluation
from tests.unit.test_agents.test_feedback_learner.parts import config, judged, scripted
from tests.unit.test_agents.test_feedback_learner.rubric_pairs import SOUND

FACT = "Kisqali TRx rose 8.4 % to 12,340 in Q2 2025."
CONTEXTS = (FACT, "Rep visits were the strongest driver of Fabhalta NRx.")
DECLINED = "The documents do not answer this: no document speaks of 2024."
OF_A_FACT = {"evidence_chain", "regulatory_awareness"}


async def ruled(question: str, answer: str, *, declined: bool = False) -> RubricEvaluation:
    causal = speaks_of_effects(question, answer)
    context = RubricContext(question, answer, CONTEXTS, ("c1", "c2"), declined=declined, causal=causal)
    return await RubricEvaluator(config(provider="none")).evaluate(context)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What was the TRx of Kisqali in Q2 2025?", f"{FACT} [1]"),
        ("What does TRx mean?", "TRx counts all prescriptions that were filled [1]."),
        ("How many territories are there?", "There are 42 territories, and TRx increased by 3 % in May 2025 [1]."),
    ],
)
def test_facts_and_definitions_are_not_about_effects(question: str, answer: str) -> None:
    assert not speaks_of_effects(question, answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Do rep calls raise TRx of Kisqali?", "They were counted."),
        ("Where should the budget go?", "It stays."),
        ("What was the TRx of Kisqali?", "It was 900 because of rep calls [1]."),
        ("What was the TRx of Kisqali?", "Rep calls increased the TRx to 900 [1]."),
        ("?!", "…"),
    ],
)
def test_causes_plans_and_what_cannot_be_read_are_judged_by_everything(question: str, answer: str) -> None:
    assert speaks_of_effects(question, answer)
    assert inapplicable(RubricContext(question, answer, causal=True)) == {}


def test_while_it_is_not_known_every_criterion_applies() -> None:
    assert inapplicable(RubricContext("What was the TRx?", FACT)) == {}


async def test_a_fact_quoted_with_its_source_is_acceptable() -> None:
    found = await ruled("What was the TRx of Kisqali in Q2 2025?", f"{FACT} [1]")
    assert set(found.scores) == OF_A_FACT
    assert set(found.inapplicable) == set(CRITERIA) - OF_A_FACT
    assert (found.decision, found.overrides_applied) == (RubricDecision.ACCEPTABLE, ())
    assert set(found.heuristic_scores) == OF_A_FACT


async def test_a_definition_that_speaks_of_effects_away_is_acceptable() -> None:
    text = "An E-value is the least strength an unmeasured confounder needs to explain an effect away."
    context = RubricContext("What is an E-value?", f"{text} [1]", (text,), ("c1",), causal=False)
    found = await RubricEvaluator(config(provider="none")).evaluate(context)
    assert found.decision is RubricDecision.ACCEPTABLE


@pytest.mark.parametrize(
    "worse", [FACT, "Kisqali TRx fell 50 % in Q9 [1].", "Kisqali cures all cancers [1].", f"{FACT} [7]"]
)
async def test_a_fact_without_support_is_worse_than_the_same_with_it(worse: str) -> None:
    question = "What was the TRx of Kisqali in Q2 2025?"
    assert (await ruled(question, worse)).weighted < 3 < (await ruled(question, f"{FACT} [1]")).weighted


@pytest.mark.parametrize("estimate", ["It is 12,340 (95 % CI 900 to 14,000) [1].", "It is definitely 12,340 [1]."])
async def test_an_estimate_is_asked_how_sure_it_is(estimate: str) -> None:
    assert "uncertainty_communication" in (await ruled("What was the TRx of Kisqali?", estimate)).scores


async def test_declining_and_saying_what_is_missing_is_acceptable() -> None:
    found = await ruled("What was the TRx of Kisqali in 2024?", DECLINED, declined=True)
    assert set(found.scores) == OF_A_FACT
    assert found.decision is RubricDecision.ACCEPTABLE


async def test_declining_without_a_word_on_what_is_missing_is_not() -> None:
    found = await ruled("What was the TRx of Kisqali in 2024?", "Ask somebody else.", declined=True)
    assert found.decision.severity > 0


async def test_declining_with_clinical_advice_is_not() -> None:
    advice = f"{DECLINED} Patients should take 200 mg twice daily."
    found = await ruled("What dose?", advice, declined=True)
    assert found.scores["regulatory_awareness"].score == 1
    assert found.decision.severity > 0


async def test_a_declined_answer_costs_no_model() -> None:
    client, vendor = scripted("unused")
    context = RubricContext("What was the TRx in 2024?", DECLINED, declined=True)
    found = await RubricEvaluator(config(), client).evaluate(context)
    assert (found.method, vendor.requests) == ("heuristic", [])


async def test_what_a_model_says_of_a_criterion_that_does_not_apply_is_left_out() -> None:
    from src.scripted_servers.replies import Reply

    given = judged({**dict.fromkeys(CRITERIA, 1.0), "evidence_chain": 5.0, "regulatory_awareness": 4.0})
    client, _ = scripted(Reply.json(given | {"suggestion": "None."}))
    context = RubricContext("What was the TRx?", SOUND, CONTEXTS, causal=False)
    everything = await RubricEvaluator(config(), client).evaluate(context)
    assert everything.method == "llm"
    assert "causal_validity" not in everything.scores
    assert "uncertainty_communication" in everything.scores, "the answer gives an interval"
