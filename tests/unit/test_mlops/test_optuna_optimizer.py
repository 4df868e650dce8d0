"""Does a search stay out of the way of everything else, and is what it keeps what happened?"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
import pytest

from src.domain.modelling import ProblemType
from src.errors import HPOError
from src.mlops.mlflow_connector import RunInfo, RunStatus
from src.mlops.optuna.configuration import LimitSettings
from src.mlops.optuna.limits import StopRules, resident_mb
from src.mlops.optuna.results import WarmStart
from src.mlops.optuna.summary import busy_seconds, study_row, trial_rows
from src.mlops.optuna_optimizer import OptunaOptimizer, StudySubject, TrialProgress, get_model_class
from src.storage.database import Database
from src.storage.hpo import HPORepository
from src.storage.postgres_gateway import PostgresGateway
from tests.mlflow_store import local_connector
from tests.unit.test_mlops.tuning import C_ONLY, breaking, optimizer, parabola, slow, staircase, tuned, two_classes

SUBJECT = StudySubject.of("ridge", ProblemType.BINARY, "roc_auc", C_ONLY, {"max_iter": 50})


async def test_the_event_loop_runs_while_trials_do() -> None:
    """The trial ends only when the loop, which must not wait for it, says so."""
    go_on = threading.Event()

    def objective(trial: optuna.Trial) -> float:
        assert go_on.wait(20)
        return parabola(trial)

    tuner = optimizer()
    study = await tuner.create_study()
    search = asyncio.create_task(tuner.optimize(study, objective, n_trials=2))
    await asyncio.sleep(0.01)
    go_on.set()
    assert (await search).trials.completed == 2


async def test_a_cancelled_search_ends_after_the_running_trial_and_can_be_resumed() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def objective(trial: optuna.Trial) -> float:
        begun.set()
        assert go_on.wait(20)
        return parabola(trial)

    tuner = optimizer()
    study = await tuner.create_study()
    search = asyncio.create_task(tuner.optimize(study, objective, n_trials=50))
    await asyncio.to_thread(begun.wait, 20)
    search.cancel()
    await asyncio.sleep(0)
    search.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await search
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.COMPLETE]
    assert (await tuner.optimize(study, parabola, n_trials=2)).trials.completed == 3


async def test_progress_tells_each_trial_and_the_best_so_far() -> None:
    told: list[TrialProgress] = []
    tuner = optimizer()
    study = await tuner.create_study()
    await tuner.optimize(study, parabola, n_trials=2)
    await tuner.optimize(
        study, breaking(lambda number: number == 3, ValueError("no")), n_trials=3, on_progress=told.append
    )
    assert [(one.done, one.planned, one.trial.number) for one in told] == [(3, 5, 2), (4, 5, 3), (5, 5, 4)]
    values = [trial.value for trial in await tuner.get_optimization_history(study)]
    assert [one.best_value for one in told] == [
        max(value for value in values[: number + 1] if value is not None) for number in (2, 3, 4)
    ]


async def test_what_a_progress_display_raises_ends_the_search_and_comes_out() -> None:
    def broken(progress: TrialProgress) -> None:
        raise BrokenPipeError("the terminal is gone")

    tuner = optimizer()
    study = await tuner.create_study()
    with pytest.raises(BrokenPipeError):
        await tuner.optimize(study, slow(0.01), n_trials=500, on_progress=broken)
    assert len(study.trials) < 500


async def test_a_callers_own_callbacks_samplers_and_pruners_are_used() -> None:
    numbers: list[int] = []
    tuner = optimizer()
    sampler, pruner = optuna.samplers.RandomSampler(seed=3), optuna.pruners.ThresholdPruner(lower=0.0)
    study = await tuner.create_study("own", "maximize", sampler, pruner)
    assert (study.sampler, study.pruner) == (sampler, pruner)
    summary = await tuner.optimize(
        study, staircase(3), n_trials=8, callbacks=[lambda _, trial: numbers.append(trial.number)]
    )
    assert numbers == list(range(8))
    assert summary.trials.pruned == sum(trial.params["x"] < 0 for trial in study.trials) > 0


async def test_names_of_studies_say_experiment_and_time_and_hold_the_prefix_once() -> None:
    at = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    tuner = OptunaOptimizer("e2i_model trainer", "memory", now=lambda: at)
    study = await tuner.create_study("a/b")
    assert study.study_name == "e2i_model_trainer_a_b_20260304T050607000089Z"
    with pytest.raises(HPOError, match="already"):
        await tuner.create_study("a/b")


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
async def test_a_timeout_that_is_no_time_is_refused(timeout: float) -> None:
    tuner = optimizer()
    with pytest.raises(HPOError, match="positive timeout"):
        await tuner.optimize(await tuner.create_study(), parabola, n_trials=1, timeout=timeout)


async def test_no_more_warm_starts_are_imported_than_configured() -> None:
    tuner = optimizer(warmstart={"max_import_trials": 2})
    starts = [WarmStart(f"p{i}", 0.9, {"C": 0.1 * (i + 1)}, 0.8) for i in range(4)]
    summary, trials = await tuned(two_classes(120), warmstart=starts, optimizer=tuner)
    assert [start.pattern_id for start in summary.warmstart] == ["p0", "p1"]
    assert [trial.params["C"] for trial in trials[:3]] == pytest.approx([0.1, 0.2, 1.0])


def test_the_clock_of_the_limits_is_the_one_given() -> None:
    now = [0.0]
    rules = StopRules(LimitSettings(max_seconds=100), timeout_s=200, clock=lambda: now[0], memory_mb=lambda: 0.0)
    study = optuna.create_study()

    def after(seconds: float) -> str | None:
        now[0] = seconds
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1, callbacks=[rules])
        return rules.reason

    # The limit is shorter than the timeout that was asked for.
    assert [after(99.0), after(100.0)] == [None, "timeout"]


def test_memory_is_that_of_this_process_now() -> None:
    before = resident_mb()
    block = bytearray(b"x" * 50_000_000)
    assert 40 < resident_mb() - before < 80
    assert len(block) == 50_000_000


def test_a_pause_between_two_trials_is_no_time_spent() -> None:
    start = datetime(2026, 1, 1)  # noqa: DTZ001 — Optuna keeps times like this
    second = timedelta(seconds=1)

    def trial(begin: int, end: int) -> optuna.trial.FrozenTrial:
        made = optuna.trial.create_trial(value=0.0)
        made.datetime_start, made.datetime_complete = start + begin * second, start + end * second
        return made

    assert busy_seconds([trial(0, 4), trial(2, 6), trial(3, 5), trial(100, 101)]) == 7.0


async def searched() -> tuple[OptunaOptimizer, optuna.Study]:
    """Complete, pruned and failed trials."""
    tuner = optimizer()
    study = await tuner.create_study("kept", "maximize", subject=SUBJECT)
    climb = staircase(30)

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise ValueError("not this one")
        return climb(trial)

    await tuner.optimize(study, objective, n_trials=8)
    return tuner, study


async def test_the_rows_of_a_study_are_the_study() -> None:
    tuner, study = await searched()
    summary, row, rows = await tuner.summarize(study), study_row(study, experiment_id=None), trial_rows(study)
    assert (row["best_value"], row["best_params"], row["best_trial_number"]) == (
        summary.best_value,
        summary.best_params,
        summary.best_trial,
    )
    assert (row["n_completed"], row["n_pruned"], row["n_failed"]) == (
        summary.trials.completed,
        summary.trials.pruned,
        summary.trials.failed,
    )
    assert (row["sampler_name"], row["pruner_name"], row["metric"]) == ("tpe", "hyperband", "roc_auc")
    assert row["duration_seconds"] == summary.duration_s
    assert (row["search_space"], row["fixed_params"]) == (C_ONLY, {"max_iter": 50})
    assert row["started_at"].tzinfo is UTC
    assert abs(datetime.now(UTC) - row["completed_at"]) < timedelta(minutes=5)
    assert [one["state"] for one in rows] == [trial.state.name for trial in study.trials]
    assert all((one["value"] is not None) is (one["state"] == "COMPLETE") for one in rows)
    assert rows[1]["error_message"] == "ValueError: not this one"


@pytest.mark.integration
async def test_a_saved_study_is_read_back_from_the_database(db: Database) -> None:
    tuner, study = await searched()
    repository = HPORepository(PostgresGateway(db))
    report = await tuner.save_to_database(study, repository)
    found = await repository.study(study.study_name)
    assert found is not None
    assert (report.study_id, report.trials_saved) == (found.id, 8)
    assert {name: getattr(found, name) for name in study_row(study)} == study_row(study)
    stored = await repository.trials(report.study_id)
    assert [{name: getattr(one, name) for name in trial_rows(study)[0]} for one in stored] == trial_rows(study)


async def test_a_study_that_others_add_to_is_saved_as_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    tuner, study = await searched()
    kept: list[tuple[Any, Any]] = []
    read = study.get_trials

    class Studies:
        async def save_study(self, study: Any, trials: Any) -> str:
            kept.append((study, trials))
            return "the-id"

    def read_while_others_add(**options: Any) -> Any:
        found = list(read(**options))
        study.add_trial(optuna.trial.create_trial(value=0.1))
        return found

    monkeypatch.setattr(study, "get_trials", read_while_others_add)
    await tuner.save_to_database(study, Studies())
    ((row, trials),) = kept
    assert row["n_trials"] == len(trials)


async def test_a_search_of_failures_is_saved_as_failed() -> None:
    tuner = optimizer()
    study = await tuner.create_study(subject=SUBJECT)
    with pytest.raises(HPOError):
        await tuner.optimize(study, breaking(lambda number: True), n_trials=2)
    row = study_row(study)
    assert (row["status"], row["best_value"], row["best_params"]) == ("failed", None, None)
    assert "NotFinite: the objective gave nan (2 times)" in row["error_message"]


@pytest.mark.parametrize(
    ("subject", "trials", "problem"),
    [(None, 1, "does not say what it searches"), (SUBJECT, 0, "has no finished trial to save")],
)
async def test_what_says_too_little_is_not_saved(subject: StudySubject | None, trials: int, problem: str) -> None:
    tuner = optimizer()
    study = await tuner.create_study(subject=subject)
    if trials:
        await tuner.optimize(study, parabola, n_trials=trials)
    with pytest.raises(HPOError, match=problem):
        study_row(study)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return local_connector(tmp_path_factory.mktemp("store"))


async def below(connector: Any, run_id: str) -> list[RunInfo]:
    found = await connector.search_runs(filter_string=f"tags.mlflow.parentRunId = '{run_id}'")
    assert isinstance(found, list)
    return found


async def test_without_a_parent_the_study_has_a_run_of_its_own_below_the_one_around_it(store: Any) -> None:
    tuner = optimizer(connector=store)
    study = await tuner.create_study()
    async with store.start_run(await store.get_or_create_experiment("tests")) as around:
        await tuner.optimize(study, parabola, n_trials=2)
    (own,) = await below(store, around.run_id)
    assert (own.run_name, own.status) == (f"hpo_{study.study_name}", RunStatus.FINISHED)
    assert {run.run_name for run in await below(store, own.run_id)} == {"trial_0000", "trial_0001"}


async def test_a_trial_that_the_store_does_not_take_is_told_and_the_search_is_not_lost(store: Any) -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x+y" if trial.number else "x", 0.0, 1.0)

    tuner = optimizer(connector=store)
    summary = await tuner.optimize(await tuner.create_study(), objective, n_trials=2)
    assert summary.trials.completed == 2
    assert tuner.last_runs is not None
    assert (tuner.last_runs.stored, list(tuner.last_runs.refused)) == (1, [1])
    assert tuner.last_runs.refused[1].startswith("ContractViolation: ")


@pytest.mark.parametrize(("changes", "logged"), [({}, True), ({"mlflow": {"log_trials": False}}, False)])
async def test_trials_are_logged_where_the_configuration_says_so(
    store: Any, changes: dict[str, Any], logged: bool
) -> None:
    tuner = optimizer(connector=store, **changes)
    await tuner.optimize(await tuner.create_study(), parabola, n_trials=1)
    assert (tuner.last_runs is not None) is logged


async def test_trials_that_others_ran_are_logged_with_the_configured_prefix(store: Any) -> None:
    _, study = await searched()
    tuner = optimizer(connector=store, mlflow={"param_prefix": "tried_"})
    async with store.start_run(await store.get_or_create_experiment("tests")) as parent:
        runs = await tuner.log_trials(study, parent.run_id)
    assert runs is not None
    assert runs.stored == 8
    for run in await below(store, parent.run_id):
        trial = study.trials[int(run.tags["trial_number"])]
        assert run.params == {f"tried_{name}": str(value) for name, value in trial.params.items()}


def test_the_class_that_is_fitted_is_named_by_algorithm_and_problem() -> None:
    from sklearn.linear_model import Ridge

    assert get_model_class("ridge", ProblemType.REGRESSION) is Ridge


async def test_a_study_is_saved_for_the_experiment_that_is_named() -> None:

    class Kept:
        async def save_study(self, study: Any, trials: Any) -> str:
            self.study, self.trials = study, trials
            return "the-id"

    tuner, study = await searched()
    kept = Kept()
    report = await tuner.save_to_database(study, kept, experiment_row="an-experiment")
    assert (report.study_id, report.trials_saved) == ("the-id", len(kept.trials))
    assert kept.study["experiment_id"] == "an-experiment"
