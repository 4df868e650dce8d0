"""How does a candidate become the wording in use, for a share of the sessions first, and how is it taken back?"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from src.domain.improvement import ChangeKind
from src.errors import ContractViolation
from src.storage.canaries import Canary, CanaryRepository
from src.storage.database import Database
from src.storage.prompt_versions import PromptRepository, PromptStore
from tests.unit.test_storage.loop_rows import action, prompts

UNITS = [f"session {number}" for number in range(40)]


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def divide(db: Database, control: int, treatment: int, split: float = 0.5) -> Canary:
    return await CanaryRepository(db).start(
        component="explainer", kind=ChangeKind.PROMPT, control=control, treatment=treatment, split=split,
        target_samples=40, min_per_arm=5, alpha=0.05, min_hours=24, max_hours=168,
    )  # fmt: skip


async def statuses(db: Database) -> dict[int, str]:
    return {one.version: one.status for one in await PromptRepository(db).versions("explainer")}


async def test_the_candidate_of_an_action_is_stored_once(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    repository, change = PromptRepository(fresh), await action(fresh)
    values: dict[str, Any] = {"action_id": change.action_id, "origin": "gepa", "created_by": "loop"}
    first, *others = await asyncio.gather(
        *(repository.add_candidate("explainer", "better", **values) for _ in range(4))
    )
    assert others == [first] * 3
    assert (first.version, first.parent_version, first.status, first.origin) == (3, 1, "candidate", "gepa")
    assert (first.source_action_id, first.created_by) == (change.action_id, "loop")
    assert await repository.of_action(change.action_id) == first
    await repository.scored("explainer", 3, offline_score=3.9, baseline_score=3.4)
    stored = await repository.get("explainer", 3)
    assert (stored.offline_score, stored.baseline_score) == (3.9, 3.4)


async def test_a_saved_module_is_a_candidate_once(fresh: Database) -> None:
    repository = PromptRepository(fresh)
    values: dict[str, Any] = {"action_id": None, "origin": "gepa", "created_by": "loop"}
    first = await repository.add_candidate("explainer", "better", **values)
    assert await repository.add_candidate("explainer", "better", **values) == first
    await repository.reject("explainer", first.version)
    assert (await repository.add_candidate("explainer", "better", **values)).version == 2


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        (["approve"], "approved"), (["approve", "approve"], "approved"), (["reject"], "rejected"),
        (["approve", "reject"], "rejected"), (["approve", "activate"], "active"), (["activate"], "active"),
    ],
)  # fmt: skip
async def test_a_candidate_goes_its_way(fresh: Database, steps: list[str], end: str) -> None:
    await prompts(fresh, "one", "two")
    repository = PromptRepository(fresh)
    for step in steps:
        actor = ["anna"] if step == "activate" else []
        await getattr(repository, step)("explainer", 2, *actor)
    assert (await statuses(fresh))[2] == end


@pytest.mark.parametrize(
    ("before", "step"),
    [
        (["reject"], "approve"), (["reject"], "activate"), (["activate"], "reject"), (["activate"], "approve"),
        (["activate", "roll_back"], "activate"),
    ],
)  # fmt: skip
async def test_a_decision_that_was_made_stands(fresh: Database, before: list[str], step: str) -> None:
    await prompts(fresh, "one", "two")
    repository = PromptRepository(fresh)

    async def take(name: str) -> None:
        rest: list[Any] = ["worse"] if name == "roll_back" else [2, "anna"] if name == "activate" else [2]
        await getattr(repository, name)("explainer", *rest)

    for name in before:
        await take(name)
    known = await statuses(fresh)
    with pytest.raises(ContractViolation, match="version 2"):
        await take(step)
    assert await statuses(fresh) == known


async def test_a_version_that_there_is_not_is_refused(fresh: Database) -> None:
    repository = PromptRepository(fresh)
    for asked in (repository.get, repository.approve, repository.reject):
        with pytest.raises(ContractViolation, match="no version 9"):
            await asked("explainer", 9)
    with pytest.raises(ContractViolation, match="no version 9"):
        await repository.activate("explainer", 9, "anna")


async def test_a_roll_back_brings_the_version_before_back(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    repository = PromptRepository(fresh)
    await repository.activate("explainer", 2, "loop")
    restored = await repository.roll_back("explainer", "scores fell by 0.6")
    assert (restored.version, restored.active) == (1, True)
    taken = await repository.get("explainer", 2)
    assert (taken.status, taken.rollback_reason) == ("rolled_back", "scores fell by 0.6")
    with pytest.raises(ContractViolation, match="no parent to go back to"):
        await repository.roll_back("explainer", "again")
    assert await statuses(fresh) == {1: "active", 2: "rolled_back"}


async def test_a_version_that_was_taken_back_is_not_gone_back_to(fresh: Database) -> None:
    await prompts(fresh, "one", "two", "three")
    repository = PromptRepository(fresh)
    await repository.activate("explainer", 3, "loop")
    await fresh.execute("UPDATE prompt_versions SET parent_version = 3 WHERE version = 2")
    await repository.roll_back("explainer", "three is bad")
    await repository.activate("explainer", 2, "loop")
    assert (await repository.roll_back("explainer", "two is bad")).version == 1


@pytest.mark.parametrize(("keep", "allowed"), [(1, False), (2, False), (3, True), (None, True)])
async def test_versions_beyond_those_kept_are_not_gone_back_to(
    fresh: Database, keep: int | None, allowed: bool
) -> None:
    await prompts(fresh, "one", "two", "three")
    repository = PromptRepository(fresh)
    await repository.activate("explainer", 2, "loop")
    # Its parent is version 1, active before version 2: the third one back.
    await repository.activate("explainer", 3, "loop")
    if allowed:
        assert (await repository.roll_back("explainer", "worse", keep=keep)).version == 1
    else:
        with pytest.raises(ContractViolation, match="not among the"):
            await repository.roll_back("explainer", "worse", keep=keep)
        assert await statuses(fresh) == {1: "retired", 2: "retired", 3: "active"}


async def test_during_a_canary_its_share_of_sessions_gets_the_candidate(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    store = PromptStore(PromptRepository(fresh))
    assert {(await store.for_unit(unit).active("explainer")).version for unit in UNITS} == {1}
    canary = await divide(fresh, 1, 2)
    store = PromptStore(PromptRepository(fresh))
    for unit in UNITS:
        found = await store.for_unit(unit).active("explainer")
        expected = (2, "two") if canary.variant_of(unit) == "treatment" else (1, "one")
        assert (found.version, found.text) == expected
    assert (await store.active("explainer")).version == 1


async def test_the_division_is_known_within_a_minute_and_ends_within_one(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    clock = Clock()
    store = PromptStore(PromptRepository(fresh), clock=clock)
    canary = await divide_after_reading(fresh, store)
    unit = next(one for one in UNITS if canary.variant_of(one) == "treatment")
    seen = []
    for seconds in (0, 59.9, 0.1):
        clock.seconds += seconds
        seen.append((await store.for_unit(unit).active("explainer")).version)
    await CanaryRepository(fresh).end(canary.canary_id, winner="control")
    clock.seconds += 60
    seen.append((await store.for_unit(unit).active("explainer")).version)
    assert seen == [1, 1, 2, 1]


async def divide_after_reading(db: Database, store: PromptStore) -> Canary:
    await store.active("explainer")
    return await divide(db, 1, 2)


@pytest.mark.parametrize("meanwhile", ["another is activated", "the candidate is rejected"])
async def test_a_canary_that_compares_nothing_any_more_divides_nobody(fresh: Database, meanwhile: str) -> None:
    await prompts(fresh, "one", "two", "three")
    await divide(fresh, 1, 2)
    repository = PromptRepository(fresh)
    if meanwhile == "another is activated":
        await repository.activate("explainer", 3, "anna")
    else:
        await repository.reject("explainer", 2)
    store = PromptStore(repository)
    active = (await store.active("explainer")).version
    assert {(await store.for_unit(unit).active("explainer")).version for unit in UNITS} == {active}


async def test_one_version_is_active_at_every_instant(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    repository, done = PromptRepository(fresh), asyncio.Event()
    seen: list[int] = []

    async def read() -> None:
        while not done.is_set():
            rows = await fresh.fetch("SELECT version FROM prompt_versions WHERE status = 'active'")
            seen.append(len(rows))

    async def change() -> None:
        try:
            for number in range(20):
                values: dict[str, Any] = {"action_id": str(uuid4()), "origin": "improvement", "created_by": "loop"}
                added = await repository.add_candidate("explainer", f"text {number}", **values)
                await repository.activate("explainer", added.version, "loop")
                if number % 2:
                    await repository.roll_back("explainer", "worse")
        finally:
            done.set()

    await asyncio.gather(read(), read(), change())
    assert len(seen) > 20
    assert set(seen) == {1}
