"""Is each hop of a change done once, whole, and recorded so that nobody can alter it unseen?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from src.domain.improvement import ActionStatus, Hop, digest
from src.errors import RunNotFound
from src.storage.database import Database, Session
from src.storage.improvement_actions import ActionRepository
from src.storage.improvement_hops import HopLedger
from tests.unit.test_storage.loop_rows import action, prompts

EVIDENCE = {"diff": "- old\n+ new", "scores": {"mean": 3.5, "interval": [3.1, 3.9]}, "spend": {"dollars": 0.02}}


async def record(ledger: HopLedger, action_id: str, hop: Hop = Hop.PROPOSED, **values: Any) -> bool:
    known: dict[str, Any] = {"status": None, "changes": {}, "evidence": EVIDENCE, "actor": "loop"}
    return await ledger.record(action_id, hop, **known | values)


async def test_a_hop_is_done_once(fresh: Database) -> None:
    ledger, stored = HopLedger(fresh), await action(fresh)
    done: list[int] = []

    async def effect(session: Session) -> None:
        done.append(1)

    assert await record(ledger, stored.action_id, status=ActionStatus.MEASURING, within=effect)
    assert not await record(ledger, stored.action_id, status=ActionStatus.REJECTED, within=effect)
    assert done == [1]
    assert (await ActionRepository(fresh).get(stored.action_id)).status is ActionStatus.MEASURING
    assert len(await ledger.hops(stored.action_id)) == 1


async def test_of_many_at_once_one_does_the_hop(fresh: Database) -> None:
    ledger, stored = HopLedger(fresh), await action(fresh)
    done: list[int] = []

    async def effect(session: Session) -> None:
        done.append(1)
        await asyncio.sleep(0.01)

    outcomes = await asyncio.gather(*(record(ledger, stored.action_id, within=effect) for _ in range(6)))
    assert sorted(outcomes) == [False] * 5 + [True]
    assert done == [1]


async def test_an_effect_that_fails_leaves_nothing(fresh: Database) -> None:
    ledger, stored = HopLedger(fresh), await action(fresh)

    async def effect(session: Session) -> None:
        await session.execute("UPDATE improvement_actions SET approved_by = 'half'")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        await record(ledger, stored.action_id, status=ActionStatus.APPLIED, within=effect)
    assert await ActionRepository(fresh).get(stored.action_id) == stored
    assert await ledger.hops(stored.action_id) == ()
    assert await record(ledger, stored.action_id)


async def test_a_hop_of_a_larger_transaction_goes_with_it(fresh: Database) -> None:
    ledger, stored = HopLedger(fresh), await action(fresh)

    async def fail() -> None:
        async with fresh.transaction() as session:
            assert await record(ledger, stored.action_id, session=session)
            assert not await record(ledger, stored.action_id, session=session)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        await fail()
    assert await ledger.hops(stored.action_id) == ()


async def test_an_entry_tells_what_when_by_whom_and_on_which_evidence(fresh: Database) -> None:
    ledger, stored = HopLedger(fresh), await action(fresh)
    (version,) = await prompts(fresh, "old")
    at = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    await record(ledger, stored.action_id, at=at)
    changes = {"prompt_version_id": version.id, "knowledge_ids": (version.id,), "after_config": {"text": "newer"}}
    await record(ledger, stored.action_id, Hop.CANDIDATE, changes=changes, actor="anna")
    first, second = await ledger.hops(stored.action_id)
    assert (first.hop, first.sequence, first.actor, first.happened_at) == (Hop.PROPOSED, 0, "loop", at)
    assert (first.evidence, first.status) == (EVIDENCE, ActionStatus.PROPOSED)
    assert (first.parent_sha256, first.content_sha256) == (digest({"text": "old"}), digest({"text": "new"}))
    assert (second.actor, second.content_sha256) == ("anna", digest({"text": "newer"}))
    assert second.previous_sha256 == first.entry_sha256
    changed = await ActionRepository(fresh).get(stored.action_id)
    assert (changed.prompt_version_id, changed.knowledge_ids) == (version.id, (version.id,))


async def test_only_looks_have_a_second_attempt(fresh: Database) -> None:
    ledger, stored = HopLedger(fresh), await action(fresh)
    for hop in (Hop.TESTED, Hop.MEASURED):
        assert [await record(ledger, stored.action_id, hop, attempt=n) for n in (1, 2, 2)] == [True, True, False]
    with pytest.raises(psycopg.errors.CheckViolation):
        await record(ledger, stored.action_id, Hop.PROMOTED, attempt=2)


@pytest.mark.parametrize("column", ["idempotency_key", "component", "status", "no_such"])
async def test_a_hop_writes_no_other_columns(fresh: Database, column: str) -> None:
    stored = await action(fresh)
    with pytest.raises(ValueError, match=column):
        await record(HopLedger(fresh), stored.action_id, changes={column: "x"})


async def test_evidence_that_is_no_number_is_refused(fresh: Database) -> None:
    stored = await action(fresh)
    with pytest.raises(ValueError, match="JSON"):
        await record(HopLedger(fresh), stored.action_id, evidence={"score": float("nan")})


async def test_a_hop_of_an_unknown_action_is_refused(fresh: Database) -> None:
    with pytest.raises(RunNotFound):
        await record(HopLedger(fresh), "00000000-0000-4000-8000-000000000000")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE improvement_hops SET actor = 'x'",
        "DELETE FROM improvement_hops",
        "TRUNCATE improvement_hops",
        "TRUNCATE improvement_actions CASCADE",
        "WITH gone AS (DELETE FROM improvement_hops RETURNING 1) SELECT * FROM gone",
    ],
)
async def test_the_ledger_is_only_appended_to(fresh: Database, statement: str) -> None:
    stored = await action(fresh)
    await record(HopLedger(fresh), stored.action_id)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="never changed"):
        await fresh.execute(statement)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE improvement_hops SET evidence = '{}' WHERE sequence = 1",
        "UPDATE improvement_hops SET actor = 'bob' WHERE sequence = 0",
        "UPDATE improvement_hops SET happened_at = happened_at + interval '1 second' WHERE sequence = 2",
        "DELETE FROM improvement_hops WHERE sequence = 0",
        "DELETE FROM improvement_hops WHERE sequence = 1",
        "DELETE FROM improvement_hops WHERE sequence = 2",
        "DELETE FROM improvement_hops",
    ],
)
async def test_what_is_altered_past_the_trigger_is_noticed(fresh: Database, tampering: str) -> None:
    ledger, stored = HopLedger(fresh), await action(fresh)
    assert await ledger.verify(stored.action_id)
    for hop in (Hop.PROPOSED, Hop.CANDIDATE, Hop.GUARDED):
        await record(ledger, stored.action_id, hop)
    assert await ledger.verify(stored.action_id)
    await fresh.execute("ALTER TABLE improvement_hops DISABLE TRIGGER USER")
    await fresh.execute(tampering)
    assert not await ledger.verify(stored.action_id)


async def test_an_action_that_is_not_there_has_no_intact_record(fresh: Database) -> None:
    assert not await HopLedger(fresh).verify("00000000-0000-4000-8000-000000000000")


async def test_an_action_with_a_record_cannot_be_removed(fresh: Database) -> None:
    stored = await action(fresh)
    await record(HopLedger(fresh), stored.action_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await fresh.execute("DELETE FROM improvement_actions")
