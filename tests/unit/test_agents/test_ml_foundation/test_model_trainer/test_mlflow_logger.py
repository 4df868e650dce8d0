"""What does a training leave in MLflow? Real runs of the compiled graph on a real local store."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from src.agents.ml_foundation.model_trainer.nodes import mlflow_logger
from src.agents.ml_foundation.model_trainer.result import TrainResult
from src.agents.ml_foundation.model_trainer.tracking import open_run
from src.domain.modelling import Candidate, ProblemType
from src.errors import DatabaseUnavailable, ServiceRefused
from src.mlops.mlflow.promotion import known_facts
from src.mlops.mlflow_connector import Evidence, MLflowConnector, RunInfo, RunStatus
from src.mlops.modelling.bundle import ModelBundle, as_bundle
from src.mlops.optuna.results import TrialRecord
from src.mlops.optuna.trial_runs import TrialRuns
from src.mlops.processes import this_process
from tests.mlflow_store import local_connector

from .parts import BOOSTED, FEATURES, LOGISTIC, SHUT, World, journeys, request, world

SPLITS = ("train", "validation", "test")
STATED = ("roc_auc", "pr_auc", "f1", "precision", "recall")
RIDGE = Candidate("ridge", "linear", "sklearn.linear_model.Ridge", 0.5, {"alpha": 1.0})
CALIBRATION = ("brier_score", "calibration_slope", "calibration_intercept", "ece")


@dataclass(frozen=True)
class Logged:
    """A training and what the store holds of it."""

    around: World
    result: TrainResult
    run: RunInfo
    trials: list[RunInfo]
    folder: Path

    @property
    def connector(self) -> MLflowConnector:
        assert self.around.connector is not None
        return self.around.connector

    @property
    def rows(self) -> pd.DataFrame:
        """The raw test rows."""
        return self.around.rows.frame.query("split == 'test'")

    def document(self, name: str) -> Any:
        """A JSON artifact of the run."""
        path = asyncio.run(self.connector.download_artifact(self.run.run_id, name, self.folder / "downloads"))
        return json.loads(Path(path).read_text("utf-8"))  # type: ignore[arg-type]

    def loaded(self, uri: str | None = None) -> ModelBundle:
        """The stored model."""
        assert self.result.model_ref is not None
        return as_bundle(asyncio.run(self.connector.load_model(uri or self.result.model_ref.uri or "")))


async def runs_of(connector: MLflowConnector) -> list[RunInfo]:
    """Every run of the store."""
    found = await connector.search_runs()
    assert isinstance(found, list)
    return found


def train(folder: Path, connector: MLflowConnector | None = None, /, frame: Any = None, **changes: Any) -> Logged:
    """Train, and read the store."""
    around = world(frame, connector=connector or local_connector(folder))
    result = asyncio.run(around.run(**changes))
    runs = asyncio.run(runs_of(around.connector))  # type: ignore[arg-type]
    (parent,) = [run for run in runs if run.parent_run_id is None]
    return Logged(around, result, parent, [run for run in runs if run.parent_run_id == parent.run_id], folder)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """A tuned LightGBM model of 360 rows, judged by brand and region."""
    frame = journeys(720)
    return train(
        tmp_path_factory.mktemp("logged"),
        frame=frame,
        candidate=BOOSTED,
        hpo_trials=4,
        success_criteria={"roc_auc": 0.6},
    )


class TestRun:
    """The run itself."""

    def test_the_logger_reaches_mlflow_through_the_connector_alone(self) -> None:
        for file in Path(mlflow_logger.__file__).parents[1].rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                assert not [name for name in names if str(name).split(".")[0] == "mlflow"], file

    def test_the_experiment_has_its_prefix_once(self, logged: Logged) -> None:
        experiments = asyncio.run(logged.connector.list_experiments())
        assert [experiment.name for experiment in experiments] == ["e2i_model_trainer_exp"]  # type: ignore[union-attr]

    def test_the_run_is_named_after_algorithm_and_time(self, logged: Logged) -> None:
        algorithm, _, at = logged.run.run_name.partition("_")
        assert algorithm == "lightgbm"
        assert pd.Timestamp(at).tz is not None
        assert logged.run.run_name == logged.around.row["run_name"]

    def test_a_training_that_completes_is_finished(self, logged: Logged) -> None:
        assert (logged.result.error, logged.result.meta.status) == (None, "completed")
        assert logged.run.status is RunStatus.FINISHED
        assert logged.run.end_time is not None

    def test_the_result_names_the_run(self, logged: Logged) -> None:
        reference = logged.result.model_ref
        assert reference is not None
        assert (reference.run_id, reference.persisted) == (logged.run.run_id, True)
        assert logged.around.row["mlflow_run_id"] == logged.run.run_id

    def test_tags_lead_back_to_the_rows_and_the_search(self, logged: Logged) -> None:
        assert logged.result.hpo is not None
        wanted = {
            "dataset_id": "table:journeys",
            "split_id": "split-1",
            "rows_from": "dataset",
            "target": "responded",
            "problem_type": "binary",
            "study_name": logged.result.hpo.study_name,
            "best_trial": str(logged.result.hpo.best_trial),
            "criteria_met": str(logged.result.criteria_met).lower(),
        }
        assert wanted.items() <= logged.run.tags.items()
        assert len(logged.run.tags["data_sha256"]) == 64


class TestParams:
    """Hyperparameters."""

    def test_rounds_that_early_stopping_left_are_logged_beside_those_asked_for(self, tmp_path: Path) -> None:
        many = dataclasses.replace(BOOSTED, default_params={**BOOSTED.default_params, "n_estimators": 300})
        found = train(tmp_path, candidate=many, enable_hpo=False)
        used = found.loaded().model.rounds
        assert used is not None
        assert used < 300
        stored = (found.run.params["hp_rounds_used"], found.run.params["hp_n_estimators"])
        assert stored == (str(used), "300")
        kept = found.around.row["hyperparameters"]
        assert (kept["rounds_used"], kept["n_estimators"]) == (used, 300)

    def test_every_hyperparameter_of_the_model_is_logged_with_its_prefix(self, logged: Logged) -> None:
        stored = {name: value for name, value in logged.run.params.items() if name.startswith("hp_")}
        assert stored == {f"hp_{name}": str(value) for name, value in logged.around.row["hyperparameters"].items()}
        assert set(stored) > {"hp_learning_rate", "hp_n_estimators"}

    def test_the_best_values_of_the_search_are_those_of_the_model(self, logged: Logged) -> None:
        assert logged.result.hpo is not None
        for name, value in logged.result.hpo.best_params.items():
            assert float(logged.run.params[f"hp_{name}"]) == value

    def test_what_else_tells_two_trainings_apart_has_no_prefix(self, logged: Logged) -> None:
        assert logged.run.params["algorithm"] == "lightgbm"
        assert float(logged.run.params["threshold"]) == logged.result.threshold
        assert logged.run.params["n_features"] == str(len(logged.result.feature_names))


class TestMetrics:
    """Numbers in the store are those of the result."""

    @pytest.mark.parametrize("split", SPLITS)
    @pytest.mark.parametrize("metric", STATED + CALIBRATION)
    def test_each_metric_of_each_split_is_stored_as_returned(self, logged: Logged, split: str, metric: str) -> None:
        assert logged.run.metrics[f"{split}_{metric}"] == logged.result.metrics[split][metric]

    def test_no_metric_of_the_result_is_left_out(self, logged: Logged) -> None:
        named = {f"{split}_{name}" for split, metrics in logged.result.metrics.items() for name in metrics}
        assert named <= set(logged.run.metrics)

    def test_the_primary_metric_is_that_of_the_test_split(self, logged: Logged) -> None:
        assert logged.result.primary_metric == logged.run.tags["primary_metric_name"] == "roc_auc"
        assert logged.run.metrics["primary_metric"] == logged.result.metrics["test"]["roc_auc"]

    def test_rows_of_each_split_are_counted(self, logged: Logged) -> None:
        counted = {split: logged.run.metrics[f"{split}_samples"] for split in SPLITS}
        assert counted == logged.result.split_counts == {"train": 360, "validation": 120, "test": 120}

    def test_intervals_hold_their_metric(self, logged: Logged) -> None:
        for name, (low, high) in logged.result.intervals.items():
            assert (logged.run.metrics[f"test_{name}_low"], logged.run.metrics[f"test_{name}_high"]) == (low, high)
        low, high = logged.result.intervals["roc_auc"]
        assert low < logged.result.metrics["test"]["roc_auc"] < high

    def test_discrimination_is_that_of_an_independent_computation(self, logged: Logged) -> None:
        from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

        truth, p = logged.rows["responded"], logged.loaded().predict(logged.rows)["probability"]
        stored = logged.run.metrics
        assert stored["test_roc_auc"] == pytest.approx(roc_auc_score(truth, p))
        assert stored["test_pr_auc"] == pytest.approx(average_precision_score(truth, p))
        assert stored["test_f1"] == pytest.approx(f1_score(truth, p >= logged.result.threshold))

    def test_calibration_is_that_of_an_independent_computation(self, logged: Logged) -> None:
        import statsmodels.api as sm

        truth, p = logged.rows["responded"].astype(int), logged.loaded().predict(logged.rows)["probability"]
        fit = sm.GLM(truth, sm.add_constant(np.log(p / (1 - p))), family=sm.families.Binomial()).fit()
        bins = np.minimum(np.ceil(p * 10).clip(1), 10)
        ece = sum(abs(truth[bins == b].mean() - p[bins == b].mean()) * (bins == b).mean() for b in bins.unique())
        found = logged.result.calibration
        assert found is not None
        assert (found.intercept, found.slope) == pytest.approx(tuple(fit.params), abs=1e-5)
        assert (found.brier, found.ece) == pytest.approx((((p - truth) ** 2).mean(), ece))
        stored = [logged.run.metrics[f"test_{name}"] for name in CALIBRATION]
        assert stored == [found.brier, found.slope, found.intercept, found.ece]


class TestArtifacts:
    """Files and the model."""

    def test_importances_are_of_the_models_columns_and_add_up(self, logged: Logged) -> None:
        stored = logged.document("feature_importance.json")
        assert set(stored["shares"]) == set(logged.result.feature_names)
        assert sum(stored["shares"].values()) == pytest.approx(1)
        assert next(iter(stored["shares"])) == "score"
        assert stored["method"] == "gain"

    def test_the_confusion_matrix_is_that_of_the_result(self, logged: Logged) -> None:
        stored = logged.document("confusion_matrix.json")
        assert tuple(map(tuple, stored["matrix"])) == logged.result.confusion
        assert sum(map(sum, stored["matrix"])) == 120
        assert stored["threshold"] == logged.result.threshold
        assert len(stored["classes"]) == 2

    def test_the_summary_holds_what_the_result_says(self, logged: Logged) -> None:
        stored = logged.document("evaluation_summary.json")
        assert stored["metrics"] == logged.result.metrics
        assert {name: tuple(ends) for name, ends in stored["intervals"].items()} == logged.result.intervals
        assert stored["fairness_gap"] == logged.result.fairness_gap
        assert [part["value"] for part in stored["segments"]] == [part.value for part in logged.result.segments]
        assert stored["success_criteria"] == {"roc_auc": 0.6}
        assert any(line.startswith("metrics of the validation rows are optimistic") for line in stored["warnings"])

    def test_segments_are_reported_by_brand_and_region(self, logged: Logged) -> None:
        assert {part.column for part in logged.result.segments} == {"brand", "region"}
        rows = logged.rows
        for part in logged.result.segments:
            assert part.n == (rows[part.column] == part.value).sum()
        assert set(logged.result.fairness_gap) == {"brand", "region"}
        kept = {name: x for name, x in logged.run.metrics.items() if name.startswith("test_fairness_gap_")}
        assert kept == {f"test_fairness_gap_{name}": gap for name, gap in logged.result.fairness_gap.items()}

    def test_the_model_loaded_by_its_address_predicts_raw_rows(self, logged: Logged) -> None:
        predicted = logged.loaded().predict(logged.rows[list(FEATURES)])
        assert predicted["probability"].between(0, 1).all()
        assert (predicted["prediction"] == (predicted["probability"] >= logged.result.threshold)).all()

    def test_the_model_is_found_by_its_run_too(self, logged: Logged) -> None:
        by_run = logged.loaded(f"runs:/{logged.run.run_id}/model").predict(logged.rows)
        pd.testing.assert_frame_equal(by_run, logged.loaded().predict(logged.rows))

    def test_no_row_is_stored_with_the_model(self, logged: Logged) -> None:
        texts = [file.read_text("utf-8") for file in logged.folder.rglob("*example*.json")]
        assert texts
        for value in logged.around.rows.frame["score"].dropna():
            assert not any(repr(value) in text for text in texts)


class TestTrials:
    """The search below the training."""

    def test_every_trial_is_a_run_below_the_training(self, logged: Logged) -> None:
        assert logged.result.hpo is not None
        assert len(logged.trials) == logged.result.hpo.trials.total == 4
        assert {run.experiment_id for run in logged.trials} == {logged.run.experiment_id}

    def test_the_best_trial_holds_the_best_value_and_its_parameters(self, logged: Logged) -> None:
        hpo = logged.result.hpo
        assert hpo is not None
        best = next(run for run in logged.trials if run.tags["trial_number"] == str(hpo.best_trial))
        assert best.metrics["value"] == hpo.best_value
        assert {name: float(best.params[f"hp_{name}"]) for name in hpo.best_params} == hpo.best_params

    def test_the_final_model_reaches_the_value_of_the_best_trial(self, logged: Logged) -> None:
        assert logged.result.hpo is not None
        assert logged.result.metrics["validation"]["roc_auc"] == logged.result.hpo.best_value


class TestOtherProblems:
    """Models that are no yes or no."""

    def test_a_regression_is_judged_in_units_of_its_target(self, tmp_path: Path) -> None:
        found = train(
            tmp_path,
            problem_type=ProblemType.REGRESSION,
            target="cost",
            candidate=RIDGE,
            enable_hpo=False,
        )
        assert set(found.result.metrics["test"]) >= {"rmse", "mae", "r2"}
        truth = found.rows["cost"]
        predicted = found.loaded().predict(found.rows)["prediction"]
        assert found.run.metrics["test_rmse"] == pytest.approx(np.sqrt(((truth - predicted) ** 2).mean()))
        assert found.run.metrics["test_r2"] > 0.5
        assert (found.result.threshold, found.result.calibration, found.result.confusion) == (None, None, ())
        assert found.trials == []
        with pytest.raises(Exception, match="confusion_matrix"):
            found.document("confusion_matrix.json")

    def test_several_classes_have_a_confusion_matrix_of_their_own(self, tmp_path: Path) -> None:
        found = train(tmp_path, problem_type=ProblemType.MULTICLASS, target="stage", enable_hpo=False)
        assert [len(row) for row in found.result.confusion] == [3, 3, 3]
        assert found.document("confusion_matrix.json")["classes"] == ["a", "b", "c"]
        assert found.run.metrics["test_roc_auc"] == found.result.metrics["test"]["roc_auc"]
        # The rules of promotion need no waiver: they go by the AUC of each class against the rest.
        rows = found.rows
        scores = found.loaded().scores(rows)
        against = [roc_auc_score(rows["stage"] == name, scores[:, place]) for place, name in enumerate("abc")]
        assert known_facts(found.run.metrics, found.run.params, Evidence()).auc == pytest.approx(np.mean(against))


class TestEndings:
    """Runs of trainings that do not complete, and a store that is away."""

    def test_a_gate_that_is_shut_leaves_nothing(self, tmp_path: Path) -> None:
        around = world(connector=local_connector(tmp_path))
        result = asyncio.run(around.run(qc_gate=SHUT))
        assert (result.meta.status, result.model_ref) == ("failed", None)
        assert asyncio.run(around.connector.list_experiments()) == []  # type: ignore[union-attr]

    def test_mlflow_that_is_not_wanted_gets_nothing(self, tmp_path: Path) -> None:
        around = world(connector=local_connector(tmp_path))
        result = asyncio.run(around.run(enable_mlflow=False))
        assert (result.model_ref, result.meta.status, result.error) == (None, "completed", None)
        assert asyncio.run(around.connector.list_experiments()) == []  # type: ignore[union-attr]

    def test_what_a_killed_training_left_open_is_ended_by_the_next_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connector = local_connector(tmp_path)
        # This process's id, begun at another time: a process that is gone.
        gone = "/".join((*this_process().split("/")[:-1], "1"))

        async def killed() -> list[RunInfo]:
            asked = request(resume_study="study_1")
            with monkeypatch.context() as patch:
                patch.setattr("src.mlops.mlflow_connector.this_process", lambda: gone)
                left = await open_run(connector, asked, datetime(2026, 1, 1, tzinfo=UTC), "dataset")
            await world(connector=connector).run(enable_hpo=False)
            assert left.run.status is RunStatus.RUNNING
            return await runs_of(connector)

        was, now = sorted(asyncio.run(killed()), key=lambda run: run.start_time)
        assert (was.status, now.status) == (RunStatus.KILLED, RunStatus.FINISHED)
        assert was.tags["error_message"] == "the process ended before the run did"
        assert (was.tags["resumed_study"], now.tags.get("resumed_study")) == ("study_1", None)

    def test_a_training_is_one_row_from_its_search_to_its_end(self, tmp_path: Path) -> None:
        around = world(connector=local_connector(tmp_path))
        seen: list[str] = []
        around.hooks.append(lambda told: seen.append(around.row["status"]) if told == "train_model" else None)
        asyncio.run(around.run(enable_hpo=False))
        assert (seen, around.row["status"]) == (["running"], "completed")

    def test_a_later_failure_ends_the_run_as_failed_with_its_reason(self, tmp_path: Path) -> None:
        around = world(connector=local_connector(tmp_path))
        around.tables[1].failure = DatabaseUnavailable("PostgreSQL is away")
        result = asyncio.run(around.run(enable_hpo=False))
        (run,) = asyncio.run(runs_of(around.connector))  # type: ignore[arg-type]
        assert run.status is RunStatus.FAILED
        assert (run.tags["error_type"], run.tags["error_message"]) == ("DatabaseUnavailable", "PostgreSQL is away")
        assert result.error is not None
        assert (result.error.node, result.model_ref, result.metrics) == ("save_checkpoint", None, {})

    def test_an_error_of_another_library_is_stored_without_its_text(self, tmp_path: Path) -> None:
        around = world(connector=local_connector(tmp_path))
        around.tables[1].failure = ValueError("could not convert 'Jane Doe'")
        with pytest.raises(ValueError, match="Jane Doe"):
            asyncio.run(around.run(enable_hpo=False))
        (run,) = asyncio.run(runs_of(around.connector))  # type: ignore[arg-type]
        assert run.status is RunStatus.FAILED
        assert "ValueError, at parts.py" in run.tags["error_message"]
        assert "Jane" not in json.dumps(dict(run.tags))

    def test_a_cancelled_training_is_killed(self, tmp_path: Path) -> None:
        around = world(connector=local_connector(tmp_path), budgets={})
        result = asyncio.run(cancelled_while_saving(around))
        assert result is None
        (run,) = asyncio.run(runs_of(around.connector))  # type: ignore[arg-type]
        assert run.status is RunStatus.KILLED
        assert around.row["status"] == "cancelled"

    def test_a_store_that_goes_away_while_tuning_gets_everything_later(self, tmp_path: Path) -> None:
        connector = local_connector(tmp_path)
        around = world(connector=connector)

        def cut(told: str) -> None:
            if "trial 2" in told:
                connector.circuit_breaker.force_open()

        around.hooks.append(cut)
        result = asyncio.run(around.run(hpo_trials=4))
        assert result.error is None
        assert result.model_ref is not None
        assert (result.model_ref.uri, result.model_ref.persisted) == (None, False)
        assert result.meta.status == "partial"
        assert "wait in the spool" in result.meta.degraded[0]
        assert around.row["status"] == "completed"

        connector.circuit_breaker.reset()
        assert asyncio.run(connector.replay_spool()).complete
        runs = asyncio.run(runs_of(connector))
        (parent,) = [run for run in runs if run.parent_run_id is None]
        assert parent.status is RunStatus.FINISHED
        for split in SPLITS:
            assert parent.metrics[f"{split}_roc_auc"] == result.metrics[split]["roc_auc"]
        assert len([run for run in runs if run.parent_run_id == parent.run_id]) == 4
        loaded = as_bundle(asyncio.run(connector.load_model(f"runs:/{parent.run_id}/model")))
        assert loaded.threshold == result.threshold

    def test_trials_that_have_no_run_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def refuse(self: TrialRuns, trial: TrialRecord, tags: dict[str, str]) -> None:
            raise ServiceRefused("the disk quota is used up")

        monkeypatch.setattr(TrialRuns, "_recorded", refuse)
        found = train(tmp_path, hpo_trials=3)
        assert (found.result.error, found.result.meta.status, found.trials) == (None, "partial", [])
        (said,) = found.result.meta.degraded
        assert said.startswith("mlflow: 3 trials have no run of their own; that of trial 0: ServiceRefused: the disk")

    def test_a_store_that_is_back_before_the_end_has_the_model_after_all(self, tmp_path: Path) -> None:
        connector = local_connector(tmp_path)
        around = world(connector=connector)

        def blink(told: str) -> None:
            if told == "train_model":
                connector.circuit_breaker.force_open()
            if told == "save_checkpoint":
                connector.circuit_breaker.reset()

        around.hooks.append(blink)
        result = asyncio.run(around.run(enable_hpo=False))
        (run,) = asyncio.run(runs_of(connector))
        assert run.status is RunStatus.FINISHED
        assert result.model_ref is not None
        assert (result.model_ref.run_id, result.model_ref.persisted) == (run.run_id, True)
        assert (result.meta.status, result.meta.degraded) == ("completed", ())
        assert as_bundle(asyncio.run(connector.load_model(str(result.model_ref.uri)))).threshold == result.threshold
        assert around.row["mlflow_run_id"] == run.run_id

    def test_two_trainings_at_once_hold_their_own(self, tmp_path: Path) -> None:
        connector = local_connector(tmp_path)
        asked = [request(experiment_id=f"exp {seed}", random_state=seed, enable_hpo=False) for seed in (1, 2)]

        async def both() -> list[TrainResult]:
            return await asyncio.gather(
                *(world(journeys(seed=i), connector=connector).run(a) for i, a in enumerate(asked))
            )

        results = asyncio.run(both())
        runs = {run.run_id: run for run in asyncio.run(runs_of(connector))}
        for found, wanted in zip(results, asked, strict=True):
            assert found.model_ref is not None
            run = runs[str(found.model_ref.run_id)]
            assert run.params["random_state"] == str(wanted.random_state)
            assert run.metrics["test_roc_auc"] == found.metrics["test"]["roc_auc"]
        assert results[0].metrics != results[1].metrics


async def cancelled_while_saving(around: World) -> TrainResult | None:
    """Cancel a training that waits for its table."""
    waiting = asyncio.Event()

    async def wait(row: Any) -> str:
        around.tables[1].add = original  # type: ignore[method-assign]
        waiting.set()
        await asyncio.sleep(60)
        return ""

    original = around.tables[1].add
    around.tables[1].add = wait  # type: ignore[assignment, method-assign]
    task = asyncio.create_task(around.run(candidate=LOGISTIC, enable_hpo=False))
    await waiting.wait()
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None
