"""Does tuning find the best parameters, waste little on bad ones, learn from the past and tell the truth?"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, HPOError
from src.mlops.hpo_pattern_memory import HPOPattern, HPOPatternMemory, InMemoryPatterns, PatternQuery
from src.mlops.mlflow_connector import MLflowConnector, RunInfo, RunStatus
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.results import HPOSummary, TrialRecord, WarmStart
from tests.mlflow_store import closed_port, configuration, local_connector
from tests.unit.test_mlops.tuning import (
    BOOSTED,
    C_ONLY,
    LINE,
    breaking,
    optimizer,
    parabola,
    slow,
    staircase,
    tuned,
    two_classes,
)

Rows = tuple[Labelled, Labelled]


@pytest.fixture(scope="module")
def rows() -> Rows:
    return two_classes()


class TestBasic:
    """Finds the optimum, again, and says so completely."""

    async def test_basic_search_finds_the_optimum(self) -> None:
        tuner = optimizer()
        summary = await tuner.optimize(await tuner.create_study(direction="maximize"), parabola, n_trials=40)
        assert summary.best_params["x"] == pytest.approx(2.0, abs=0.7)
        assert summary.best_value == pytest.approx(-((summary.best_params["x"] - 2.0) ** 2))

    async def test_basic_search_repeats_itself(self, rows: Rows) -> None:
        first, second = [await tuned(rows, BOOSTED, algorithm="lightgbm", n_trials=6) for _ in range(2)]
        assert first[0].study_name != second[0].study_name
        assert first[0].best_params == second[0].best_params
        assert [(t.state, t.params, t.value) for t in first[1]] == [(t.state, t.params, t.value) for t in second[1]]

    async def test_basic_search_with_another_seed_tries_other_values(self, rows: Rows) -> None:
        first, second = [await tuned(rows, random_state=seed) for seed in (1, 2)]
        assert [t.params for t in first[1]][1:] != [t.params for t in second[1]][1:]

    async def test_basic_summary_is_what_the_trials_say(self, rows: Rows) -> None:
        summary, trials = await tuned(rows)
        best = max((t for t in trials if t.value is not None), key=lambda t: t.value or 0.0)
        assert summary.completed
        assert (summary.metric, summary.direction) == ("roc_auc", "maximize")
        assert (summary.best_trial, summary.best_value, dict(summary.best_params)) == (
            best.number,
            best.value,
            dict(best.params),
        )
        assert summary.trials.total == len(trials) == 5
        assert summary.study_name.startswith("e2i_tests_logistic_regression_2")
        assert summary.duration_s > 0

    async def test_basic_search_minimizes_a_metric_that_is_better_when_low(self, rows: Rows) -> None:
        summary, trials = await tuned(rows, metric="log_loss")
        assert summary.direction == "minimize"
        assert summary.best_value == min(t.value for t in trials if t.value is not None)


class TestPruning:
    """Stops trials while they train."""

    async def test_hopeless_trials_are_pruned_during_their_training(self) -> None:
        used = {}
        for name in ("hyperband", "none"):
            tuner = optimizer(default_pruner=name)
            study = await tuner.create_study(direction="maximize")
            used[name] = await tuner.optimize(study, staircase(100), n_trials=20)
        assert used["hyperband"].trials.pruned > 0
        assert used["hyperband"].resource_used < 0.6 * used["none"].resource_used
        # The best trial is the last to be pruned.
        assert used["hyperband"].best_value > 0.9 * 100 * 10 * 0.8

    async def test_pruning_saves_boosting_rounds_on_real_rows(self, rows: Rows) -> None:
        used = {}
        for name in ("hyperband", "none"):
            tuner = optimizer(default_pruner=name)
            used[name], trials = await tuned(
                rows, BOOSTED, algorithm="lightgbm", n_trials=8, optimizer=tuner, early_stopping_rounds=None
            )
            assert used[name].trials.pruned == sum(t.state == "PRUNED" for t in trials)
        assert used["none"].resource_used == 8 * 60
        assert used["hyperband"].resource_used < 0.8 * used["none"].resource_used
        assert used["hyperband"].best_value > used["none"].best_value - 0.02

    async def test_every_fold_is_reported_and_the_rest_is_spared(self, rows: Rows) -> None:
        tuner = optimizer(default_pruner="median", pruners={"median": {"n_startup": 1, "n_warmup_steps": 0}})
        objective = tuner.create_cv_objective(
            "logistic_regression", ProblemType.BINARY, C_ONLY, rows[0], metric="roc_auc", folds=4
        )
        study = await tuner.create_study(direction="maximize")
        for c in (10.0, 1e-3):
            study.enqueue_trial({"C": c})
        summary = await tuner.optimize(study, objective, n_trials=2)
        complete, pruned = await tuner.get_optimization_history(study)
        assert (complete.state, sorted(complete.intermediate_values)) == ("COMPLETE", [1, 2, 3, 4])
        assert complete.value == pytest.approx(complete.intermediate_values[4])
        assert (pruned.state, sorted(pruned.intermediate_values)) == ("PRUNED", [1])
        assert summary.resource_used == 4 + 1

    async def test_without_a_pruner_nothing_is_pruned(self) -> None:
        tuner = optimizer(default_pruner="none")
        summary = await tuner.optimize(await tuner.create_study(), staircase(10), n_trials=15)
        assert (summary.trials.pruned, summary.resource_used) == (0, 150)


PAST = {
    "algorithm_name": "logistic_regression",
    "problem_type": ProblemType.BINARY,
    "metric": "roc_auc",
    "search_space": C_ONLY,
    "n_samples": 200,
    "n_features": 6,
    "n_classes": 2,
    "class_balance": 0.5,
}


def query(**changes: Any) -> PatternQuery:
    return PatternQuery(**{**PAST, **changes})


async def remembering(*best: float, **changes: Any) -> HPOPatternMemory:
    """A memory of one search for each best ``C``, each on twice the rows of the one before."""
    memory = HPOPatternMemory(InMemoryPatterns())
    for index, value in enumerate(best):
        given = {**PAST, "n_samples": 200 * 2**index, "direction": "maximize", "best_value": 0.9, **changes}
        await memory.store_hpo_pattern(HPOPattern(**given, best_params={"C": value}))
    return memory


class TestWarmStart:
    """Begins with what worked before, where before was alike."""

    async def test_the_first_trial_equals_the_best_like_pattern(self, rows: Rows) -> None:
        memory = await remembering(0.5, 0.05)
        summary, trials = await tuned(rows, warmstart=await memory.get_warmstart(query()))
        assert [t.params for t in trials[:2]] == [{"C": 0.5}, {"C": 0.05}]
        assert [start.params for start in summary.warmstart] == [{"C": 0.5}, {"C": 0.05}]
        assert [(t.origin, t.defaults) for t in trials] == [
            *((f"warm_start:{start.pattern_id}", False) for start in summary.warmstart),
            ("defaults", True),
            (None, False),
            (None, False),
        ]

    async def test_a_warm_start_that_repeats_the_defaults_is_both(self, rows: Rows) -> None:
        summary, trials = await tuned(rows, warmstart=[WarmStart("p", 1.0, {"C": 1.0}, 0.9)], n_trials=3)
        assert [(t.origin, t.defaults) for t in trials] == [("warm_start:p", True), (None, False), (None, False)]
        assert [start.pattern_id for start in summary.warmstart] == ["p"]

    async def test_a_warm_start_that_repeats_another_is_neither_tried_nor_told(self, rows: Rows) -> None:
        starts = [
            WarmStart(name, 1.0, {"C": value}, 0.9) for name, value in (("a", 0.3), ("b", 0.3 + 1e-9), ("c", 4.0))
        ]
        summary, trials = await tuned(rows, warmstart=starts, n_trials=3)
        assert [start.pattern_id for start in summary.warmstart] == ["a", "c"]
        assert [t.params["C"] for t in trials] == [0.3, 4.0, 1.0]

    async def test_an_unlike_pattern_is_refused_at_the_threshold(self, rows: Rows) -> None:
        memory = await remembering(0.5)
        unlike = query(n_samples=2_000_000, n_features=600, class_balance=0.01)
        assert await memory.get_warmstart(unlike) == []
        assert len(await memory.get_warmstart(unlike, min_similarity=0.0)) == 1

    @pytest.mark.parametrize(
        "change",
        [{"metric": "pr_auc"}, {"algorithm_name": "ridge"}, {"problem_type": ProblemType.MULTICLASS}],
        ids=["metric", "algorithm", "problem"],
    )
    async def test_a_pattern_of_something_else_is_refused(self, change: dict[str, Any]) -> None:
        memory = await remembering(0.5, **change)
        assert await memory.get_warmstart(query(), min_similarity=0.0) == []

    async def test_values_outside_the_space_are_moved_to_its_edge(self, rows: Rows) -> None:
        _, trials = await tuned(rows, warmstart=[WarmStart("p", 1.0, {"C": 1e6, "gone": 3}, 0.9)])
        assert trials[0].params == {"C": 10.0}

    async def test_switched_off_warm_starts_leave_the_search_alone(self, rows: Rows) -> None:
        starts = [WarmStart("p", 1.0, {"C": 0.37}, 0.9)]
        summary, trials = await tuned(rows, warmstart=starts, optimizer=optimizer(warmstart={"enabled": False}))
        assert summary.warmstart == ()
        assert {"C": 0.37} not in [t.params for t in trials]


@dataclass(frozen=True)
class Logged:
    """A search with one failed trial, and what the store has of it."""

    summary: HPOSummary
    trials: tuple[TrialRecord, ...]
    runs: dict[int, RunInfo]
    parent: str


async def logged_search(connector: MLflowConnector) -> Logged:
    tuner = optimizer(connector=connector, pruners={"hyperband": {"min_resource": 1, "max_resource": 30}})
    study = await tuner.create_study(direction="maximize")
    climb = staircase(30)

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 2:
            trial.suggest_float("x", -10.0, 10.0)
            raise RuntimeError("the third one breaks")
        return climb(trial)

    async with connector.start_run(await connector.get_or_create_experiment("tests"), run_name="parent") as parent:
        assert parent.run_id is not None
        summary = await tuner.optimize(study, objective, n_trials=7, parent_run_id=parent.run_id)
        found = await connector.search_runs(filter_string=f"tags.mlflow.parentRunId = '{parent.run_id}'")
    assert isinstance(found, list)
    runs = {int(run.tags["trial_number"]): run for run in found}
    return Logged(summary, await tuner.get_optimization_history(study), runs, parent.run_id)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    return asyncio.run(logged_search(local_connector(tmp_path_factory.mktemp("store"))))


class TestMlflow:
    """Every trial is a nested run in a real store."""

    def test_each_trial_is_a_run_below_the_parent(self, logged: Logged) -> None:
        assert sorted(logged.runs) == [trial.number for trial in logged.trials] == list(range(7))
        assert {run.parent_run_id for run in logged.runs.values()} == {logged.parent}

    def test_a_run_holds_parameters_value_and_state(self, logged: Logged) -> None:
        for trial in logged.trials:
            run = logged.runs[trial.number]
            assert run.params == {f"hp_{name}": str(value) for name, value in trial.params.items()}
            assert run.tags["state"] == trial.state
            assert run.metrics.get("value") == trial.value
        assert {trial.state for trial in logged.trials} == {"COMPLETE", "PRUNED", "FAIL"}

    def test_intermediate_values_end_with_the_last_report(self, logged: Logged) -> None:
        for trial in logged.trials:
            last = max(trial.intermediate_values, default=None)
            expected = None if last is None else trial.intermediate_values[last]
            assert logged.runs[trial.number].metrics.get("intermediate_value") == expected

    def test_only_the_failed_trial_is_a_failed_run(self, logged: Logged) -> None:
        failed = {number for number, run in logged.runs.items() if run.status is RunStatus.FAILED}
        assert failed == {2}
        assert "the third one breaks" in logged.runs[2].tags["error_message"]

    async def test_a_store_that_is_away_changes_nothing_but_the_count(self, tmp_path: Path) -> None:
        away = MLflowConnector(f"http://127.0.0.1:{closed_port()}", config_path=configuration(tmp_path))
        tuner = optimizer(connector=away)
        summary = await tuner.optimize(await tuner.create_study(), parabola, n_trials=3)
        assert summary.trials.completed == 3
        assert tuner.last_runs is not None
        assert (tuner.last_runs.stored, tuner.last_runs.spooled) == (0, 3)


class TestErrors:
    """A failed trial is never the best, and a search of failures is none."""

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    @pytest.mark.parametrize(
        "value", [float("nan"), float("inf"), float("-inf"), None], ids=["nan", "inf", "-inf", "raises"]
    )
    async def test_a_failed_trial_is_never_the_best(self, direction: Any, value: float | None) -> None:
        def objective(trial: optuna.Trial) -> float:
            if trial.number == 1:
                if value is None:
                    raise ValueError("broken")
                return value
            return parabola(trial)

        tuner = optimizer()
        study = await tuner.create_study(direction=direction)
        summary = await tuner.optimize(study, objective, n_trials=3)
        failed = (await tuner.get_optimization_history(study))[1]
        assert (failed.state, failed.value) == ("FAIL", None)
        assert failed.error in ("ValueError: broken", f"NotFinite: the objective gave {value}")
        assert summary.best_trial != 1
        assert dataclasses.astuple(summary.trials) == (2, 0, 1)

    async def test_when_all_trials_fail_the_distinct_causes_are_told(self) -> None:
        def objective(trial: optuna.Trial) -> float:
            raise KeyError("no column") if trial.number else ZeroDivisionError("by zero")

        tuner = optimizer()
        with pytest.raises(HPOError) as caught:
            await tuner.optimize(await tuner.create_study(), objective, n_trials=4)
        assert "all 4 trials" in str(caught.value)
        assert str(caught.value).endswith("failed: KeyError: 'no column' (3 times); ZeroDivisionError: by zero")

    @pytest.mark.parametrize(
        ("definition", "problem"),
        [
            ({"type": "float", "low": 1.0, "high": 0.0}, "low 1 is above high 0"),
            ({"type": "float", "low": 0.0, "high": 1.0, "log": True}, "log needs low above 0"),
            ({"type": "categorical", "choices": []}, "categorical needs choices"),
            ({"type": "int", "low": 1, "high": 9, "stepp": 2}, "stepp: unknown key"),
        ],
        ids=["order", "log", "choices", "key"],
    )
    async def test_a_bad_space_is_refused_by_its_parameter(
        self, rows: Rows, definition: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(HPOError) as caught:
            await tuned(rows, {"C": definition})
        assert str(caught.value) == f"search space, parameter 'C': {problem}"

    async def test_a_parameter_that_the_algorithm_does_not_have_fails_every_trial(self, rows: Rows) -> None:
        with pytest.raises(HPOError, match="ContractViolation: logistic_regression: 'depth' is none of its parameters"):
            await tuned(rows, {"depth": {"type": "int", "low": 1, "high": 3}}, n_trials=2)

    @pytest.mark.parametrize("metric", ["f1", "precision", "recall", "accuracy"])
    async def test_two_classes_are_not_searched_by_what_depends_on_a_threshold(self, rows: Rows, metric: str) -> None:
        tuner = optimizer()
        with pytest.raises(ContractViolation, match=f"^{metric} depends on a threshold, .*search by roc_auc, pr_auc"):
            await tuned(rows, metric=metric, optimizer=tuner)
        with pytest.raises(ContractViolation, match="depends on a threshold"):
            tuner.create_validation_objective("logistic_regression", ProblemType.BINARY, C_ONLY, *rows, metric=metric)

    async def test_a_metric_of_another_problem_is_refused(self, rows: Rows) -> None:
        with pytest.raises(ContractViolation, match="no metric 'rmse'"):
            await tuned(rows, metric="rmse")


class TestEdges:
    """Nothing to search, one trial, no time."""

    async def test_an_empty_space_is_one_trial_with_the_defaults(self, rows: Rows) -> None:
        summary, trials = await tuned(rows, {}, n_trials=30)
        assert (summary.trials.total, dict(summary.best_params)) == (1, {})
        assert trials[0].value == summary.best_value

    async def test_one_trial_is_a_search(self, rows: Rows) -> None:
        summary, trials = await tuned(rows, n_trials=1)
        # The first trial of a search that knows nothing is the algorithm's default.
        assert (summary.trials.completed, trials[0].params) == (1, {"C": 1.0})

    async def test_a_timeout_ends_the_search_after_the_running_trial(self) -> None:
        tuner = optimizer()
        summary = await tuner.optimize(await tuner.create_study(), slow(0.02), n_trials=400, timeout=0.05)
        assert summary.stopped_because == "timeout"
        assert 1 <= summary.trials.total < 400

    async def test_failures_between_good_trials_do_not_end_the_search(self) -> None:
        tuner = optimizer()
        objective = breaking(lambda number: number % 2 == 0, OSError("gone"))
        summary = await tuner.optimize(await tuner.create_study(), objective, n_trials=8)
        assert dataclasses.astuple(summary.trials) == (4, 0, 4)
        assert LINE["x"]["low"] <= summary.best_params["x"] <= LINE["x"]["high"]
