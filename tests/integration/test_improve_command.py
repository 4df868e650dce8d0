"""`e2i improve` as a person calls it: what it shows, what it decides, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from src.domain.improvement import ActionStatus, ChangeKind, Hop, Proposal
from src.domain.rubric import RubricDecision
from src.storage.cycles import CycleRepository
from src.storage.database import Database
from src.storage.improvement_actions import ActionRepository
from src.storage.improvement_hops import HopLedger
from src.storage.prompt_versions import PromptRepository
from tests.e2e.command_line import SameProcess
from tests.integration.loop_rows import poorly_found, snapshot
from tests.mlflow_store import template

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
OLD, NEW = "Say what was found. No clinical advice.", "Say what was found and how sure it is. No clinical advice."


@pytest.fixture
def e2i(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> SameProcess:
    var = tmp_path / "var"
    var.mkdir()
    shutil.copyfile(template(), var / "mlflow.db")
    monkeypatch.setenv("E2I_EMBEDDINGS", "none")
    monkeypatch.setenv("E2I_EVALUATION_RATE", "1")
    return SameProcess(var, database_url)


def proposed(url: str, status: ActionStatus, hops: Sequence[Hop] = ()) -> str:
    """A change of the explainer's prompt that stands at ``status`` after ``hops``; its id."""

    async def add() -> str:
        async with Database.open(url) as database:
            prompts = PromptRepository(database)
            await prompts.import_files()
            active = await prompts.active("explainer")
            assert active is not None
            cycle = await CycleRepository(database).start("manual")
            proposal = Proposal(
                component="explainer",
                kind=ChangeKind.PROMPT,
                before={"text": active.content},
                after={"text": NEW},
                reason="AUTO_UPDATE for explainer; mean of 2.50 rubric points over 9 answers",
                decision=RubricDecision.AUTO_UPDATE,
                judged_by="heuristic",
            )
            first = ActionStatus.QUEUED if status is ActionStatus.QUEUED else ActionStatus.PROPOSED
            action = await ActionRepository(database).propose(
                proposal, cycle_id=cycle.cycle_id, priority="high", status=first
            )
            ledger = HopLedger(database)
            tested = {"verdict": {"outcome": "pass", "n_needed": None, "n": 20, "look": 1}, "approval": "rules judged"}
            for hop in hops:
                evidence: dict[str, Any] = tested if hop is Hop.TESTED else {"diff": "+how sure it is"}
                last = status if hop is hops[-1] else None
                await ledger.record(action.action_id, hop, status=last, changes={}, evidence=evidence, actor="loop")
            await prompts.add_candidate("explainer", NEW, action_id=action.action_id, origin="gepa", created_by="loop")
            return action.action_id

    return asyncio.run(add())


WAITING = (Hop.PROPOSED, Hop.CANDIDATE, Hop.GUARDED, Hop.TESTED)


def test_nothing_is_due_where_nothing_was_asked(e2i: SameProcess) -> None:
    done = e2i("improve", "--once")
    assert (done.code, "no cycle is due" in done.out) == (0, True)
    assert e2i("improve", "queue").out.strip() == "Nothing waits for a person."
    assert e2i("improve", "history", "--json").document == []


def test_a_round_tells_what_it_learnt_as_text_and_as_json(e2i: SameProcess) -> None:
    async def fill(first: int) -> None:
        async with Database.open(e2i.dsn) as database:
            await poorly_found(database, 2, first)

    asyncio.run(fill(0))
    told = e2i("improve", "--once")
    assert (told.code, "orchestrator waits: 2 of the 5" in told.out) == (0, True)
    asyncio.run(fill(2))
    document = e2i("improve", "--once", "--now", "--json").document
    assert (document["leader"], document["cycle"]["status"], document["cycle"]["items"]) == (True, "completed", 4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--once or --loop"),
        (("--once", "--loop"), "--once or --loop"),
        (("--loop", "--now"), "--now goes with --once"),
        (("--once", "status"), "leave them out"),
        (("explain", "abcdef12"), "no action has the id"),
        (("approve", "xyz"), "is no id"),
        (("history", "--component", "explaner"), "explainer"),
        (("reject", "abcdef12"), "--reason"),
        (("pause", "--reason", " "), "say who"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(e2i: SameProcess, arguments: tuple[str, ...], says: str) -> None:
    done = e2i("improve", *arguments)
    assert done.code == 2
    assert says in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_the_switch_is_shown_with_who_and_why(e2i: SameProcess) -> None:
    assert e2i("improve", "pause", "--reason", "quarter end", "--by", "anna").code == 0
    assert "Paused: changes are paused by anna: quarter end" in e2i("improve", "status").out
    assert e2i("improve", "resume", "--json").document["paused"] is False
    assert e2i("improve", "status", "--json").document["paused"] is None


def test_a_change_that_waits_is_listed_approved_and_starts_its_canary(e2i: SameProcess) -> None:
    action = proposed(e2i.dsn, ActionStatus.AWAITING_APPROVAL, WAITING)
    (waiting,) = e2i("improve", "queue", "--json").document
    assert (waiting["action_id"], waiting["status"]) == (action, "awaiting_approval")
    decided = e2i("improve", "approve", action[:8], "--by", "anna", "--json").document
    assert (decided["status"], decided["approved_by"]) == ("measuring", "anna")
    assert snapshot(e2i.dsn).one("prompt_ab_tests")["component"] == "explainer"
    assert e2i("improve", "approve", action[:8]).code == 2


def test_a_change_that_is_refused_is_never_used(e2i: SameProcess) -> None:
    action = proposed(e2i.dsn, ActionStatus.AWAITING_APPROVAL, WAITING)
    done = e2i("improve", "reject", action[:8], "--reason", "too technical", "--by", "anna")
    assert (done.code, "rejected" in done.out) == (0, True)
    rows = snapshot(e2i.dsn)
    assert rows.one("prompt_versions", source_action_id=action)["status"] == "rejected"
    assert e2i("improve", "rollback", action[:8], "--reason", "r").code == 2


@pytest.mark.parametrize(("command", "status"), [("approve", "confirmed"), ("reject", "rejected")])
def test_a_suggestion_is_taken_up_or_refused(e2i: SameProcess, command: str, status: str) -> None:
    action = proposed(e2i.dsn, ActionStatus.QUEUED)
    reason = ("--reason", "no") if command == "reject" else ()
    assert e2i("improve", command, action, *reason, "--json").document["status"] == status


def test_a_canary_is_taken_back_by_a_person(e2i: SameProcess) -> None:
    action = proposed(e2i.dsn, ActionStatus.AWAITING_APPROVAL, WAITING)
    assert e2i("improve", "approve", action).code == 0
    assert e2i("improve", "rollback", action, "--reason", "too long", "--json").document["status"] == "rolled_back"
    assert snapshot(e2i.dsn).one("prompt_ab_tests")["winner"] == "control"


def test_a_change_is_explained_with_its_difference_evidence_and_record(e2i: SameProcess) -> None:
    action = proposed(e2i.dsn, ActionStatus.AWAITING_APPROVAL, WAITING)
    told = e2i("improve", "explain", action[:8])
    assert told.code == 0
    for words in ("+Say what was found and how sure it is.", "verdict: pass", "rules judged", "as it was written"):
        assert words in told.out
    document = e2i("improve", "explain", action[:8], "--json").document
    assert [one["hop"] for one in document["hops"]] == [str(one) for one in WAITING]


def test_a_record_that_somebody_altered_is_told_and_exit_1(e2i: SameProcess) -> None:
    action = proposed(e2i.dsn, ActionStatus.AWAITING_APPROVAL, WAITING)

    async def alter() -> None:
        async with Database.open(e2i.dsn) as database, database.transaction() as session:
            await session.execute("ALTER TABLE improvement_hops DISABLE TRIGGER USER")
            await session.execute("UPDATE improvement_hops SET actor = 'nobody' WHERE hop = 'tested'")

    asyncio.run(alter())
    told = e2i("improve", "explain", action)
    assert (told.code, "NOT as it was written" in told.out) == (1, True)


def script(name: str, e2i: SameProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / name), *arguments],
        env={**os.environ, **e2i.environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_scripts_do_the_same(e2i: SameProcess) -> None:
    action = proposed(e2i.dsn, ActionStatus.QUEUED)
    listed = script("improvements.py", e2i, "list", "--json")
    assert [one["action_id"] for one in json.loads(listed.stdout)] == [action]
    assert script("improvements.py", e2i, "undo").returncode == 2
    round_of = script("run_self_improvement.py", e2i, "--once", "--json")
    assert (round_of.returncode, json.loads(round_of.stdout)["leader"]) == (0, True)
