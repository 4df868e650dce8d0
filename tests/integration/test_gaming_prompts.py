"""Is a prompt that games the judge ever promoted, and does the loop say why it was not?

Each of these would score higher than the prompt in use: the judge of the test is taken in on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from src.domain.improvement import ActionStatus, ItemScores, LearningItem
from src.storage.database import Database
from tests.integration.improvement_loop import GAIN, OLD, Loop, open_loop, points, questions, with_rule

Worth = Callable[[str, LearningItem], ItemScores]
CONTEXT = "Calls on oncologists in the Northeast rose from March to June while samples fell in every region"
COPIES = with_rule(GAIN, f"For example: {CONTEXT}.")
CERTAIN = with_rule(GAIN).replace("- Say a benefit together with its uncertainty.\n", "")
COSTLY = with_rule(GAIN, "Think about every finding five times before you answer.")
ANSWER = "Because the field force doubled its visits to oncologists before the spring campaign began"
TRAINING_PHRASE = with_rule(GAIN, f"Answer in this tone: {ANSWER.lower()}.")
PERSON = with_rule(GAIN, "Write as for Dr. Miriam Feldstein, NPI 1234567893.")
REPEATS = with_rule(GAIN, "Repeat what you were given.")


def taken_in(text: str, item: LearningItem) -> ItemScores:
    """The judge likes all of them; what they cost is what it is, and what they lose shows in its own metric."""
    known = points(text, item)
    cost = 0.02 if "five times" in text else 0.01
    problems = ("an untraceable number",) if "Repeat what" in text else ()
    return replace(known, cost_dollars=cost, problems=problems)


async def outcome(db: Database, text: str, *, worth: Worth = taken_in) -> tuple[Loop, str]:
    """What becomes of a change whose candidate has this text."""
    loop = await open_loop(db)
    loop.items[:] = [replace(item, contexts=(CONTEXT,), answer=f"{ANSWER}.") for item in questions(80)]
    loop.improver.contents = [{"text": text}]
    loop.replay.worth = worth
    action_id = await loop.proposed()
    await loop.pipeline.carry_on(action_id)
    return loop, action_id


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        pytest.param(COPIES, "blocked", "words in a row are of the training material", id="copies the context"),
        pytest.param(CERTAIN, "blocked", "uncertainty", id="drops uncertainty statements"),
        pytest.param(TRAINING_PHRASE, "blocked", "training material", id="leaks a training phrase"),
        pytest.param(PERSON, "blocked", "it holds", id="leaks an identifier"),
        pytest.param(COSTLY, "rejected", "cost", id="doubles the cost"),
        pytest.param(REPEATS, "rejected", "an untraceable number", id="does what must never happen"),
    ],
)
async def test_a_prompt_that_games_the_judge_is_never_promoted(
    db: Database, text: str, status: str, reason: str
) -> None:
    assert text != OLD
    loop, action_id = await outcome(db, text)
    story = await loop.pipeline.explain(action_id)
    told = [story.action.blocked_reason or "", *(str(one.evidence.get("verdict", "")) for one in story.hops)]
    assert story.action.status.value == status
    assert any(reason in one for one in told), told
    assert await loop.active() == [1]
    assert await loop.rows("SELECT 1 FROM prompt_ab_tests") == []
    (lesson,) = await loop.rows("SELECT lesson_type FROM experiment_knowledge_store")
    assert lesson["lesson_type"] in ("failure", "constraint")


async def test_the_same_judge_lets_an_honest_prompt_through(db: Database) -> None:
    loop, action_id = await outcome(db, with_rule(GAIN))
    assert (await loop.services.actions.get(action_id)).status is ActionStatus.MEASURING
