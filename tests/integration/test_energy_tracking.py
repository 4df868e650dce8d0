"""Is every selection kept in MLflow and in the database, joined, and readable again?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.causal_engine.energy_score.effect_data import EffectData, effect_data
from src.causal_engine.energy_score.effect_functions import EFFECT_FUNCTIONS
from src.causal_engine.energy_score.mlflow_tracker import EnergyScoreMLflowTracker, Question
from src.causal_engine.energy_score.selection import EstimatorSelector, SelectionResult
from src.causal_engine.study import FloatArray
from src.errors import DatabaseUnavailable, EstimationError
from src.mlops.mlflow.results import RunInfo, RunStatus
from src.mlops.mlflow_connector import MLflowConnector
from src.storage.database import Database
from src.storage.estimator_evaluations import EstimatorEvaluationRepository
from src.storage.experiments import ExperimentRepository
from src.storage.postgres_gateway import PostgresGateway
from tests.effect_processes import draw_sample
from tests.mlflow_store import local_connector

pytestmark = pytest.mark.integration

QUESTION = Question("nrx", query_hash="ab" * 32, brand="Kisqali", region="west")


def refuses(_: EffectData) -> FloatArray:
    raise EstimationError("no such luck")


@pytest.fixture(scope="module")
def selection() -> SelectionResult:
    candidates = {"refuses": refuses, **{name: EFFECT_FUNCTIONS[name] for name in ("linear_dml", "t_learner")}}
    data = effect_data(draw_sample(250, 3, binary=False).study)
    return EstimatorSelector(candidates=candidates, draws=20).select_on(data)


@pytest.fixture
def mlflow(tmp_path: Path) -> MLflowConnector:
    return local_connector(tmp_path / "mlflow")


@pytest.fixture
def store(db: Database) -> EstimatorEvaluationRepository:
    return EstimatorEvaluationRepository(PostgresGateway(db))


async def test_a_selection_is_in_the_store_and_in_the_database_and_the_two_are_joined(
    mlflow: MLflowConnector, store: EstimatorEvaluationRepository, db: Database, selection: SelectionResult
) -> None:
    tracker = EnergyScoreMLflowTracker(mlflow, store=store)
    async with tracker.start_selection_run("nrx_calls", QUESTION) as opened:
        logged = await tracker.log_selection_result(opened, selection)
    assert logged.persisted
    assert logged.database is not None
    assert logged.database.rows == len(selection.results)
    run = await mlflow.get_run(str(logged.mlflow_run_id))
    assert isinstance(run, RunInfo)
    assert run.status is RunStatus.FINISHED
    assert run.params["failed"] == "refuses:EstimationError"
    assert run.tags["selected_estimator"] == selection.selected
    for name, score in selection.scores.items():
        assert run.metrics[f"{name}.excess"] == pytest.approx(score - min(selection.scores.values()))
    experiment = await ExperimentRepository(PostgresGateway(db)).of_mlflow(run.experiment_id)
    assert experiment is not None
    assert (experiment.experiment_name, experiment.id) == ("e2i_causal_nrx_calls", logged.database.experiment_id)
    assert (experiment.prediction_target, experiment.brand, experiment.region) == ("nrx", "Kisqali", "west")


async def test_the_comparison_lists_every_candidate_with_its_scores_or_its_failure(
    mlflow: MLflowConnector, store: EstimatorEvaluationRepository, selection: SelectionResult
) -> None:
    tracker = EnergyScoreMLflowTracker(mlflow, store=store)
    async with tracker.start_selection_run("nrx_calls", QUESTION) as opened:
        await tracker.log_selection_result(opened, selection)
    rows = await tracker.get_selection_comparison("nrx_calls")
    assert isinstance(rows, Sequence)
    by_name = {row["estimator"]: row for row in rows}
    assert by_name.keys() == {each.name for each in selection.results}
    assert [name for name, row in by_name.items() if row["selected"]] == [selection.selected]
    for each in selection.results:
        row = by_name[each.name]
        assert (row["energy_score"] is None) == (each.energy is None)
        if each.energy is not None:
            assert row["energy_score"] == pytest.approx(row["distance_component"] + row["dr_loss_component"] - 1)
            assert row["ci_lower"] <= row["ate"] <= row["ci_upper"]
    assert (by_name["refuses"]["error_type"], by_name["refuses"]["ate"]) == ("EstimationError", None)
    assert by_name["naive"]["ate"] != by_name["constant"]["ate"]
    assert await tracker.get_selection_comparison("another") == []


async def test_performance_counts_trials_choices_and_failures(
    mlflow: MLflowConnector, store: EstimatorEvaluationRepository, selection: SelectionResult
) -> None:
    tracker = EnergyScoreMLflowTracker(mlflow, store=store)
    for _ in range(2):
        async with tracker.start_selection_run("nrx_calls", QUESTION) as opened:
            await tracker.log_selection_result(opened, selection)
    rows = await tracker.get_estimator_performance()
    assert isinstance(rows, Sequence)
    found = {row["estimator"]: row for row in rows}
    assert found["refuses"]["failure_rate"] == 1.0
    assert found[selection.selected]["times_selected"] == found[selection.selected]["evaluations"] == 2
    energy = selection.candidate("t_learner").energy
    assert energy is not None
    assert found["t_learner"]["avg_energy_score"] == pytest.approx(energy.score)


async def test_only_finite_metrics_reach_the_store_and_the_others_are_named(
    mlflow: MLflowConnector, selection: SelectionResult
) -> None:
    broken = tuple(replace(each, r_loss=math.inf) if each.name == "t_learner" else each for each in selection.results)
    tracker = EnergyScoreMLflowTracker(mlflow, enable_db_logging=False)
    async with tracker.start_selection_run("nrx_calls", QUESTION) as opened:
        logged = await tracker.log_selection_result(opened, replace(selection, results=broken))
    run = await mlflow.get_run(str(logged.mlflow_run_id))
    assert isinstance(run, RunInfo)
    assert logged.left_out == ("t_learner.r_loss",)
    assert "t_learner.r_loss" not in run.metrics
    assert all(np.isfinite(value) for value in run.metrics.values())
    assert logged.database is None


class AwayStore(EstimatorEvaluationRepository):
    """A database that went away after the experiment was made."""

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        raise DatabaseUnavailable("no answer")


async def test_a_failed_database_write_is_returned_and_mlflow_has_the_selection(
    mlflow: MLflowConnector, db: Database, selection: SelectionResult
) -> None:
    tracker = EnergyScoreMLflowTracker(mlflow, store=AwayStore(PostgresGateway(db)))
    async with tracker.start_selection_run("nrx_calls", QUESTION) as opened:
        logged = await tracker.log_selection_result(opened, selection)
    assert not logged.persisted
    assert logged.database is not None
    assert (logged.database.rows, logged.database.error_type) == (0, "DatabaseUnavailable")
    run = await mlflow.get_run(str(logged.mlflow_run_id))
    assert isinstance(run, RunInfo)
    assert run.params["selected"] == selection.selected


async def test_an_experiment_of_another_outcome_is_refused_by_the_database_and_said_so(
    mlflow: MLflowConnector, store: EstimatorEvaluationRepository, selection: SelectionResult
) -> None:
    tracker = EnergyScoreMLflowTracker(mlflow, store=store)
    written = []
    for question in (QUESTION, replace(QUESTION, outcome="trx")):
        async with tracker.start_selection_run("nrx_calls", question) as opened:
            written.append((await tracker.log_selection_result(opened, selection)).database)
    assert written[0] is not None
    assert written[0].persisted
    assert written[1] is not None
    assert written[1].error_type == "ContractViolation"
    assert "not 'trx'" in str(written[1].error_message)


def test_database_logging_without_a_store_is_refused(mlflow: MLflowConnector) -> None:
    with pytest.raises(EstimationError, match="needs a store"):
        EnergyScoreMLflowTracker(mlflow)
