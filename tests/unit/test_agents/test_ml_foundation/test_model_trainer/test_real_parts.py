"""What does a training leave everywhere? The whole graph on a real database and a real MLflow store."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from src.agents.ml_foundation.model_trainer.beginning import begin
from src.agents.ml_foundation.model_trainer.services import Records, Training
from src.agents.ml_foundation.model_trainer.tracking import open_run
from src.errors import DatabaseUnavailable
from src.mlops.hpo_pattern_memory import HPOPatternMemory, PostgresPatterns
from src.mlops.mlflow_connector import RunInfo, RunStatus
from src.mlops.modelling.bundle import as_bundle
from src.mlops.optuna.configuration import WarmStartSettings
from src.mlops.processes import this_process
from src.storage.database import Database
from src.storage.experiments import ExperimentRepository
from src.storage.hpo import HPORepository
from src.storage.hpo_patterns import HPOPatternRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.training_runs import TrainingRunRepository
from tests.mlflow_store import local_connector

from .parts import LOGISTIC, SHUT, World, journeys, request, world


def on_real_parts(db: Database, folder: Path) -> World:
    """A world whose tables, memory and store are real."""
    gateway = PostgresGateway(db)
    records = Records(ExperimentRepository(gateway), TrainingRunRepository(gateway), HPORepository(gateway))
    patterns = HPOPatternMemory(PostgresPatterns(HPOPatternRepository(gateway)), WarmStartSettings())
    return world(journeys(720), connector=local_connector(folder), records=records, patterns=patterns)


async def count(db: Database, table: str) -> int:
    row = await db.fetchrow(f"SELECT count(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])


async def run_of(around: World, run_id: str | None) -> RunInfo:
    assert around.connector is not None
    found = await around.connector.get_run(str(run_id))
    assert isinstance(found, RunInfo)
    return found


async def test_metrics_are_the_same_in_the_result_in_mlflow_and_in_one_row(db: Database, tmp_path: Path) -> None:
    around = on_real_parts(db, tmp_path)
    result = await around.run()
    assert (result.error, result.meta.status) == (None, "completed")
    assert await count(db, "ml_training_runs") == 1
    assert result.model_ref is not None
    stored = await TrainingRunRepository(PostgresGateway(db)).get(str(result.training_run_id))
    assert stored is not None
    run = await run_of(around, stored.mlflow_run_id)
    assert stored.mlflow_run_id == result.model_ref.run_id
    for split, metrics in result.metrics.items():
        assert getattr(stored, f"{split}_metrics") == metrics
        assert {name: run.metrics[f"{split}_{name}"] for name in metrics} == metrics
    samples = (stored.training_samples, stored.validation_samples, stored.test_samples)
    assert samples == tuple(result.split_counts[name] for name in ("train", "validation", "test"))
    assert (stored.status, stored.algorithm, tuple(stored.feature_names or ())) == (
        "completed", "logistic_regression", result.feature_names,
    )  # fmt: skip
    assert {f"hp_{name}": str(value) for name, value in stored.hyperparameters.items()}.items() <= run.params.items()
    experiment = await ExperimentRepository(PostgresGateway(db)).get("exp")
    assert experiment is not None
    assert (experiment.id, experiment.mlflow_experiment_id) == (stored.experiment_id, run.experiment_id)
    assert experiment.prediction_target == "responded"


async def test_the_study_its_trials_and_its_pattern_are_kept(db: Database, tmp_path: Path) -> None:
    around = on_real_parts(db, tmp_path)
    result = await around.run()
    studies = HPORepository(PostgresGateway(db))
    assert result.hpo is not None
    study = await studies.study(result.hpo.study_name)
    assert study is not None
    assert (study.status, study.best_value, study.best_params) == (
        "completed", result.hpo.best_value, dict(result.hpo.best_params),
    )  # fmt: skip
    assert [trial.trial_number for trial in await studies.trials(study.id)] == [0, 1, 2]
    row = await db.fetchrow("SELECT pattern_id::text AS id, best_value, study_name FROM ml_hpo_patterns")
    assert row is not None
    assert (row["id"], row["best_value"], row["study_name"]) == (
        result.hpo.pattern_id, result.hpo.best_value, study.study_name,
    )  # fmt: skip
    training = await db.fetchrow("SELECT optuna_study_name, optuna_trial_number, is_best_trial FROM ml_training_runs")
    assert dict(training or {}) == {
        "optuna_study_name": study.study_name,
        "optuna_trial_number": result.hpo.best_trial,
        "is_best_trial": True,
    }


async def test_a_failed_training_is_one_failed_row_and_a_failed_run(db: Database, tmp_path: Path) -> None:
    around = on_real_parts(db, tmp_path)
    broken = dataclasses.replace(LOGISTIC, search_space={"C": {"type": "categorical", "choices": [-1.0, -2.0]}})
    result = await around.run(candidate=broken, hpo_trials=2)
    assert result.error is not None
    (stored,) = await TrainingRunRepository(PostgresGateway(db)).recent()
    assert (stored.status, stored.error_type, stored.error_message) == ("failed", "HPOError", result.error.message)
    assert (stored.train_metrics, stored.test_metrics, stored.test_samples) == ({}, {}, None)
    run = await run_of(around, stored.mlflow_run_id)
    assert (run.status, run.tags["error_type"]) == (RunStatus.FAILED, "HPOError")
    assert "primary_metric" not in run.metrics
    study = await HPORepository(PostgresGateway(db)).study(str(stored.optuna_study_name))
    assert study is not None
    assert (study.status, study.n_failed) == ("failed", 2)
    assert await count(db, "ml_hpo_patterns") == 0


async def test_a_shut_gate_leaves_no_trace_anywhere(db: Database, tmp_path: Path) -> None:
    around = on_real_parts(db, tmp_path)
    assert (await around.run(qc_gate=SHUT)).meta.status == "failed"
    for table in ("ml_experiments", "ml_training_runs", "ml_hpo_studies", "ml_hpo_patterns"):
        assert await count(db, table) == 0


async def test_a_database_that_is_lost_at_the_end_leaves_no_success(db: Database, tmp_path: Path) -> None:
    around = on_real_parts(db, tmp_path)

    original = around.services.records
    assert original is not None

    class Lost(TrainingRunRepository):
        async def add(self, row: object) -> str:
            raise DatabaseUnavailable("the server closed the connection")

    around.changes["records"] = dataclasses.replace(original, training_runs=Lost(PostgresGateway(db)))
    result = await around.run(enable_hpo=False)
    assert result.error is not None
    assert result.error.type == "DatabaseUnavailable"
    (left,) = await TrainingRunRepository(PostgresGateway(db)).recent()
    assert (left.status, left.test_metrics) == ("running", {})
    assert around.connector is not None
    runs = await around.connector.search_runs()
    assert isinstance(runs, list)
    assert [run.status for run in runs] == [RunStatus.FAILED]
    around.changes["records"] = original
    assert (await around.run(enable_hpo=False)).error is None
    ended = await TrainingRunRepository(PostgresGateway(db)).get(left.id)
    assert ended is not None
    assert (ended.status, ended.error_type) == ("failed", "DatabaseUnavailable")
    assert ended.completed_at is not None


@pytest.mark.parametrize(("lives", "status"), [(False, "cancelled"), (True, "running")])
async def test_a_training_whose_process_was_killed_is_ended_by_the_next_one_and_one_that_lives_is_not(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, lives: bool, status: str
) -> None:
    around, asked, training = on_real_parts(db, tmp_path), request(), Training(datetime.now(UTC))
    assert around.connector is not None
    # This process's id, begun at another time: a process that is gone.
    owner = this_process() if lives else "/".join((*this_process().split("/")[:-1], "1"))
    with monkeypatch.context() as patch:
        patch.setattr("src.mlops.mlflow_connector.this_process", lambda: owner)
        training.run = await open_run(around.connector, asked, training.started_at, "dataset")
    await begin(around.services, training, {"request": asked, "split_counts": {"train": 360, "validation": 120}})
    trainings = TrainingRunRepository(PostgresGateway(db))
    (begun,) = await trainings.recent()
    assert (begun.id, begun.status, begun.completed_at) == (training.id, "running", None)
    assert (await around.run(enable_hpo=False)).error is None
    completed, left = await trainings.recent()
    assert (completed.status, left.id, left.status) == ("completed", training.id, status)
    told = (None, None) if lives else ("ProcessEnded", "the process ended before the run did")
    assert (left.error_type, left.error_message) == told


async def test_a_store_that_was_away_is_linked_to_its_row_when_it_is_back(db: Database, tmp_path: Path) -> None:
    around = on_real_parts(db, tmp_path)
    connector = around.connector
    assert connector is not None

    def blink(told: str) -> None:
        if told == "tune_hyperparameters":
            connector.circuit_breaker.force_open()
        if told == "save_checkpoint":
            connector.circuit_breaker.reset()

    around.hooks.append(blink)
    result = await around.run(enable_hpo=False)
    (stored,) = await TrainingRunRepository(PostgresGateway(db)).recent()
    assert result.model_ref is not None
    assert result.model_ref.persisted
    assert stored.mlflow_run_id == result.model_ref.run_id
    run = await run_of(around, stored.mlflow_run_id)
    assert (run.status, run.metrics["test_roc_auc"]) == (RunStatus.FINISHED, stored.test_metrics["roc_auc"])
    bundle = as_bundle(await connector.load_model(str(result.model_ref.uri)))
    assert bundle.threshold == result.threshold


@pytest.mark.parametrize(
    "changes", [{"target": "late"}, {"brand": "Kisqali"}, {"region": "south"}], ids=["target", "brand", "region"]
)
async def test_an_experiment_of_something_else_is_refused_before_tuning_in_one_failed_row(
    db: Database, tmp_path: Path, changes: dict[str, str]
) -> None:
    around = on_real_parts(db, tmp_path)
    around.rows.frame["late"] = ~around.rows.frame["responded"]
    assert (await around.run(enable_hpo=False)).error is None
    refused = await around.run(**changes)
    assert refused.error is not None
    assert (refused.error.type, refused.error.node) == ("ContractViolation", "tune_hyperparameters")
    runs = TrainingRunRepository(PostgresGateway(db))
    failed, completed = await runs.recent()
    assert (failed.status, failed.id, failed.optuna_study_name) == ("failed", refused.training_run_id, None)
    assert failed.experiment_id == completed.experiment_id
    assert await count(db, "ml_hpo_studies") == 0
    run = await run_of(around, failed.mlflow_run_id)
    assert (run.status, run.tags["error_type"]) == (RunStatus.FAILED, "ContractViolation")


async def test_trainings_one_after_the_other_share_their_experiment(db: Database, tmp_path: Path) -> None:
    around = on_real_parts(db, tmp_path)
    for seed in range(2):
        assert (await around.run(enable_hpo=False, random_state=seed)).error is None
    assert (await count(db, "ml_experiments"), await count(db, "ml_training_runs")) == (1, 2)
