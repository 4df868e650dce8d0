"""Is a selection recorded as it was made, in the right experiment, and never claimed when it was not?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from src.agents.ml_foundation.model_selector.nodes.mlflow_registrar import (
    alternatives_json,
    metrics,
    parameters,
    rationale_text,
    record_selection,
)
from src.agents.ml_foundation.model_selector.registry import PROFILES
from src.agents.ml_foundation.model_selector.result import AlgorithmHistory, Benchmark, Rationale
from src.mlops.mlflow_connector import MLflowConnector, RunInfo, RunStatus
from src.resilience.outcomes import Unavailable
from tests.mlflow_store import closed_port, configuration, local_connector

from .parts import Counts, Trainings, World, request, state


class Recorded:
    """One selection in a real store, and what the store says of it."""

    def __init__(self, connector: MLflowConnector, run: RunInfo, folder: Path) -> None:
        self.connector = connector
        self.run = run
        self.folder = folder

    def text(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")


@pytest.fixture(scope="module")
def event_loop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("selection")


@pytest.fixture(scope="module")
def recorded(event_loop_folder: Path) -> Recorded:
    """Recorded once: the tests read."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    async def record() -> Recorded:
        connector = local_connector(event_loop_folder)
        run = await record_selection(connector, state())
        stored = await connector.get_run(str(run.run_id))
        assert isinstance(stored, RunInfo)
        files = event_loop_folder / "files"
        for name in ("selection_rationale.txt", "alternatives_considered.json"):
            await connector.download_artifact(str(run.run_id), name, files)
        return Recorded(connector, stored, files)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, record()).result()


def test_the_run_is_named_for_the_choice_and_finished(recorded: Recorded) -> None:
    assert recorded.run.run_name == "model_selection_xgboost"
    assert recorded.run.status is RunStatus.FINISHED


async def test_the_experiment_carries_the_prefix_once(recorded: Recorded) -> None:
    found = await recorded.connector.list_experiments()
    assert not isinstance(found, Unavailable)
    assert [experiment.name for experiment in found] == ["e2i_model_selection_adoption"]
    assert found[0].experiment_id == recorded.run.experiment_id


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_max_depth", "4"),
        ("default_learning_rate", "0.05"),
        ("algorithm", "xgboost"),
        ("class_path", "xgboost.XGBClassifier"),
    ],
)
def test_default_parameters_are_stored_under_their_prefix(recorded: Recorded, name: str, value: str) -> None:
    assert recorded.run.params[name] == value


def test_no_parameter_is_stored_without_its_prefix(recorded: Recorded) -> None:
    bare = {name for name in recorded.run.params if not name.startswith("default_")}
    assert bare == {"algorithm", "class_path"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("selection_score", 0.82),
        ("interpretability_score", PROFILES["xgboost"].interpretability),
        ("scalability_score", PROFILES["xgboost"].scalability),
        ("latency_ms", PROFILES["xgboost"].latency_ms),
        ("memory_gb", PROFILES["xgboost"].memory_gb),
        ("benchmark_cv_mean", 0.81),
        ("benchmark_cv_sd", 0.02),
        ("benchmark_seconds", 0.4),
        ("baseline_to_beat", 0.5),
        ("history_n", 4.0),
        ("history_success_rate", 0.75),
    ],
)
def test_the_figures_of_the_choice_are_metrics_of_the_run(recorded: Recorded, name: str, value: float) -> None:
    assert recorded.run.metrics[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agent", "model_selector"),
        ("algorithm", "xgboost"),
        ("family", "boosting"),
        ("problem_type", "binary"),
        ("kpi_category", "model"),
    ],
)
def test_tags_say_what_was_chosen_for_what(recorded: Recorded, name: str, value: str) -> None:
    assert recorded.run.tags[name] == value


def test_the_rationale_is_a_file_that_a_person_can_read(recorded: Recorded) -> None:
    assert recorded.text("selection_rationale.txt").splitlines() == [
        "xgboost scores 0.82",
        "- it was measured",
        "Asked for:",
        "- latency_budget_ms: 1.2 of 5",
    ]


def test_the_alternatives_are_a_file_with_scores_errors_and_reasons(recorded: Recorded) -> None:
    said = json.loads(recorded.text("alternatives_considered.json"))
    assert said["chosen"] == "xgboost"
    assert said["removed"] == {"lasso": "excluded by the request"}
    (other,) = said["considered"]
    assert (other["algorithm"], other["score"], other["benchmark_mean"]) == ("ridge", 0.61, None)
    assert other["benchmark_error"] == "no time was left for it"


# What was not measured is left out.


def test_figures_that_were_not_measured_are_left_out() -> None:
    bare = state(benchmark=(), history={"xgboost": AlgorithmHistory(0, None)})
    del bare["baseline"]
    assert {"benchmark_cv_mean", "benchmark_seconds", "history_success_rate", "baseline_to_beat"} & set(
        metrics(bare)
    ) == set()
    assert metrics(bare)["history_n"] == 0.0


def test_the_figures_of_another_algorithm_are_not_the_choice_s() -> None:
    other = state(benchmark=(Benchmark("ridge", "roc_auc", 0.99, 0.0, 5, 0.1),))
    assert "benchmark_cv_mean" not in metrics(other)


def test_parameters_of_the_choice_never_collide_with_what_it_is() -> None:
    assert set(parameters(state())) == {"algorithm", "class_path", "default_max_depth", "default_learning_rate"}


def test_without_constraints_the_text_names_none() -> None:
    assert rationale_text(Rationale("because", ())) == "because\n"


def test_without_alternatives_the_file_says_so() -> None:
    assert alternatives_json(state(alternatives=()))["considered"] == []


# Inside a run of the agent.


@pytest.fixture
def connector(tmp_path: Path) -> MLflowConnector:
    return local_connector(tmp_path)


async def runs_of(connector: MLflowConnector) -> list[RunInfo]:
    found = await connector.search_runs()
    assert not isinstance(found, Unavailable)
    return found


async def test_the_result_names_the_run_the_store_has(connector: MLflowConnector) -> None:
    done = await World({"connector": connector}).run(skip_mlflow=False, n_samples=5_000, n_features=10)
    (run,) = await runs_of(connector)
    assert done.primary is not None
    assert (done.run_id, run.run_name) == (run.run_id, f"model_selection_{done.primary.algorithm}")
    assert run.metrics["selection_score"] == pytest.approx(done.primary.score)
    assert (done.meta.status, done.meta.degraded) == ("completed", ())


async def test_what_is_to_be_skipped_leaves_no_run(connector: MLflowConnector) -> None:
    done = await World({"connector": connector}).run()
    assert done.run_id is None
    assert await runs_of(connector) == []
    assert done.meta.degraded == ()


@pytest.mark.parametrize("experiment", ["adoption", "e2i_adoption"])
async def test_an_experiment_that_has_the_prefix_gets_no_second_one(
    connector: MLflowConnector, experiment: str
) -> None:
    await record_selection(connector, state(request=request(experiment_id=experiment)))
    found = await connector.list_experiments()
    assert not isinstance(found, Unavailable)
    assert [one.name for one in found] == ["e2i_model_selection_adoption"]


async def test_a_failure_while_recording_is_a_failed_run_and_a_failed_result(
    connector: MLflowConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.errors import ServiceRefused

    async def refuse(*_: Any) -> None:
        raise ServiceRefused("no space left")

    monkeypatch.setattr("src.agents.ml_foundation.model_selector.nodes.mlflow_registrar._log_files", refuse)
    done = await World({"connector": connector}).run(skip_mlflow=False)
    (run,) = await runs_of(connector)
    assert run.status is RunStatus.FAILED
    assert done.error is not None
    assert (done.error.node, done.primary, done.run_id, done.meta.status) == ("register_mlflow", None, None, "failed")


async def test_while_the_store_is_away_the_choice_stands_without_an_id(tmp_path: Path) -> None:
    away = MLflowConnector(f"http://127.0.0.1:{closed_port()}", config_path=configuration(tmp_path))
    away.circuit_breaker.force_open()
    done = await World({"connector": away}).run(skip_mlflow=False)
    assert done.primary is not None
    assert (done.run_id, done.meta.status) == (None, "partial")
    assert "MLflow: the store is away; the selection waits in the spool" in done.meta.degraded
    waiting = (await away.get_metrics())["spool"]
    assert waiting["pending"] > 0


@pytest.mark.parametrize("configured", [False, None])
async def test_without_a_store_the_result_says_that_nothing_is_recorded(
    tmp_path: Path, configured: bool | None
) -> None:
    empty = None if configured is None else MLflowConnector("", config_path=configuration(tmp_path))
    done = await World({"connector": empty}).run(skip_mlflow=False)
    assert done.run_id is None
    assert "MLflow: no store is configured; the selection is not recorded" in done.meta.degraded


# Earlier trainings that the store knows of.


async def trained(connector: MLflowConnector, algorithm: str, *, fails: bool = False, trials: int = 0) -> str:
    experiment = await connector.get_or_create_experiment("model_trainer_x")
    tags = {"agent": "model_trainer", "algorithm": algorithm}

    async def once() -> str:
        async with connector.start_run(experiment, tags=tags) as run:
            for _ in range(trials):
                async with connector.start_run(experiment, tags=tags, nested=True):
                    pass
            if fails:
                raise RuntimeError("diverged")
        return str(run.run_id)

    if not fails:
        return await once()
    with pytest.raises(RuntimeError):
        await once()
    return ""


async def test_history_counts_trainings_of_the_store_but_not_their_trials(connector: MLflowConnector) -> None:
    await trained(connector, "ridge", trials=2)
    await trained(connector, "ridge", fails=True)
    done = await World({"connector": connector}).run()
    assert done.history["ridge"] == AlgorithmHistory(2, 0.5)
    assert done.history["xgboost"] == AlgorithmHistory(0, None)


async def test_a_training_that_both_know_is_counted_once(connector: MLflowConnector) -> None:
    known = await trained(connector, "ridge")
    trainings = Trainings({"ridge": Counts(1, 0), "lasso": Counts(0, 3)}, known)
    done = await World({"connector": connector, "trainings": trainings}).run()
    assert done.history["ridge"] == AlgorithmHistory(1, 1.0)
    assert done.history["lasso"] == AlgorithmHistory(3, 0.0)


async def test_a_selection_is_no_training(connector: MLflowConnector) -> None:
    await record_selection(connector, state())
    done = await World({"connector": connector}).run()
    assert done.history["xgboost"].n == 0
