"""Is a wish for a change stored once, found again, and counted by component and day?"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import pytest

from src.domain.improvement import ActionStatus, ChangeKind, Hop
from src.domain.rubric import RubricDecision
from src.errors import RunNotFound
from src.storage.cycles import CycleRepository
from src.storage.database import Database
from src.storage.improvement_actions import ActionRepository, action_id_of
from src.storage.improvement_hops import HopLedger
from tests.unit.test_storage.loop_rows import action, cycle, proposal, scored

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_a_proposal_is_read_as_it_was_given(fresh: Database) -> None:
    evidence = await scored(fresh)
    wish = proposal(trigger_score=2.5, expected_gain=0.4, evidence_ids=(evidence,), origin="gepa")
    cycle_id = await cycle(fresh)
    stored = await ActionRepository(fresh).propose(wish, cycle_id=cycle_id, priority="high", at=NOON)
    assert stored.action_id == action_id_of(wish, cycle_id)
    assert (stored.component, stored.action_description, stored.priority) == ("explainer", "say the interval", "high")
    assert (stored.decision, stored.improvement_type) == (RubricDecision.AUTO_UPDATE, ChangeKind.PROMPT)
    assert (stored.before_config, stored.after_config) == ({"text": "old"}, {"text": "new"})
    assert (stored.trigger_score, stored.expected_gain, stored.judged_by) == (2.5, 0.4, "llm")
    assert (stored.origin, stored.evidence_ids, stored.cycle_id) == ("gepa", (evidence,), cycle_id)
    assert (stored.status, stored.created_at) == (ActionStatus.PROPOSED, NOON)


async def test_the_same_change_of_a_cycle_is_one_action(fresh: Database) -> None:
    repository, cycle_id = ActionRepository(fresh), await cycle(fresh)
    first = await repository.propose(proposal(), cycle_id=cycle_id, priority="high")
    again = await repository.propose(proposal(), cycle_id=cycle_id, priority="low", status=ActionStatus.QUEUED)
    assert again == first
    await CycleRepository(fresh).finish(cycle_id, status="completed", decision=None, items=0, summary={})
    later = await repository.propose(proposal(), cycle_id=await cycle(fresh), priority="high")
    assert later.action_id != first.action_id
    assert {one.action_id for one in await repository.list()} == {first.action_id, later.action_id}


async def test_an_action_is_found_by_the_beginning_of_its_id(fresh: Database) -> None:
    stored = await action(fresh)
    repository = ActionRepository(fresh)
    assert await repository.find(stored.action_id[:8].upper()) == await repository.get(stored.action_id) == stored


@pytest.mark.parametrize("reference", ["", "abc", "'; --", "00000000"])
async def test_what_names_no_action_is_refused(fresh: Database, reference: str) -> None:
    await action(fresh)
    with pytest.raises(RunNotFound):
        await ActionRepository(fresh).find(reference)
    with pytest.raises(RunNotFound):
        await ActionRepository(fresh).get(reference)


async def test_actions_are_listed_by_status_and_component(fresh: Database) -> None:
    repository, cycle_id = ActionRepository(fresh), await cycle(fresh)
    for component, status in [("a", ActionStatus.QUEUED), ("a", ActionStatus.PROPOSED), ("b", ActionStatus.QUEUED)]:
        await repository.propose(
            proposal(component, after=status.value), cycle_id=cycle_id, priority="low", status=status
        )
    queued = await repository.list(statuses=[ActionStatus.QUEUED])
    assert {one.component for one in queued} == {"a", "b"}
    assert len(await repository.list(component="a")) == 2
    assert len(await repository.list(limit=1)) == 1
    assert await repository.list(statuses=[]) == ()


@pytest.mark.parametrize(
    ("status", "counts"),
    [
        (ActionStatus.QUEUED, False), (ActionStatus.PROPOSED, True), (ActionStatus.AWAITING_APPROVAL, True),
        (ActionStatus.MEASURING, True), (ActionStatus.APPLIED, True), (ActionStatus.CONFIRMED, False),
        (ActionStatus.REJECTED, False),
    ],
)  # fmt: skip
async def test_a_change_is_under_way_until_it_is_decided(fresh: Database, status: ActionStatus, counts: bool) -> None:
    stored = await action(fresh)
    await HopLedger(fresh).record(stored.action_id, Hop.PROPOSED, status=status, changes={}, evidence={}, actor="test")
    found = await ActionRepository(fresh).under_way("explainer")
    assert (found is not None) is counts
    assert await ActionRepository(fresh).under_way("orchestrator") is None


async def test_activations_are_counted_by_component_and_utc_day(fresh: Database) -> None:
    repository, ledger = ActionRepository(fresh), HopLedger(fresh)
    times = {"a": datetime(2026, 3, 1, 0, tzinfo=UTC), "b": datetime(2026, 3, 1, 23, 59, tzinfo=UTC)}
    times["c"] = datetime(2026, 3, 2, 0, tzinfo=UTC)
    assert await repository.last_activation("a") is None
    for component, at in times.items():
        stored = await action(fresh, component)
        changes: dict[str, Any] = {"applied_at": at}
        await ledger.record(
            stored.action_id, Hop.PROMOTED, status=ActionStatus.APPLIED, changes=changes, evidence={}, actor="test"
        )
    assert await repository.activations_on(date(2026, 3, 1)) == 2
    assert await repository.activations_on(date(2026, 3, 2)) == 1
    assert await repository.activations_on(date(2026, 2, 28)) == 0
    assert await repository.last_activation("b") == times["b"]


async def test_of_many_at_once_all_get_the_one_action(fresh: Database) -> None:
    cycle_id = await cycle(fresh)
    for number in range(5):
        wish = proposal(after=f"new {number}")
        found = await asyncio.gather(
            *(ActionRepository(fresh).propose(wish, cycle_id=cycle_id, priority="high") for _ in range(6))
        )
        assert len({one.action_id for one in found}) == 1
