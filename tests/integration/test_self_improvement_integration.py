"""The loop wired together: what is kept to learn from, when a cycle is due, who leads, and what holds it up."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.app.conversation_retention import forget_idle_conversations
from src.app.corpus import add_insights
from src.app.improving.hard_questions import hard_questions
from src.app.improving.inputs import documents_question, explain_request
from src.app.improving.models import loop_models
from src.app.improving.opening import LoopOptions, OrWhyNot, open_improvement
from src.app.improving.oversight import loop_state, roll_back_change, set_switch
from src.app.improving.runners import can_answer_again
from src.app.improving.schedule import LEADER, due, open_rounds, run_loop, run_once
from src.app.improving.units import parts_of
from src.app.interactions import keep
from src.app.prompts import open_prompts
from src.app.session import claimed, open_checkpointer
from src.domain.improvement import ChangeKind, Variant
from src.errors import ConfigError, HPOError
from src.llm.configuration import load_llm_config
from src.mlops.mlflow_connector import reset_mlflow_connector
from src.mlops.opik_connector import reset_opik_connector
from src.mlops.tracing.ids import uuid7
from src.optimization.improver import Candidate, ImprovementTask
from src.rag.configuration import load_rag_config
from src.rag.retrieval.opening import open_retriever
from src.resilience.outcomes import Unavailable
from src.storage.canaries import CanaryRepository
from src.storage.conversations import ConversationRepository
from src.storage.cycles import CognitiveCycle, CycleRepository
from src.storage.database import Database
from src.storage.interaction_inputs import InteractionInputs
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.learning_items import WaitingItems
from src.storage.prompt_versions import PromptRepository
from src.storage.retrieval_configurations import RetrievalConfigRepository
from tests.integration.loop_rows import poor_retrieval, poorly_found, snapshot
from tests.mlflow_store import template

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ANSWERS = 6


@pytest.fixture
def here(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The configured database and folder, with an MLflow store; no model."""
    shutil.copyfile(template(), tmp_path / "mlflow.db")
    for name, value in {
        "DATABASE_URL": database_url,
        "E2I_VAR_DIR": str(tmp_path),
        "E2I_EMBEDDINGS": "none",
        "E2I_EVALUATION_RATE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    reset_opik_connector()
    reset_mlflow_connector()
    yield database_url
    reset_opik_connector()
    reset_mlflow_connector()


@pytest.fixture
async def database(here: str) -> AsyncIterator[Database]:
    async with Database.open(here) as opened:
        yield opened


def quick(**safety: Any) -> LoopOptions:
    """Few trials; otherwise the configuration."""
    config = load_self_improvement()
    improvement = config.improvement.model_copy(update={"retrieval_trials": 6})
    changed = {"improvement": improvement, "safety": config.safety.model_copy(update=safety)}
    return LoopOptions(config.model_copy(update=changed))


async def to_improve(database: Database) -> None:
    """A corpus, poor retrieval, and answers that suffered from it."""
    await add_insights()
    await poor_retrieval(database)
    await poorly_found(database, ANSWERS)


def cycle(minutes_ago: float, status: str = "completed") -> CognitiveCycle:
    ended = NOW - timedelta(minutes=minutes_ago)
    return CognitiveCycle(str(uuid4()), ended, ended, "schedule", 5, None, status)


def waits(count: int) -> WaitingItems:
    return WaitingItems(count, 0, NOW if count else None)


@pytest.mark.parametrize(
    ("waiting", "new", "before", "trigger"),
    [
        (0, 0, None, None),
        (0, 0, cycle(60), None),
        (1, 1, None, "schedule"),
        (5, 5, None, "threshold"),
        (1, 1, cycle(14), None),
        (1, 1, cycle(15), "schedule"),
        (4, 4, cycle(1), None),
        (5, 5, cycle(1), "threshold"),
        (9, 2, cycle(1), None),
        (9, 9, cycle(1, "failed"), None),
        (9, 9, cycle(15, "failed"), "threshold"),
    ],
    ids=[
        *("nothing ever", "nothing new", "the first answer", "the first batch", "too soon", "interval over"),
        *("no batch yet", "a batch", "old ones that wait make no batch", "after a failure", "after a failure, later"),
    ],
)
def test_a_cycle_is_due_by_a_batch_of_new_answers_or_by_the_clock(
    waiting: int, new: int, before: CognitiveCycle | None, trigger: str | None
) -> None:
    assert due(waits(waiting), new, before, NOW, load_self_improvement().reflection) == trigger


async def test_the_retrieval_half_closes_without_a_model(database: Database, here: str) -> None:
    await to_improve(database)
    report = await run_once(quick())
    assert report.learnt is not None
    assert report.learnt.error is None
    rows = snapshot(here)
    action = rows.action("retrieval")
    assert (action["status"], action["judged_by"]) == ("measuring", "labels")
    assert [row["hop"] for row in rows.hops(action["action_id"])][-1] == "canary"
    assert rows.one("prompt_ab_tests", component="retrieval")["treatment_retrieval"] == 3
    assert rows.one("cognitive_cycles")["trigger"] == "threshold"
    assert (await run_once(quick())).learnt is None


async def test_only_one_of_two_schedulers_works(database: Database, here: str) -> None:
    await poorly_found(database, ANSWERS)
    first, second = await asyncio.gather(run_once(quick()), run_once(quick()))
    assert {first.leader, second.leader} == {True, False}
    idle = first if second.leader else second
    assert (idle.measured, idle.learnt) == ((), None)
    assert len(snapshot(here)["cognitive_cycles"]) == 1


async def until(holds: Callable[[], bool], work: asyncio.Task[Any]) -> None:
    """Wait while ``work`` goes on; what ends it is raised."""
    while not holds():
        if work.done():
            await work
        await asyncio.sleep(0.05)


async def test_a_loop_takes_over_when_the_leader_has_ended(database: Database, here: str) -> None:
    await poorly_found(database, ANSWERS)
    stop, seen = asyncio.Event(), list[bool]()
    async with open_checkpointer(database):
        pass  # its tables are made before somebody leads, as every process does
    async with claimed(database, LEADER) as mine:
        assert mine
        looping = asyncio.create_task(
            run_loop(
                stop,
                on_round=lambda report: seen.append(report.leader),
                on_outage=lambda problem: pytest.fail(problem),
                every_s=0.05,
                options=quick(),
            )
        )
        await until(lambda: len(seen) > 1, looping)
    await until(lambda: seen[-1], looping)
    stop.set()
    await looping
    assert seen[:2] == [False, False]


@pytest.mark.parametrize("by", ["switch", "environment"])
async def test_while_changes_are_paused_wishes_are_recorded_and_nothing_is_changed(
    database: Database, here: str, by: str
) -> None:
    await to_improve(database)
    options = quick(pause_auto_updates=by == "environment")
    if by == "switch":
        await set_switch(paused=True, by="anna", reason="quarter end")
    report = await run_once(options)
    assert any("paused" in one for one in report.said)
    rows = snapshot(here)
    assert rows.action("retrieval")["status"] == "blocked"
    assert rows["prompt_ab_tests"] == []
    assert [row["version"] for row in rows.of("retrieval_configurations", status="active")] == [2]


async def test_the_pause_switch_stops_a_change_between_two_hops(database: Database, here: str) -> None:
    await to_improve(database)
    async with open_rounds(quick()) as rounds:
        pipeline = rounds.improvement.pipeline
        items = await rounds.improvement.services.items.claim(
            (await rounds.improvement.cycles.start("manual")).cycle_id, 10
        )
        running = await rounds.improvement.cycles.running()
        assert running is not None
        from src.domain.rubric import RubricDecision

        proposed = await pipeline.propose(
            "retrieval", RubricDecision.AUTO_UPDATE, items, (), running.cycle_id, kind=ChangeKind.RETRIEVAL
        )
        assert proposed.action is not None
        await set_switch(paused=True, by="anna", reason="stop")
        stopped = await pipeline.carry_on(proposed.action.action_id)
        assert (stopped.done, "anna" in stopped.waits_for) == ((), True)
        await set_switch(paused=False, by="anna", reason="go on")
        assert (await pipeline.carry_on(proposed.action.action_id)).status == "measuring"


async def test_a_cycle_that_was_left_running_is_gone_on_with(database: Database, here: str) -> None:
    await poorly_found(database, ANSWERS)
    left = await CycleRepository(database).start("schedule")
    report = await run_once(quick())
    assert report.learnt is not None
    assert (report.resumed, report.learnt.batch_id) == (True, left.cycle_id)
    assert snapshot(here).one("cognitive_cycles")["status"] == "completed"


async def test_a_person_takes_a_canary_back_while_changes_are_paused(database: Database, here: str) -> None:
    await to_improve(database)
    await run_once(quick())
    action = snapshot(here).action("retrieval")
    await set_switch(paused=True, by="anna", reason="stop")
    decided = await roll_back_change(str(action["action_id"])[:8], "anna", "too slow")
    rows = snapshot(here)
    assert decided.action.status == "rolled_back"
    assert rows.one("prompt_ab_tests")["winner"] == "control"
    assert [row["version"] for row in rows.of("retrieval_configurations", status="active")] == [2]


async def test_the_state_says_what_waits_and_when_the_next_cycle_is_due(database: Database, here: str) -> None:
    assert (await loop_state()).next_cycle is None
    await poorly_found(database, 2)
    state = await loop_state()
    assert (state.waiting.unscored, state.paused, state.under_way) == (2, None, ())
    assert state.next_cycle is not None
    assert json.dumps(state.document(), default=str)


async def test_a_session_gets_one_version_of_prompt_and_settings(database: Database, here: str) -> None:
    prompts = await open_prompts(database)
    repository, settings = PromptRepository(database), RetrievalConfigRepository(database)
    tried = await repository.add_candidate(
        "explainer", "Try this. No clinical advice.", action_id=None, origin="improvement", created_by="test"
    )
    await repository.approve("explainer", tried.version)
    poor = {**{name: getattr(await settings.active(), name) for name in ("chunk_size", "chunk_overlap")}, "k": 2}
    poor |= {"dense_weight": 0.0, "text_weight": 1.0, "graph_weight": 0.0, "rerank": False}
    other = await settings.add_candidate(poor, action_id=str(uuid4()))
    await settings.approve(other.config.version)
    canaries = CanaryRepository(database)
    shared = {"split": 0.5, "target_samples": 50, "min_per_arm": 5, "alpha": 0.05, "min_hours": 1.0, "max_hours": 9.0}
    for component, kind, control, treatment in (
        ("explainer", ChangeKind.PROMPT, 1, tried.version),
        ("retrieval", ChangeKind.RETRIEVAL, 1, other.config.version),
    ):
        await canaries.start(
            component=component, kind=kind, control=control, treatment=treatment, action_id=None, **shared
        )
    retriever = open_retriever(database, load_rag_config(), embeddings=Unavailable("embeddings", "off"))
    seen: set[tuple[int, int]] = set()
    for _ in range(30):
        session = str(uuid4())
        found = set()
        for _ in range(2):
            parts = parts_of(session, database, prompts, retriever)
            wording = await parts.prompts.active("explainer")
            found.add((wording.version, (await parts.retriever._configuration()).version))
        assert len(found) == 1
        canary = await canaries.running("explainer")
        assert canary is not None
        assert (next(iter(found))[0] == tried.version) == (canary.variant_of(session) == "treatment")
        seen |= found
    assert {one[0] for one in seen} == {1, tried.version}
    assert {one[1] for one in seen} == {1, other.config.version}


def an_answer(**fields: Any) -> Interaction:
    given = {"trace_id": str(uuid7()), "query": "What is planned?", "answer": "Two calls.", "session_id": str(uuid4())}
    return Interaction(**given | fields)


async def test_what_components_were_given_is_kept_with_the_answer_and_forgotten_with_the_session(
    database: Database, here: str
) -> None:
    one = an_answer()
    conversations, inputs = ConversationRepository(database), InteractionInputs(database)
    await conversations.begin(one.session_id, one.trace_id, request={}, role="analyst", expertise="analyst")
    assert await keep(database, one, {"explainer": {"query": "q"}})
    assert await inputs.get(one.interaction_id, "explainer") == {"query": "q"}
    await conversations.end(one.trace_id, status="answered", tokens=0, dollars=0.0)
    forgotten = await forget_idle_conversations(database, days=1, now=datetime.now(UTC) + timedelta(days=3))
    assert forgotten.forgotten == 1
    assert await inputs.get(one.interaction_id, "explainer") is None
    assert (await InteractionRepository(database).find(one.trace_id)).answer == "Two calls."


async def test_an_answer_whose_inputs_cannot_be_kept_is_kept(database: Database, here: str) -> None:
    one = an_answer()
    assert await keep(database, one, {"explainer": {"value": float("nan")}})
    assert (await InteractionRepository(database).find(one.trace_id)).interaction_id == one.interaction_id
    assert await InteractionInputs(database).get(one.interaction_id, "explainer") is None


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"OPENAI_API_KEY": "k", "E2I_OPENAI_SMALL_MODEL": "small", "E2I_OPENAI_MODEL": "small"}, "OPTIMISING_JUDGE"),
        ({"OPENAI_API_KEY": "k", "E2I_OPENAI_OPTIMISING_JUDGE": "gpt-5-mini"}, "gpt-5-mini would judge"),
    ],
)
def test_a_model_that_would_judge_its_own_candidates_is_refused(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        loop_models(load_llm_config(environ=environment), load_self_improvement())


def test_two_models_of_one_provider_are_enough_and_without_any_there_are_none() -> None:
    chosen = loop_models(load_llm_config(environ={"ANTHROPIC_API_KEY": "k"}), load_self_improvement())
    assert chosen is not None
    assert (chosen.provider, chosen.gate != chosen.optimising) == ("anthropic", True)
    assert loop_models(load_llm_config(environ={}), load_self_improvement()) is None


async def test_without_a_model_only_retrieval_can_be_changed(database: Database, here: str) -> None:
    async with open_improvement(database) as improvement:
        assert set(improvement.services.improvers) == {ChangeKind.RETRIEVAL}
        assert set(improvement.services.gate_replays) == {ChangeKind.RETRIEVAL}
        assert improvement.models is None


class Unable:
    kind = ChangeKind.PROMPT

    async def improve(self, task: ImprovementTask) -> Candidate:
        raise HPOError("3 training items; at least 4 are needed")


@pytest.mark.parametrize(
    ("component", "says"), [("explainer", "at least 4 are needed"), ("orchestrator", "change it by hand")]
)
async def test_an_improver_that_cannot_says_why_and_holds_nothing_up(component: str, says: str) -> None:
    task = ImprovementTask(Variant(component, ChangeKind.PROMPT, {"text": "t"}), (), (), (), "run", 1)
    found = await OrWhyNot(Unable()).improve(task)
    assert found.variant is None
    assert says in found.reason


@pytest.mark.parametrize(("component", "read"), [("explainer", explain_request), ("rag_answer", documents_question)])
async def test_the_hard_questions_can_be_answered_by_a_component_that_is_tried(component: str, read: Any) -> None:
    items = await hard_questions(component)
    assert len(items) == 15
    assert all(can_answer_again(component, item) and read(item.inputs) for item in items)
    assert await hard_questions("tool_composer") == []


def killed_after(seconds: float, dsn: str, var: Path) -> int:
    """A round in a child process that is killed; its exit code."""
    environment = {**os.environ, "DATABASE_URL": dsn, "E2I_VAR_DIR": str(var)}
    script = Path(__file__).resolve().parents[2] / "scripts" / "run_self_improvement.py"
    child = subprocess.Popen(
        [sys.executable, str(script), "--once"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        return child.wait()


def check_after_a_kill(dsn: str) -> None:
    """One cycle and one change, each hop of it once, one version in use."""
    rows = snapshot(dsn)
    assert [row["status"] for row in rows["cognitive_cycles"]] == ["completed"]
    (action,) = [row for row in rows["improvement_actions"] if row["component"] == "retrieval"]
    keys = [(row["hop"], row["attempt"]) for row in rows.hops(action["action_id"])]
    assert keys == [(one, 1) for one in ("proposed", "candidate", "guarded", "tested", "approved", "canary")]
    assert len(rows["prompt_ab_tests"]) == 1
    assert len(rows.of("retrieval_configurations", status="active")) == 1
    with psycopg.connect(dsn) as connection:
        (whole,) = connection.execute("SELECT verify_improvement_hops(%s)", (action["action_id"],)).fetchone() or (0,)
    assert whole
    learnt = [row for row in rows["rag_interactions"] if row["learnt_at"] is not None]
    assert len(learnt) == ANSWERS


@pytest.mark.leaves_orphans
@pytest.mark.parametrize(
    "seconds",
    [
        *(pytest.param(one, id=f"{one:g}s") for one in (6.0,)),
        *(
            pytest.param(one, marks=pytest.mark.slow, id=f"{one:g}s")
            for one in (2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 10.0, 13.0)
        ),
    ],
)
async def test_a_round_that_was_killed_is_finished_by_the_next_one(
    database: Database, here: str, tmp_path: Path, seconds: float
) -> None:
    await to_improve(database)
    killed_after(seconds, here, tmp_path)
    await run_once(at_once=True)
    await run_once()
    check_after_a_kill(here)


async def test_answers_wait_while_a_component_has_too_few_of_them(database: Database, here: str) -> None:
    await poorly_found(database, 2)
    report = await run_once(quick(), at_once=True)
    assert report.learnt is not None
    assert report.learnt.decisions == {}
    assert set(report.learnt.waiting) == {"orchestrator", "retrieval"}
    assert all(row["learning_cycle_id"] is None for row in snapshot(here)["rag_interactions"])
