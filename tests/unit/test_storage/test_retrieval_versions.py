"""How do retrieval settings become those in use, for a share of the sessions first, and how are they taken back?"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from src.domain.improvement import ChangeKind
from src.errors import ContractViolation, DataUnavailable
from src.storage.canaries import Canary, CanaryRepository
from src.storage.database import Database
from src.storage.retrieval_configurations import RetrievalConfigRepository
from tests.unit.test_storage.loop_rows import SETTINGS, action

UNITS = [f"session {number}" for number in range(40)]


@pytest.fixture
async def configurations(fresh: Database) -> RetrievalConfigRepository:
    """The shipped settings are in use; settings 2 and 3 are candidates."""
    repository = RetrievalConfigRepository(fresh)
    for k in (8, 9):
        await repository.add_candidate({**SETTINGS, "k": k}, action_id=str(uuid4()))
    return repository


async def divide(db: Database, treatment: int) -> Canary:
    return await CanaryRepository(db).start(
        component="retrieval", kind=ChangeKind.RETRIEVAL, control=1, treatment=treatment, split=0.5,
        target_samples=40, min_per_arm=5, alpha=0.05, min_hours=24, max_hours=168,
    )  # fmt: skip


async def statuses(repository: RetrievalConfigRepository) -> dict[int, str]:
    return {one.config.version: one.status for one in await repository.versions()}


async def test_the_shipped_settings_are_in_use(fresh: Database) -> None:
    (shipped,) = await RetrievalConfigRepository(fresh).versions()
    assert (shipped.active, shipped.config.version, shipped.activated_at) == (True, 1, shipped.created_at)
    assert shipped.config == await RetrievalConfigRepository(fresh).active()


async def test_the_candidate_of_an_action_is_stored_once(fresh: Database) -> None:
    repository, change = RetrievalConfigRepository(fresh), await action(fresh)
    first, *others = await asyncio.gather(
        *(repository.add_candidate(SETTINGS, action_id=change.action_id) for _ in range(4))
    )
    assert others == [first] * 3
    assert first.config.settings == SETTINGS
    assert (first.status, first.source_action_id) == ("candidate", change.action_id)
    assert first.parent_id == (await repository.active()).config_id
    assert await repository.of_id(first.config.config_id) == await repository.get(2) == first


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"k": 5}, ContractViolation),
        ({**SETTINGS, "magic": 1}, ContractViolation),
        ({**SETTINGS, "k": 51}, psycopg.IntegrityError),
        ({**SETTINGS, "dense_weight": 0.9}, psycopg.IntegrityError),
    ],
)
async def test_settings_that_cannot_be_are_refused(
    fresh: Database, settings: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await RetrievalConfigRepository(fresh).add_candidate(settings, action_id=str(uuid4()))


async def test_activation_retires_the_settings_before(configurations: RetrievalConfigRepository) -> None:
    await configurations.approve(2)
    activated = await configurations.activate(2, "loop")
    assert await statuses(configurations) == {1: "retired", 2: "active", 3: "candidate"}
    assert (activated.activated_by, activated.activated_at is not None) == ("loop", True)
    assert await configurations.activate(2, "anna") == activated
    before = await configurations.get(1)
    assert before.retired_at == activated.activated_at


async def test_a_roll_back_brings_the_settings_before_back(configurations: RetrievalConfigRepository) -> None:
    await configurations.activate(2, "loop")
    restored = await configurations.roll_back("nDCG fell")
    assert (restored.config.version, restored.active) == (1, True)
    assert (await configurations.get(2)).rollback_reason == "nDCG fell"
    with pytest.raises(ContractViolation, match="no parent to go back to"):
        await configurations.roll_back("again")
    with pytest.raises(ContractViolation, match="rolled_back and cannot be activated"):
        await configurations.activate(2, "loop")
    assert await statuses(configurations) == {1: "active", 2: "rolled_back", 3: "candidate"}


@pytest.mark.parametrize(("keep", "allowed"), [(2, False), (3, True), (None, True)])
async def test_settings_beyond_those_kept_are_not_gone_back_to(
    configurations: RetrievalConfigRepository, keep: int | None, allowed: bool
) -> None:
    await configurations.activate(2, "loop")
    await configurations.activate(3, "loop")
    if allowed:
        assert (await configurations.roll_back("worse", keep=keep)).config.version == 1
    else:
        with pytest.raises(ContractViolation, match="not among the"):
            await configurations.roll_back("worse", keep=keep)


async def test_a_decision_that_was_made_stands(configurations: RetrievalConfigRepository) -> None:
    await configurations.reject(2)
    with pytest.raises(ContractViolation, match="are rejected and cannot be approved"):
        await configurations.approve(2)
    with pytest.raises(ContractViolation, match="were rejected and cannot be activated"):
        await configurations.activate(2, "loop")
    with pytest.raises(ContractViolation, match="are active and cannot be rejected"):
        await configurations.reject(1)
    with pytest.raises(ContractViolation, match="no retrieval settings 9"):
        await configurations.activate(9, "loop")
    assert await statuses(configurations) == {1: "active", 2: "rejected", 3: "candidate"}


async def test_during_a_canary_its_share_of_sessions_gets_the_candidate(
    fresh: Database, configurations: RetrievalConfigRepository
) -> None:
    assert {(await configurations.for_unit(unit)).version for unit in UNITS} == {1}
    canary = await divide(fresh, 2)
    for unit in UNITS:
        found = await configurations.for_unit(unit)
        assert found.version == (2 if canary.variant_of(unit) == "treatment" else 1)
        assert found.k == {1: 10, 2: 8}[found.version]
    assert (await configurations.active()).version == 1
    await CanaryRepository(fresh).end(canary.canary_id, winner="control")
    assert {(await configurations.for_unit(unit)).version for unit in UNITS} == {1}


async def test_a_canary_that_compares_nothing_any_more_divides_nobody(
    fresh: Database, configurations: RetrievalConfigRepository
) -> None:
    await divide(fresh, 2)
    await configurations.activate(3, "anna")
    assert {(await configurations.for_unit(unit)).version for unit in UNITS} == {3}


async def test_without_active_settings_nobody_gets_any(
    fresh: Database, configurations: RetrievalConfigRepository
) -> None:
    await fresh.execute("UPDATE retrieval_configurations SET is_active = false, status = 'retired' WHERE is_active")
    for asked in (configurations.active(), configurations.for_unit("session")):
        with pytest.raises(DataUnavailable, match="no retrieval configuration is active"):
            await asked


async def test_one_row_is_active_at_every_instant(fresh: Database, configurations: RetrievalConfigRepository) -> None:
    done, seen = asyncio.Event(), list[int]()

    async def read() -> None:
        while not done.is_set():
            seen.append(len(await fresh.fetch("SELECT 1 FROM retrieval_configurations WHERE is_active")))

    async def change() -> None:
        try:
            for number in range(20):
                added = await configurations.add_candidate({**SETTINGS, "k": number + 1}, action_id=str(uuid4()))
                await configurations.activate(added.config.version, "loop")
                if number % 2:
                    await configurations.roll_back("worse")
        finally:
            done.set()

    await asyncio.gather(read(), read(), change())
    assert len(seen) > 20
    assert set(seen) == {1}
