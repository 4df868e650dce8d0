"""Can every phase of the feedback learner be optimised on what was wrong in evaluated answers?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src.domain.improvement import LearningItem
from src.errors import HPOError
from src.optimization.gepa.learner_optimizer import PHASES, FeedbackLearnerOptimizer, phase_examples
from tests.unit.test_optimization.gepa_parts import config, item, writing_model


def weak_answers(count: int) -> list[LearningItem]:
    low = {"ragas": {"faithfulness": 0.4, "context_recall": 0.9}, "rubric": {"actionability": 2.0}}
    return [item(number, **low) for number in range(count)]


LEARNT = "explainer accuracy and explainer relevance"


def phase_lm(phase: str) -> Any:
    """Carries a phase out well where it is told to name components."""
    output = {"pattern": "patterns", "recommendation": "recommendations", "update": "updates"}.get(phase, "summary")
    said = {
        "patterns": "explainer: accuracy\nexplainer: relevance",
        "updates": json.dumps([{"title": "t", "description": LEARNT, "component": "explainer"}]),
    }.get(output, LEARNT)
    return writing_model(
        lambda prompt: f"[[ ## {output} ## ]]\n{said if 'component by its name' in prompt else 'nothing'}"
    )


def phase_reflection() -> Any:
    return writing_model(
        lambda prompt: json.dumps({"new_instruction": "Name each component by its name and what is wrong."})
    )


@pytest.mark.parametrize("phase", PHASES)
async def test_every_phase_of_the_feedback_learner_can_be_optimised(tmp_path: Path, phase: Any) -> None:
    optimizer = FeedbackLearnerOptimizer(
        model=phase_lm(phase), reflection_lm=phase_reflection(), config=config(30), folder=tmp_path
    )
    found = await optimizer.optimize(phase, weak_answers(40))
    assert found.best_score > found.baseline_score
    assert "component by its name" in found.instructions["self"]


@pytest.mark.parametrize("phase", PHASES)
def test_examples_hold_what_is_wrong_as_gold_and_no_identifiers(phase: Any) -> None:
    signals = [replace(one, query=f"{one.query} Why did patient 8812345 stop?") for one in weak_answers(8)]
    found = phase_examples(phase, signals)
    assert len(found) == 2
    assert found[0].patterns == ["explainer: accuracy", "explainer: relevance"]
    assert "8812345" not in str(found[0].toDict())


@pytest.mark.parametrize("phase", PHASES)
def test_no_example_is_both_learnt_from_and_chosen_by(phase: Any) -> None:
    again = [replace(one, query="Why?") for one in weak_answers(24)]
    assert len(phase_examples(phase, again)) == 1


async def test_too_few_evaluated_answers_are_refused_with_their_number(tmp_path: Path) -> None:
    optimizer = FeedbackLearnerOptimizer(model=None, reflection_lm=None, config=config(), folder=tmp_path)
    with pytest.raises(HPOError, match="3 examples of the phase pattern could be made of 15"):
        await optimizer.optimize("pattern", weak_answers(15))


async def test_miprov2_optimises_a_phase_too(tmp_path: Path) -> None:
    def propose(prompt: str) -> str:
        for name in ("proposed_instruction", "observations", "summary"):
            if f"[[ ## {name} ## ]]" in prompt:
                return f"[[ ## {name} ## ]]\nName each component by its name.\n\n[[ ## completed ## ]]"
        return "nothing"

    small = config(30, mipro={"candidates": 3, "trials": 4})
    optimizer = FeedbackLearnerOptimizer(
        "miprov2", model=phase_lm("pattern"), reflection_lm=writing_model(propose), config=small, folder=tmp_path
    )
    found = await optimizer.optimize("pattern", weak_answers(40), random_state=1)
    assert found.best_score > found.baseline_score
