"""What is left of a cycle: its reward, its MLflow run, its rows, all of them computed from what happened?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from src.agents.feedback_learner.agent import FeedbackLearnerAgent, checkpoint_serializer
from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.agents.feedback_learner.reward import WEIGHTS, training_signal
from src.agents.feedback_learner.services import Services
from src.agents.feedback_learner.state import ComponentVerdict, EarlierAction, LearnRequest, Step
from src.app.session import open_checkpointer
from src.domain.improvement import ActionStatus, DetectedPattern
from src.domain.rubric import RubricDecision
from src.errors import ContractViolation, HPOError
from src.mlops.mlflow_connector import MLflowConnector
from src.storage.cycles import CycleRepository
from src.storage.database import Database
from src.storage.evaluation_results import EvaluationRepository
from src.storage.improvement_actions import ActionRepository
from src.storage.knowledge import KnowledgeRepository
from src.storage.learning_items import LearningItemRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.quality_signals import QualitySignalRepository
from tests.mlflow_store import configuration, new_store
from tests.unit.test_agents.test_feedback_learner.learning_parts import (
    CYCLE,
    SETTINGS,
    MemoryAlerts,
    ScriptedPipeline,
    action,
    decided,
    deps,
    item,
    items,
    learn,
    parts,
)
from tests.unit.test_storage.loop_rows import answered, scored

U, E = RubricDecision.AUTO_UPDATE, RubricDecision.ESCALATE


def verdict(component: str, decision: RubricDecision | None, *ids: str) -> ComponentVerdict:
    return ComponentVerdict(component, decision, 2.5, ids, "llm", "")


def signal(**changes: Any) -> Any:
    known: dict[str, Any] = {
        "items": [],
        "patterns": [],
        "verdicts": [],
        "steps": [],
        "earlier": [],
        "seconds": 15.0,
        "budget_s": 60.0,
    }
    values = known | changes
    lists = [values.pop(name) for name in ("items", "patterns", "verdicts", "steps", "earlier")]
    return training_signal(*lists, **values)


def test_a_part_without_anything_to_compute_it_from_is_absent() -> None:
    found = signal()
    assert set(dataclasses.asdict(found).values()) == {None}


def test_accuracy_is_the_share_of_evidence_that_was_judged_bad() -> None:
    those = [item(1, 2.5), item(2, 4.5), item(3, 4.5)]
    evidence = (*(one.interaction_id for one in those[:2]), "unknown")
    found = signal(items=those, patterns=[DetectedPattern("explainer", "accuracy", 3, "high", evidence)])
    assert found.accuracy == 0.5


def test_actionability_is_the_share_of_needs_that_were_met() -> None:
    verdicts = [verdict("a", U), verdict("b", U), verdict("c", E), verdict("d", RubricDecision.ACCEPTABLE)]
    steps = [Step("a", "action-a", ActionStatus.PROPOSED, ""), Step("b", None, None, "nothing better")]
    assert signal(verdicts=[*verdicts, verdict("e", None)], steps=steps).actionability == pytest.approx(2 / 3)


def test_effectiveness_is_the_share_of_measured_changes_that_helped() -> None:
    earlier = [
        EarlierAction(str(n), "a", ActionStatus.CONFIRMED, improved) for n, improved in enumerate((True, False, None))
    ]
    assert signal(earlier=earlier).effectiveness == 0.5


def test_rubric_efficiency_and_coverage_are_shares() -> None:
    those = items(4, 3.0)
    found = signal(items=those, verdicts=[verdict("explainer", U, *(one.interaction_id for one in those[:1]))])
    assert (found.rubric, found.efficiency, found.coverage) == (0.5, 0.75, 0.25)
    assert signal(items=those, seconds=90.0).efficiency == 0.0


def test_the_reward_is_the_weighted_mean_of_the_parts_there_are() -> None:
    found = signal(items=items(4, 3.0), seconds=0.0)
    assert (found.efficiency, found.coverage, found.accuracy) == (1.0, 0.0, None)
    assert found.reward == pytest.approx((0.20 * 0.5 + 0.10 * 1.0 + 0.10 * 0.0) / 0.40)
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


async def test_a_cycle_without_answers_is_closed_without_a_reward() -> None:
    ran = await learn(parts())
    assert ran.result.training_signal is not None
    assert (ran.result.training_signal.reward, ran.result.meta.status) == (None, "completed")
    assert (ran.parts.cycles.ended[0]["decision"], ran.parts.cycles.ended[0]["items"]) == (None, 0)


async def test_answers_wait_for_their_component_though_retrieval_is_decided() -> None:
    used = {"retrieval_config_id": "settings-1", "ragas": {"context_precision": 0.1, "context_recall": 0.1}}
    few = [*items(3, **used), *items(3, first=10, component="rag_answer", **used)]
    ran = await learn(parts(*few))
    assert (ran.result.decisions, set(ran.result.waiting)) == ({"retrieval": U}, {"explainer", "rag_answer"})
    assert ran.parts.items.given_back == [[one.interaction_id for one in few]]


async def test_answers_outside_of_the_focus_wait() -> None:
    others = items(5, 1.5, first=10, component="causal_impact")
    ran = await learn(parts(*decided(U), *others), {"batch_id": CYCLE, "focus_components": ["explainer"]})
    assert (set(ran.result.decisions), ran.parts.alerts.sent) == ({"explainer"}, [])
    assert ran.parts.items.given_back == [[one.interaction_id for one in others]]


async def test_earlier_changes_bear_on_the_reward() -> None:
    made = parts(*decided(U))
    made.history.actions = [action("explainer", ActionStatus.CONFIRMED, outcome_improved=True)]
    ran = await learn(made)
    assert ran.result.training_signal is not None
    assert ran.result.training_signal.effectiveness == 1.0


@pytest.fixture
def store(tmp_path: Path) -> MLflowConnector:
    return MLflowConnector(new_store(tmp_path / "store"), config_path=configuration(tmp_path))


async def runs(store: MLflowConnector) -> Any:
    experiment = await store.get_or_create_experiment("feedback_learning")
    assert experiment.experiment_id is not None
    return await store.search_runs([experiment.experiment_id])


async def test_a_cycle_is_one_mlflow_run_however_often_it_is_closed(store: MLflowConnector) -> None:
    for _ in range(2):
        ran = await learn(parts(*decided(U), *decided(E, "causal_impact", first=20), more={"mlflow": store}))
        assert ran.result.meta.status == "completed"
    (run,) = await runs(store)
    assert run.tags["cycle_id"] == CYCLE
    assert (run.params["decision.explainer"], run.params["decision.causal_impact"]) == ("AUTO_UPDATE", "ESCALATE")
    assert run.metrics["rubric.explainer"] == 2.5
    assert (run.metrics["items"], run.metrics["alerts"], run.metrics["proposals"]) == (10, 1, 1)
    signal_of = ran.result.training_signal
    assert signal_of is not None
    assert run.metrics["signal.reward"] == pytest.approx(signal_of.reward)
    assert "signal.effectiveness" not in run.metrics


async def test_a_failed_cycle_has_no_mlflow_run(store: MLflowConnector) -> None:
    made = parts(*decided(U), more={"mlflow": store})
    made.pipeline.fails = HPOError("too few")
    ran = await learn(made)
    assert (ran.result.meta.status, await runs(store)) == ("failed", [])


# Real rows, and LangGraph's checkpoints in PostgreSQL.


def over(db: Database, pipeline: ScriptedPipeline) -> Services:
    return Services(
        settings=SETTINGS,
        items=LearningItemRepository(db),
        rubric=RubricEvaluator(SETTINGS),
        evaluations=EvaluationRepository(PostgresGateway(db)),
        signals=QualitySignalRepository(db),
        lessons=KnowledgeRepository(db),
        earlier=ActionRepository(db),
        cycles=CycleRepository(db),
        pipeline=pipeline,
        alerts=MemoryAlerts(),
    )


async def learnt(db: Database) -> list[str]:
    rows = await db.fetch("SELECT interaction_id FROM rag_interactions WHERE learnt_at IS NOT NULL")
    return sorted(str(row["interaction_id"]) for row in rows)


async def test_a_pipeline_of_cycles_over_real_rows_learns_from_each_answer_once(db: Database) -> None:
    pipeline = ScriptedPipeline()
    agent = FeedbackLearnerAgent(over(db, pipeline))
    wrote = {"prompt_versions": {"explainer": 1}}
    first = [await scored(db, f"why {number}?", rubric=2.5, **wrote) for number in range(5)]
    alone = await scored(db, "what else?", rubric=2.5, agents=["tool_composer"])
    given, _ = deps()
    result = await agent.learn({"trigger": "threshold"}, given)
    assert (result.decisions, result.error) == ({"explainer": U}, None)
    assert result.waiting == {"tool_composer": "1 of the 5 judged answers that a decision needs"}
    assert await learnt(db) == sorted(first)
    cycle = await CycleRepository(db).get(result.batch_id)
    assert (cycle.status, cycle.decision, cycle.items, cycle.trigger) == ("completed", "AUTO_UPDATE", 6, "threshold")
    assert cycle.summary["decisions"] == {"explainer": "AUTO_UPDATE", "tool_composer": "waits"}
    again = await agent.learn({}, given)
    assert (again.items, again.decisions) == ((alone,), {})
    assert len(pipeline.proposed) == 1


async def test_the_graph_judges_answers_that_nobody_scored_and_keeps_their_rows(db: Database) -> None:
    for number in range(5):
        await answered(db, f"What do calls do to NRx {number}?", agents=["causal_impact"])
    given, _ = deps()
    result = await FeedbackLearnerAgent(over(db, ScriptedPipeline())).learn({}, given)
    assert result.counts["judged_now"] == 5
    assert set(result.decisions) == {"causal_impact"}
    rows = await db.fetch("SELECT cycle_id, rubric_weighted, ragas_weighted, combined_score FROM learning_signals")
    assert {str(row["cycle_id"]) for row in rows} == {result.batch_id}
    assert all(row["ragas_weighted"] is None and row["combined_score"] is not None for row in rows)
    stored = await db.fetchrow("SELECT count(*) AS n FROM evaluation_results WHERE rubric_method = 'heuristic'")
    assert stored == {"n": 5}


class Killed(BaseException):
    """What a process does not survive."""


class DyingPipeline(ScriptedPipeline):
    async def carry_on(self, action_id: str) -> Any:
        raise Killed


async def test_a_killed_graph_goes_on_from_its_checkpoint_in_the_database(db: Database) -> None:
    wrote = {"prompt_versions": {"explainer": 1}}
    ids = [await scored(db, f"why {number}?", rubric=2.5, **wrote) for number in range(5)]
    cycle = await CycleRepository(db).start("schedule")
    given, _ = deps()
    async with open_checkpointer(db) as saver:
        saver.serde = checkpoint_serializer()
        with pytest.raises(Killed):
            await FeedbackLearnerAgent(over(db, DyingPipeline()), saver).learn(
                LearnRequest(batch_id=cycle.cycle_id), given
            )
    assert await learnt(db) == []
    # An answer that came meanwhile is none of the cycle's.
    await scored(db, "late?", rubric=1.0, **wrote)
    later, route = ScriptedPipeline(), list[str]()
    again, _ = deps(route)
    async with open_checkpointer(db) as saver:
        saver.serde = checkpoint_serializer()
        running = await CycleRepository(db).running()
        assert running is not None
        result = await FeedbackLearnerAgent(over(db, later), saver).learn({"batch_id": running.cycle_id}, again)
        assert [one async for one in saver.alist(None)] == []
    assert (route, later.proposed, later.carried) == (["update", "finalize"], [], ["action-explainer"])
    assert (sorted(result.items), await learnt(db)) == (sorted(ids), sorted(ids))
    assert result.training_signal is not None


async def test_a_cycle_that_has_ended_is_not_carried_out_again(db: Database) -> None:
    agent = FeedbackLearnerAgent(over(db, ScriptedPipeline(fails=HPOError("no"))))
    for number in range(5):
        await scored(db, f"why {number}?", rubric=2.5, prompt_versions={"explainer": 1})
    given, _ = deps()
    failed = await agent.learn({}, given)
    healthy = FeedbackLearnerAgent(over(db, ScriptedPipeline()))
    with pytest.raises(ContractViolation, match=r"has ended \(failed\): start another one"):
        await healthy.learn({"batch_id": failed.batch_id}, given)
    assert ((await CycleRepository(db).get(failed.batch_id)).status, await learnt(db)) == ("failed", [])


async def test_a_failed_cycle_leaves_its_answers_to_the_next(db: Database) -> None:
    wrote = {"prompt_versions": {"explainer": 1}}
    ids = [await scored(db, f"why {number}?", rubric=2.5, **wrote) for number in range(5)]
    given, _ = deps()
    failed = await FeedbackLearnerAgent(over(db, ScriptedPipeline(fails=HPOError("no")))).learn({}, given)
    assert (failed.meta.status, await learnt(db)) == ("failed", [])
    row = await CycleRepository(db).get(failed.batch_id)
    assert (row.status, row.summary["error"]["node"]) == ("failed", "extract")
    following = await FeedbackLearnerAgent(over(db, ScriptedPipeline())).learn({}, given)
    assert (following.meta.status, await learnt(db)) == ("completed", sorted(ids))
    assert following.batch_id != failed.batch_id
