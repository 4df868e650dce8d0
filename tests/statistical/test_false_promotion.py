"""How often does a prompt that is no better reach people, through the whole pipeline?"""

from __future__ import annotations

from src.domain.improvement import ActionStatus
from src.storage.database import Database
from tests.integration.improvement_loop import open_loop, with_rule


async def test_of_equal_prompts_at_most_one_in_twenty_reaches_a_canary(db: Database) -> None:
    """Sixty different texts that change nothing, each through the whole pipeline; 8 of 60 or more would come with a
    probability below 1 % if 1 in 20 passed."""
    loop = await open_loop(db, count=120)
    reached = 0
    for number in range(60):
        loop.improver.contents = [{"text": with_rule(f"Prefer the wording of kind {number}.")}]
        action_id = await loop.proposed(cycle_id=await loop.next_cycle())
        if (await loop.pipeline.carry_on(action_id)).status is ActionStatus.MEASURING:
            reached += 1
            await loop.pipeline.roll_back(action_id, "test", "the next one")
        elif (await loop.services.actions.get(action_id)).status is ActionStatus.PROPOSED:
            await loop.pipeline.reject(action_id, "test", "the next one")
    assert reached < 8
