"""Does every node of a run leave an entry, and is any change to it found and named?"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from src.agents.auditing import audit_init
from src.agents.causal_impact.agent import CausalImpactAgent, ImpactResult, checkpoint_serializer
from src.agents.digests import digest
from src.agents.runtime import Deps, NodeError
from src.errors import DatabaseUnavailable, RunNotFound
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.ids import uuid7
from src.storage.audit_chain import AuditChain, AuditChains, AuditEntry
from src.storage.conversations import ConversationRepository
from src.storage.database import Database
from tests.integration.observed import NOWHERE
from tests.unit.test_agents.test_causal_impact.fakes import FrameDatasets, confounded, request
from tests.unit.test_mlops.recorded import settings

ROUTE = ["audit_init", "graph_builder", "estimation", "refutation", "sensitivity", "interpretation"]
SOME = "ab" * 32


@pytest.fixture
async def connector(database_url: str, tmp_path: Path) -> Any:
    """Spans go to the database of the test."""
    made = OpikConnector(settings(), spool=tmp_path / "spool")
    made.use_database(lambda: database_url)
    yield made
    await made.shutdown(2)


def deps_of(connector: OpikConnector, db: Database, run_id: str, **named: Any) -> Deps:
    datasets = FrameDatasets(study=confounded(0.5, n=400))
    return Deps(datasets, connector, run_id, run_id, audit=AuditChain(db, run_id), **named)


async def audited(connector: OpikConnector, db: Database) -> tuple[str, ImpactResult]:
    """An analysis with its chain, spans stored; the trace has the id of the run."""
    run_id = str(uuid7())
    result = await CausalImpactAgent().run(request(confounders=("severity",)), deps_of(connector, db, run_id))
    assert await connector.flush()
    return run_id, result


async def chain(db: Database, length: int = 5) -> str:
    """A chain without spans."""
    chain_id = str(uuid7())
    for number in range(length):
        await AuditChain(db, chain_id).append("explainer", f"node {number}", SOME, digest({"number": number}))
    return chain_id


async def test_every_node_of_an_analysis_leaves_an_entry_that_its_span_names(
    connector: OpikConnector, db: Database
) -> None:
    run_id, result = await audited(connector, db)
    chains = AuditChains(db)
    entries = await chains.entries(run_id)
    assert result.meta.status == "completed"
    assert [(one.sequence, one.agent, one.node) for one in entries] == [
        (number, "causal_impact", node) for number, node in enumerate(ROUTE)
    ]
    assert entries[0].output_sha256 == digest({})
    assert entries[0].input_sha256 == digest({"request": request(confounders=("severity",))})
    assert await chains.verify(run_id) == (await chains.verify_all())[0]
    verdict = await chains.verify(run_id)
    assert (verdict.intact, verdict.entries, verdict.witnesses) == (True, len(ROUTE), len(ROUTE))


async def test_a_node_that_refuses_has_an_entry_too(connector: OpikConnector, db: Database) -> None:
    run_id = str(uuid7())
    deps = dataclasses.replace(deps_of(connector, db, run_id), datasets=FrameDatasets())
    result = await CausalImpactAgent().run(request(), deps)
    assert result.error is not None
    entries = await AuditChains(db).entries(run_id)
    assert [one.node for one in entries] == ["audit_init", "graph_builder", "error_handler"]
    error = NodeError("DatasetNotFound", "no dataset 'study'", "graph_builder")
    assert entries[1].output_sha256 == digest({"error": error})


CHANGES = {
    "agent": "'orchestrator'",
    "node": "'another'",
    "input_sha256": "repeat('a', 64)",
    "output_sha256": "repeat('a', 64)",
    "previous_sha256": "repeat('a', 64)",
    "entry_sha256": "repeat('a', 64)",
    "created_at": "created_at + interval '1 us'",
}


@pytest.mark.parametrize("column", CHANGES)
async def test_a_change_to_any_column_of_an_entry_is_found(db: Database, column: str) -> None:
    name, other = await chain(db), await chain(db)
    wanted = (name,)
    await db.execute(
        f"UPDATE audit_chain SET {column} = {CHANGES[column]} WHERE chain_id = %s AND sequence = 2", wanted
    )
    verdict = await AuditChains(db).verify(name)
    assert (verdict.intact, verdict.broken_at) == (False, 2)
    assert "entry 2 was changed" in verdict.problem
    assert [one.intact for one in await AuditChains(db).verify_all()] == [False, True]
    assert (await AuditChains(db).verify(other)).intact


@pytest.mark.parametrize(
    ("statements", "broken_at", "problem"),
    [
        (["DELETE FROM audit_chain WHERE sequence = 2"], 2, "entry 2 is missing"),
        (["DELETE FROM audit_chain WHERE sequence = 0"], 0, "entry 0 is missing"),
        (
            [
                "UPDATE audit_chain SET sequence = 99 WHERE sequence = 1",
                "UPDATE audit_chain SET sequence = 1 WHERE sequence = 2",
                "UPDATE audit_chain SET sequence = 2 WHERE sequence = 99",
            ],
            1,
            "entry 1 was changed",
        ),
        (["UPDATE audit_chain SET sequence = sequence + 100"], 0, "entry 0 is missing"),
        (
            [
                "UPDATE audit_chain SET node = 'another' WHERE sequence = 2",
                "UPDATE audit_chain AS one SET entry_sha256 = audit_entry_digest(one) WHERE sequence = 2",
            ],
            3,
            "entry 3 does not follow",
        ),
        (["UPDATE audit_chain SET chain_id = gen_random_uuid() WHERE sequence = 3"], 3, "entry 3 is missing"),
    ],
)
async def test_entries_taken_out_moved_or_forged_are_found(
    db: Database, statements: list[str], broken_at: int, problem: str
) -> None:
    name = await chain(db)
    for statement in statements:
        await db.execute(statement)
    verdict = await AuditChains(db).verify(name)
    assert (verdict.intact, verdict.broken_at) == (False, broken_at)
    assert problem in verdict.problem


async def test_entries_cut_off_at_the_end_are_missed_by_the_spans_of_the_run(
    connector: OpikConnector, db: Database
) -> None:
    run_id, _ = await audited(connector, db)
    await db.execute("DELETE FROM audit_chain WHERE chain_id = %s AND sequence >= 4", (run_id,))
    verdict = await AuditChains(db).verify(run_id)
    assert (verdict.intact, verdict.entries, verdict.broken_at) == (False, 4, 4)
    assert verdict.problem == "entry 4 is missing at the end: a span of the run names it"
    await db.execute("DELETE FROM audit_chain WHERE chain_id = %s", (run_id,))
    gone = await AuditChains(db).verify(run_id)
    assert (gone.intact, gone.entries, gone.broken_at) == (False, 0, 0)
    assert [one.chain_id for one in await AuditChains(db).verify_all()] == [run_id]


async def test_a_chain_written_anew_is_not_the_one_its_spans_name(connector: OpikConnector, db: Database) -> None:
    run_id, _ = await audited(connector, db)
    entries = await AuditChains(db).entries(run_id)
    await db.execute("DELETE FROM audit_chain WHERE chain_id = %s", (run_id,))
    for one in entries:
        await AuditChain(db, run_id).append(one.agent, one.node, one.input_sha256, SOME)
    verdict = await AuditChains(db).verify(run_id)
    assert (verdict.intact, verdict.broken_at) == (False, 0)
    assert verdict.problem == "entry 0 is not the one that a span of the run names"


async def test_a_chain_dated_back_and_hashed_anew_is_not_the_one_its_spans_name(
    connector: OpikConnector, db: Database
) -> None:
    run_id, _ = await audited(connector, db)
    await db.execute("UPDATE audit_chain SET created_at = created_at - interval '1 day' WHERE sequence >= 2")
    for sequence in range(len(ROUTE)):
        await db.execute(
            "UPDATE audit_chain AS one SET previous_sha256 = coalesce((SELECT before.entry_sha256 FROM audit_chain AS"
            " before WHERE before.sequence = one.sequence - 1), one.previous_sha256) WHERE sequence = %s",
            (sequence,),
        )
        await db.execute(
            "UPDATE audit_chain AS one SET entry_sha256 = audit_entry_digest(one) WHERE sequence = %s", (sequence,)
        )
    whole = await db.fetchrow("SELECT verify_chain(%s) AS fits", (run_id,))
    assert whole == {"fits": True}
    verdict = await AuditChains(db).verify(run_id)
    assert (verdict.intact, verdict.broken_at) == (False, 2)
    assert verdict.problem == "entry 2 is not the one that a span of the run names"


@pytest.mark.parametrize(("status", "rule"), [("answered", None), ("asked_back", None), ("declined", "individuals")])
async def test_an_answered_question_without_a_chain_is_found(db: Database, status: str, rule: str | None) -> None:
    conversations, chains, trace = ConversationRepository(db), AuditChains(db), str(uuid7())
    session, asker = str(uuid7()), {"role": "analyst", "expertise": "analyst"}
    await conversations.begin(session, trace, request={"query": "why?"}, **asker)
    await conversations.refuse(session, str(uuid7()), rule="tokens_per_session", **asker)
    assert await chains.verify_all() == ()
    await conversations.end(trace, status=status, rule=rule)
    (verdict,) = await chains.verify_all()
    assert (verdict.chain_id, verdict.intact) == (trace, False)
    assert verdict.problem == "a question was answered and no entry tells of it"
    assert await chains.named(trace[:18]) == (trace,)
    assert not (await chains.verify(trace)).intact
    await AuditChain(db, trace).append("orchestrator", "audit_init", SOME, SOME)
    assert (await chains.verify(trace)).intact


async def test_an_entry_without_stored_spans_is_checked_by_itself(db: Database) -> None:
    verdict = await AuditChains(db).verify(await chain(db, 3))
    assert (verdict.intact, verdict.entries, verdict.witnesses) == (True, 3, 0)


async def test_entries_added_at_the_same_time_stand_in_one_order(db: Database) -> None:
    name = str(uuid7())
    agents = ("orchestrator", "explainer", "causal_impact")

    async def add(agent: str) -> list[AuditEntry]:
        log = AuditChain(db, name)
        return [await log.append(agent, f"node {number}", SOME, digest({"n": number})) for number in range(8)]

    added = await asyncio.gather(*(add(agent) for agent in agents))
    assert sorted(entry.sequence for entries in added for entry in entries) == list(range(24))
    for entries in added:
        assert [entry.sequence for entry in entries] == sorted(entry.sequence for entry in entries)
    assert (await AuditChains(db).verify(name)).entries == 24
    assert (await AuditChains(db).verify(name)).intact


async def test_a_run_whose_entry_cannot_be_kept_stops_and_goes_on_later(connector: OpikConnector, db: Database) -> None:
    run_id, saver = str(uuid7()), InMemorySaver(serde=checkpoint_serializer())

    class Outage(AuditChain):
        async def append(self, agent: str, node: str, *digests: str) -> AuditEntry:
            if node == "refutation":
                raise DatabaseUnavailable("gone")
            return await super().append(agent, node, *digests)

    deps = dataclasses.replace(deps_of(connector, db, run_id), audit=Outage(db, run_id))
    with pytest.raises(DatabaseUnavailable):
        await CausalImpactAgent(saver).run(request(confounders=("severity",)), deps)
    result = await CausalImpactAgent(saver).run(request(), deps_of(connector, db, run_id))
    assert await connector.flush()
    assert result.meta.status == "completed"
    assert [one.node for one in await AuditChains(db).entries(run_id)] == ROUTE
    assert (await AuditChains(db).verify(run_id)).intact


async def test_no_other_write_gives_up_waiting_for_the_disk(database_url: str) -> None:
    async with Database.open(database_url, max_size=1) as db:
        await AuditChain(db, str(uuid7())).append("explainer", "assemble", SOME, SOME)
        assert await db.fetchrow("SHOW synchronous_commit") == {"synchronous_commit": "on"}


async def test_a_database_that_is_gone_is_an_outage() -> None:
    with pytest.raises(DatabaseUnavailable):
        async with Database.open(NOWHERE, patience_s=0.1) as gone:
            await AuditChain(gone, str(uuid7())).append("explainer", "assemble", SOME, SOME)


@pytest.mark.parametrize(("wrote_again", "entries"), [("the same", 2), ("another", 3)])
async def test_a_node_run_once_more_has_one_entry_unless_it_wrote_something_else(
    db: Database, wrote_again: str, entries: int
) -> None:
    """A process killed between a node's entry and its checkpoint runs that node again."""
    name = str(uuid7())
    killed = AuditChain(db, name)
    await killed.append("explainer", "assemble", SOME, digest({"a": 1}))
    first = await killed.append("explainer", "reason", SOME, digest({"said": "the same"}))
    again = await AuditChain(db, name).append("explainer", "reason", SOME, digest({"said": wrote_again}))
    assert (again == first) is (wrote_again == "the same")
    assert len(await AuditChains(db).entries(name)) == entries
    assert (await AuditChains(db).verify(name)).intact


async def test_a_second_run_of_the_same_agent_in_a_chain_is_no_repetition(db: Database) -> None:
    name = str(uuid7())
    for _ in range(2):
        log = AuditChain(db, name)
        for node in ("audit_init", "assemble", "generate"):
            await log.append("explainer", node, SOME, digest({}))
    assert [one.node for one in await AuditChains(db).entries(name)] == ["audit_init", "assemble", "generate"] * 2


async def test_a_chain_is_found_by_the_beginning_of_its_id(connector: OpikConnector, db: Database) -> None:
    run_id, _ = await audited(connector, db)
    assert await AuditChains(db).named(run_id[:23].upper()) == (run_id,)
    (listed,) = await AuditChains(db).recent()
    assert (listed.chain_id, listed.agents, listed.entries) == (run_id, ("causal_impact",), len(ROUTE))
    assert listed.began_at <= listed.ended_at


@pytest.mark.parametrize("reference", ["0199", "no id at all", "ffffffff", ""])
async def test_an_unknown_id_is_said(db: Database, reference: str) -> None:
    await chain(db)
    with pytest.raises(RunNotFound):
        await AuditChains(db).named(reference)
    with pytest.raises(RunNotFound):
        await AuditChains(db).verify(str(uuid7()))


async def test_without_an_audit_log_a_node_runs_as_before(connector: OpikConnector, db: Database) -> None:
    run_id = str(uuid7())
    deps = dataclasses.replace(deps_of(connector, db, run_id), audit=None)
    result = await CausalImpactAgent().run(request(confounders=("severity",)), deps)
    assert result.meta.status == "completed"
    assert await AuditChains(db).verify_all() == ()


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Result:
    value: float
    names: tuple[str, ...] = ()
    colour: Colour = Colour.RED


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=5))
def test_the_order_of_keys_does_not_change_a_digest(state: dict[str, Any]) -> None:
    turned = dict(reversed(state.items()))
    small = {key: value for key, value in state.items() if not isinstance(value, int) or abs(value) < 2**53}
    assert digest({key: turned[key] for key in reversed(list(small))}) == digest(small)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"r": Result(0.1)}, {"r": Result(0.1)}, True),
        ({"r": Result(0.1)}, {"r": Result(0.1000000001)}, False),
        ({"r": Result(float("nan"))}, {"r": Result(float("inf"))}, False),
        ({"r": (Result(1.0),)}, {"r": [Result(1.0)]}, True),
        ({"r": Result(1.0, ("a",))}, {"r": Result(1.0, ("b",))}, False),
        ({}, {"r": None}, False),
        (None, {}, False),
        ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, {"at": datetime(2026, 1, 2, tzinfo=UTC)}, False),
    ],
)
def test_a_digest_tells_states_apart(one: Mapping[str, Any] | None, other: Mapping[str, Any], same: bool) -> None:
    assert (digest(one) == digest(other)) is same


def test_a_value_without_json_has_no_digest() -> None:
    with pytest.raises(TypeError, match="not JSON serializable: object"):
        digest({"r": object()})


async def test_the_first_node_writes_nothing(connector: OpikConnector, db: Database) -> None:
    from langgraph.runtime import Runtime

    node: Callable[..., Any] = audit_init("orchestrator")
    name = str(uuid7())
    assert await node({"a": 1}, Runtime(context=deps_of(connector, db, name))) == {}
    (entry,) = await AuditChains(db).entries(name)
    assert (entry.agent, entry.node, entry.input_sha256) == ("orchestrator", "audit_init", digest({"a": 1}))
