"""Is each kind of question told from the others?"""

from __future__ import annotations

import pytest

from src.domain.intent import classify
from src.domain.vocabulary import Intent
from src.errors import QuestionNotUnderstood


@pytest.mark.parametrize(
    ("question", "intent"),
    [
        ("What drives Fabhalta adoption among haematologists?", Intent.CAUSAL_EFFECT),
        ("Why did Kisqali TRx fall in the Midwest?", Intent.CAUSAL_EFFECT),
        ("Which factors move NRx?", Intent.CAUSAL_EFFECT),
        ("Do rep calls increase NRx?", Intent.CAUSAL_EFFECT),
        ("Where are our HCP-targeting gaps?", Intent.PERFORMANCE_GAP),
        ("Which segments respond best to rep visits?", Intent.SEGMENT_ANALYSIS),
        ("Design a test of the new trigger", Intent.EXPERIMENT_DESIGN),
        ("Which HCPs will convert next quarter?", Intent.PREDICTION),
        ("Where should ten extra reps go?", Intent.RESOURCE_ALLOCATION),
        ("Explain this result to an executive", Intent.EXPLANATION),
        ("Is the platform healthy?", Intent.SYSTEM_HEALTH),
        ("Error rate by agent?", Intent.SYSTEM_HEALTH),
        ("Is the churn model drifting?", Intent.DRIFT_CHECK),
        ("This answer was wrong", Intent.FEEDBACK),
        ("How many NRx did Kisqali have in 2023?", Intent.GENERAL),
        ("Which territories lead Remibrutinib sales?", Intent.GENERAL),
        ("Compare impact by region AND predict next quarter", Intent.MULTI_FACETED),
    ],
)
def test_typical_question_of_every_intent(question: str, intent: Intent) -> None:
    found = classify(question)
    assert found.intent is intent
    assert found.confidence >= 0.7
    assert found.agents


def test_two_outcomes_joined_by_and_are_one_question() -> None:
    assert classify("Do rep calls raise NRx and TRx?").intent is Intent.CAUSAL_EFFECT


def test_nothing_recognised_is_general_with_little_confidence() -> None:
    found = classify("lorem ipsum dolor")
    assert (found.intent, found.confidence) == (Intent.GENERAL, 0.3)


def test_text_that_is_no_question_is_refused() -> None:
    with pytest.raises(QuestionNotUnderstood):
        classify("\x00\x01")
