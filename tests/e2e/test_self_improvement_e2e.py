"""The whole circle on real parts: a weak prompt and poor retrieval are found, mended, tested, tried and used, and what
goes wrong afterwards is taken back. One run; every table, Opik and MLflow are looked at after each step.

Scripted are only the servers of the model's provider and of Opik: the model answers as its prompt asks it to.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from src.app.demonstration_loop.circle import EXPLAINER, RETRIEVAL, Circle, open_circle, small_settings, weak_prompt
from src.app.demonstration_loop.model import NEXT, SURE, ObedientModel
from src.app.demonstration_loop.world import World, own_world
from src.app.improving.inputs import explain_request
from src.domain.identifiers import find_identifiers
from src.domain.improvement import digest
from src.mlops.mlflow.configuration import load_mlflow_config
from src.mlops.tracing.orphans import find_orphans
from src.optimization.gates.splits import split_items
from src.optimization.text.north_stars import protected_sentences
from src.storage.learning_items import LearningItemRepository
from tests.integration.loop_rows import Snapshot, snapshot
from tests.mlflow_store import template
from tests.shared_database import cloned_database

FIRST, AFTER, BADLY = 26, 4, 12
SOON, LATER = 4, 9
"""Sessions in each arm of the canaries before the first look, and after it."""
DAY_AND_AN_HOUR = 25.0
BEGINNING = ["proposed", "candidate", "guarded", "tested", "approved", "canary"]


@dataclass
class Run:
    """What was seen of the run: the tables after each step, and what the parts said."""

    dsn: str
    folder: Path
    world: World
    after: dict[str, Snapshot] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)

    def look(self, step: str) -> None:
        self.after[step] = snapshot(self.dsn)

    @property
    def end(self) -> Snapshot:
        return self.after["closed"]


@pytest.fixture(scope="module")
def run(postgres_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("circle")
    with cloned_database(postgres_dsn, template_database, "circle") as dsn:
        shutil.copyfile(template(), folder / "mlflow.db")
        with own_world(with_model=True, database_url=dsn, folder=folder) as world:
            assert world.model is not None
            world.model.half_point_in = None
            seen = Run(dsn, folder, world)
            asyncio.run(_circle(seen, world.model))
        yield seen


async def _circle(seen: Run, model: ObedientModel) -> None:
    async with open_circle(model) as circle:
        await circle.spoil()
        seen.look("spoilt")
        seen.said["first"] = await circle.ask(FIRST)
        seen.look("asked")
        seen.said["items"] = await LearningItemRepository(circle.session.database).for_component(EXPLAINER)
        seen.said["cycle"] = await circle.learn()
        seen.look("learnt")
        await circle.ask_both_arms(SOON)
        seen.look("tried")
        seen.said["early"] = await circle.measure()
        await circle.ask_both_arms(LATER)
        circle.clock.forward(DAY_AND_AN_HOUR)
        seen.said["promoted"] = await circle.measure()
        seen.look("promoted")
        seen.said["next"] = await circle.ask(AFTER)
        seen.look("better")
        model.spoilt_by = SURE
        await circle.ask(BADLY)
        seen.said["rolled_back"] = await circle.measure()
        seen.look("rolled_back")
        seen.said["last"] = await circle.ask(2)
        await _confirm(seen, circle)


async def _confirm(seen: Run, circle: Circle) -> None:
    circle.clock.forward(DAY_AND_AN_HOUR)
    seen.said["confirmed"] = await circle.measure()
    seen.look("confirmed")
    circle.clock.forward(DAY_AND_AN_HOUR)
    await circle.measure()
    seen.look("closed")
    pipeline = circle.rounds.improvement.pipeline
    for component in (EXPLAINER, RETRIEVAL):
        action = await circle.latest(component)
        seen.said[component] = await pipeline.explain(action.action_id)
    await circle.session.tracer.flush()


def active(rows: Snapshot) -> dict[str, list[int]]:
    """The versions in use, of each component."""
    found: dict[str, list[int]] = {
        RETRIEVAL: [row["version"] for row in rows.of("retrieval_configurations", status="active")]
    }
    for row in rows.of("prompt_versions", status="active"):
        found.setdefault(row["component"], []).append(row["version"])
    return found


def spans(dsn: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM ml_observability_spans").fetchall()


def test_every_answer_is_kept_with_what_it_was_made_with_and_from(run: Run) -> None:
    rows = run.after["asked"]
    answers = rows["rag_interactions"]
    assert len(answers) == FIRST
    settings = rows.one("retrieval_configurations", status="active")
    assert {row["prompt_versions"][EXPLAINER] for row in answers} == {2}
    assert {row["retrieval_config_id"] for row in answers} == {settings["config_id"]}
    kept = rows.of("interaction_inputs", component=EXPLAINER)
    assert {row["interaction_id"] for row in kept} == {row["interaction_id"] for row in answers}
    assert all(explain_request(row["inputs"]).results for row in kept)
    assert find_identifiers(json.dumps([row["inputs"] for row in kept])) == ()


def test_every_answer_is_scored_by_a_model_both_ways(run: Run) -> None:
    rows = run.after["asked"]
    results = rows["evaluation_results"]
    assert len(results) == FIRST
    assert {(row["method"], row["rubric_method"], row["rubric_model"]) for row in results} == {
        ("ragas", "llm", "claude-haiku-5-5")
    }
    signals = rows.of("learning_signals", signal_type="evaluation")
    assert {row["rubric_decision"] for row in signals} == {"AUTO_UPDATE"}
    assert all(0 < row["combined_score"] < 1 for row in signals)


def test_the_scores_stand_on_the_traces_of_the_answers_in_opik_and_in_the_database(run: Run) -> None:
    trace = run.said["first"][0].meta.trace_id
    given = run.world.opik.scores(trace)
    assert {"faithfulness", "rubric_actionability", "rubric_weighted", "combined_score"} <= set(given)
    with psycopg.connect(run.dsn) as connection:
        query = "SELECT name, value FROM ml_observability_feedback WHERE trace_id = %s"
        stored = dict(connection.execute(query, (trace,)).fetchall())
    assert {name: stored[name] for name in given if name in stored} == pytest.approx(
        {name: float(row["value"]) for name, row in given.items() if name in stored}
    )
    assert "combined_score" in stored


def test_one_cycle_learns_from_all_of_them(run: Run) -> None:
    cycle = run.after["learnt"].one("cognitive_cycles")
    assert (cycle["status"], cycle["decision"], cycle["items"]) == ("completed", "AUTO_UPDATE", FIRST)
    assert cycle["summary"]["decisions"] == {EXPLAINER: "AUTO_UPDATE", RETRIEVAL: "AUTO_UPDATE"}
    assert 0 < cycle["summary"]["training_signal"]["reward"] < 1
    answers = run.after["learnt"]["rag_interactions"]
    assert {row["learning_cycle_id"] for row in answers} == {cycle["cycle_id"]}
    assert all(row["learnt_at"] is not None for row in answers)


@pytest.mark.parametrize("component", [EXPLAINER, RETRIEVAL])
def test_the_change_goes_hop_by_hop_to_its_canary(run: Run, component: str) -> None:
    rows = run.after["learnt"]
    action = rows.action(component)
    assert [row["hop"] for row in rows.hops(action["action_id"])] == BEGINNING
    assert action["status"] == "measuring"
    assert (action["decision"], action["cycle_id"]) == ("AUTO_UPDATE", rows.one("cognitive_cycles")["cycle_id"])
    assert action["judged_by"] == ("llm" if component == EXPLAINER else "labels")


def test_gepa_finds_what_the_prompt_lacked_and_keeps_what_must_stay(run: Run) -> None:
    action = run.after["learnt"].action(EXPLAINER)
    new = run.after["learnt"].one("prompt_versions", component=EXPLAINER, version=3)
    assert (new["origin"], new["parent_version"], new["status"]) == ("gepa", 2, "approved")
    assert str(new["source_action_id"]) == str(action["action_id"])
    assert {SURE, NEXT} <= set(new["content"].splitlines())
    assert not {SURE, NEXT} & set(weak_prompt().splitlines())
    for sentence in protected_sentences(weak_prompt(), small_settings()):
        assert sentence in new["content"]


def test_the_settings_found_by_optuna_search_words_too(run: Run) -> None:
    action = run.after["learnt"].action(RETRIEVAL)
    poor, better = action["before_config"], action["after_config"]
    assert (poor["k"], poor["text_weight"]) == (1, 0.0)
    assert better["text_weight"] > 0
    assert better["k"] > 1
    new = run.after["learnt"].one("retrieval_configurations", version=3)
    assert (new["status"], str(new["source_action_id"])) == ("approved", str(action["action_id"]))


def test_the_maker_never_saw_a_test_question(run: Run) -> None:
    split = split_items(run.said["items"], small_settings().gate)
    questions = {share: {item.query for item in getattr(split, share)} for share in ("train", "validation", "test")}
    assert not questions["test"] & (questions["train"] | questions["validation"])
    first = run.after["learnt"].hops(run.after["learnt"].action(EXPLAINER)["action_id"])
    proposed, tested = first[0]["evidence"], first[3]["evidence"]
    assert (proposed["train"]["n"], proposed["validation"]["n"]) == (len(split.train), len(split.validation))
    assert tested["test"]["n"] == len(split.test)


def test_another_model_decides_than_the_one_that_optimised(run: Run) -> None:
    hops = run.after["learnt"].hops(run.after["learnt"].action(EXPLAINER)["action_id"])
    assert hops[0]["evidence"]["judge"] == "anthropic:claude-sonnet-5-5"
    assert hops[3]["evidence"]["judge"]["name"] == "anthropic:claude-haiku-5-5"


@pytest.mark.parametrize("component", [EXPLAINER, RETRIEVAL])
def test_it_passed_by_the_lower_bound_of_its_gain_on_the_test_questions(run: Run, component: str) -> None:
    rows = run.after["learnt"]
    verdict = rows.hops(rows.action(component)["action_id"])[3]["evidence"]["verdict"]
    assert (verdict["outcome"], verdict["look"], verdict["reasons"]) == ("pass", 1, [])
    assert verdict["target"]["low"] > 0
    assert verdict["n"] >= verdict["n_needed"]
    assert all(one["low"] > one["limit"] for one in verdict["metrics"].values())


def test_what_was_spent_is_recorded_and_below_the_caps(run: Run) -> None:
    spend = run.said[EXPLAINER].spend
    settings = small_settings().improvement
    assert spend.task_tokens > 0
    assert spend.reflection_tokens > 0
    assert spend.judge_tokens > 0
    made = run.after["learnt"].hops(run.after["learnt"].action(EXPLAINER)["action_id"])[0]["evidence"]["spend"]
    assert made["task_tokens"] + made["reflection_tokens"] + made["judge_tokens"] <= settings.max_run_tokens
    assert 0 < made["dollars"] <= settings.max_run_dollars


def test_mlflow_has_one_run_of_the_optimisation_and_one_of_the_cycle(run: Run) -> None:
    prefix = load_mlflow_config().experiments.prefix
    artifacts = run.after["learnt"].hops(run.after["learnt"].action(EXPLAINER)["action_id"])[0]["evidence"]["artifacts"]
    import sqlite3

    with sqlite3.connect(run.folder / "mlflow.db") as store:
        named = "SELECT r.run_uuid FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name = ?"
        of_prompts = [row[0] for row in store.execute(named, (f"{prefix}_prompt_optimization",))]
        of_cycles = store.execute(named, (f"{prefix}_feedback_learning",)).fetchall()
        steps = store.execute(
            "SELECT DISTINCT step FROM metrics WHERE run_uuid = ? AND key LIKE '%best%'", (artifacts["mlflow_run_id"],)
        ).fetchall()
    assert of_prompts == [artifacts["mlflow_run_id"]]
    assert len(of_cycles) == 1
    assert len(steps) > 1


def test_opik_has_the_optimisation_as_a_trace_with_its_generations(run: Run) -> None:
    artifacts = run.after["learnt"].hops(run.after["learnt"].action(EXPLAINER)["action_id"])[0]["evidence"]["artifacts"]
    trace = artifacts["opik_optimization_id"]
    mirrored = [one for one in run.world.opik.spans.values() if one["trace_id"] == trace]
    assert any("generation" in one["name"] for one in mirrored)


def test_a_share_of_the_sessions_got_the_candidates_by_a_hash_of_their_ids(run: Run) -> None:
    rows = run.after["tried"]
    tests = {row["component"]: row for row in rows["prompt_ab_tests"]}
    assert set(tests) == {EXPLAINER, RETRIEVAL}
    with psycopg.connect(run.dsn) as connection:
        for answer in rows["rag_interactions"]:
            if answer["created_at"] < tests[EXPLAINER]["recorded_at"]:
                continue
            place = "SELECT canary_place(%s, %s)"
            unit = str(answer["session_id"])
            (there,) = connection.execute(place, (tests[EXPLAINER]["id"], unit)).fetchone() or (None,)
            wanted = 3 if there < tests[EXPLAINER]["split"] * 10_000 else 2
            assert answer["prompt_versions"][EXPLAINER] == wanted


def test_a_look_before_the_least_time_has_passed_promotes_nothing(run: Run) -> None:
    assert {one.status for one in run.said["early"]} == {"measuring"}
    assert {one.done for one in run.said["early"]} == {("measured",)}
    assert all("after 0.0 hours" in one.waits_for for one in run.said["early"])


def test_each_answer_of_the_canary_was_observed_once(run: Run) -> None:
    rows = run.after["promoted"]
    for test in rows["prompt_ab_tests"]:
        observed = rows.of("prompt_ab_observations", test_id=test["id"])
        assert len({(row["unit_id"], row["trace_id"]) for row in observed}) == len(observed) >= 2 * (SOON + LATER)


@pytest.mark.parametrize("component", [EXPLAINER, RETRIEVAL])
def test_a_canary_that_is_not_worse_is_promoted(run: Run, component: str) -> None:
    rows = run.after["promoted"]
    action = rows.action(component)
    assert action["status"] == "applied"
    assert [row["hop"] for row in rows.hops(action["action_id"])][-1] == "promoted"
    canary = rows.one("prompt_ab_tests", component=component)
    assert (canary["status"] != "running", canary["winner"]) == (True, "treatment")
    assert len(canary["looks"]) == 2


def test_exactly_one_version_of_everything_is_in_use_after_every_step(run: Run) -> None:
    for step, rows in run.after.items():
        for component, versions in active(rows).items():
            assert len(versions) == 1, (step, component)


def test_the_next_answers_use_the_new_prompt_and_score_higher(run: Run) -> None:
    assert {one.prompt_versions[EXPLAINER] for one in run.said["next"]} == {3}
    rows = run.after["better"]
    weighted = {
        str(row["interaction_id"]): row["rubric_weighted"]
        for row in rows.of("learning_signals", signal_type="evaluation")
    }
    traces = {one.meta.trace_id for one in run.said["next"]}
    by_version: dict[int, list[float]] = {}
    for row in rows["rag_interactions"]:
        score = weighted[str(row["interaction_id"])]
        by_version.setdefault(row["prompt_versions"][EXPLAINER], []).append(score)
        if row["trace_id"] in traces:
            assert score > 4
    assert statistics.fmean(by_version[3]) > statistics.fmean(by_version[2]) + 1


def test_a_regression_is_rolled_back_and_the_old_prompt_answers_again(run: Run) -> None:
    rows = run.after["rolled_back"]
    action = rows.action(EXPLAINER)
    assert action["status"] == "rolled_back"
    assert action["outcome_delta"] < -0.5
    assert action["samples_measured"] == AFTER + BADLY
    versions = {row["version"]: row["status"] for row in rows.of("prompt_versions", component=EXPLAINER)}
    assert (versions[2], versions[3]) == ("active", "rolled_back")
    assert {one.prompt_versions[EXPLAINER] for one in run.said["last"]} == {2}


def test_the_failure_is_kept_as_a_lesson_about_that_very_change(run: Run) -> None:
    lessons = [row for row in run.end["experiment_knowledge_store"] if row["lesson_type"] == "failure"]
    (lesson,) = [row for row in lessons if EXPLAINER in row["title"] or EXPLAINER in json.dumps(row["knowledge_json"])]
    changed = run.end.action(EXPLAINER)["after_config"]
    assert lesson["knowledge_json"]["change_sha256"] == digest(changed)


def test_what_lasts_is_confirmed_with_its_effect(run: Run) -> None:
    action = run.end.action(RETRIEVAL)
    assert action["status"] == "confirmed"
    assert action["outcome_measured"] is True
    assert action["samples_measured"] >= small_settings().safety.min_measure_samples
    assert action["outcome_delta"] is not None
    assert active(run.end)[RETRIEVAL] == [3]
    assert any(row["lesson_type"] == "success" for row in run.end["experiment_knowledge_store"])


@pytest.mark.parametrize("component", [EXPLAINER, RETRIEVAL])
def test_the_record_of_every_hop_is_whole_and_no_hop_happened_twice(run: Run, component: str) -> None:
    story = run.said[component]
    assert story.intact
    assert story.hops[-1].hop == "closed"
    keys = [(one.hop, one.attempt) for one in story.hops]
    assert len(keys) == len(set(keys))


def test_the_whole_run_leaves_no_orphaned_span(run: Run) -> None:
    found = spans(run.dsn)
    assert {"learn", "rag_answer", "run"} & {row["operation_type"] for row in found}
    assert find_orphans(found) == []
