"""Are a component's inputs kept once and forgotten with their session, and is the switch asked before every hop?"""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from src.errors import ContractViolation
from src.storage.database import Database
from src.storage.improvement_switch import ImprovementSwitch
from src.storage.interaction_inputs import InteractionInputs
from tests.unit.test_storage.loop_rows import answered


async def test_what_was_kept_first_stays(fresh: Database) -> None:
    inputs, given = InteractionInputs(fresh), await answered(fresh)
    assert await inputs.get(given.interaction_id, "explainer") is None
    for findings in ([1], [2]):
        await inputs.keep(given.interaction_id, "explainer", {"findings": findings})
    assert await inputs.get(given.interaction_id, "explainer") == {"findings": [1]}
    assert await inputs.get(given.interaction_id, "rag_answer") is None


async def test_inputs_of_an_answer_that_is_not_stored_are_refused(fresh: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await InteractionInputs(fresh).keep(str(uuid4()), "explainer", {})


async def test_the_inputs_of_a_session_are_forgotten_alone(fresh: Database) -> None:
    inputs, session = InteractionInputs(fresh), str(uuid4())
    mine = [await answered(fresh, session_id=session) for _ in range(2)]
    other = await answered(fresh, session_id=str(uuid4()))
    for one in (*mine, other):
        await inputs.keep(one.interaction_id, "explainer", {"findings": []})
    assert await inputs.forget(session) == 2
    assert await inputs.get(mine[0].interaction_id, "explainer") is None
    assert await inputs.get(other.interaction_id, "explainer") == {"findings": []}


async def test_inputs_go_with_their_answer(fresh: Database) -> None:
    given = await answered(fresh)
    await InteractionInputs(fresh).keep(given.interaction_id, "explainer", {"findings": []})
    await fresh.execute("DELETE FROM rag_interactions WHERE interaction_id = %s", (given.interaction_id,))
    assert await fresh.fetch("SELECT 1 FROM interaction_inputs") == []


async def test_the_switch_tells_who_stopped_changes_and_why(fresh: Database) -> None:
    switch = ImprovementSwitch(fresh)
    assert not (await switch.state()).paused
    stopped = await switch.set(paused=True, by="anna", reason="release week")
    assert stopped == await switch.state()
    assert (stopped.paused, stopped.changed_by, stopped.reason) == (True, "anna", "release week")
    assert stopped.changed_at is not None
    assert not (await switch.set(paused=False, by="anna", reason="released")).paused


@pytest.mark.parametrize(("by", "reason"), [("", "why"), ("anna", "  ")])
async def test_nobody_stops_changes_for_no_reason(fresh: Database, by: str, reason: str) -> None:
    with pytest.raises(ContractViolation, match="who stops or resumes"):
        await ImprovementSwitch(fresh).set(paused=True, by=by, reason=reason)


async def test_a_switch_that_is_not_there_stands_on_stop(fresh: Database) -> None:
    await fresh.execute("DELETE FROM improvement_switch")
    assert (await ImprovementSwitch(fresh).state()).paused
