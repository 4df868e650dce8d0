"""model_trainer: its route, its rules, and how every planted failure ends; rows and tables stand in for themselves."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.model_trainer.agent import ModelTrainerAgent
from src.agents.ml_foundation.model_trainer.graph import STEPS, build_graph
from src.agents.ml_foundation.model_trainer.nodes import evaluate_model, load_splits
from src.agents.ml_foundation.model_trainer.services import PLACE, Records, Training, training_of
from src.agents.ml_foundation.model_trainer.state import TrainState
from src.agents.quality_gate import LayerStatus, QCGate
from src.domain.modelling import Candidate, ProblemType
from src.errors import ContractViolation, DatabaseUnavailable
from src.mlops import hpo_pattern_memory
from src.mlops.optuna.configuration import LimitSettings, OptunaConfig, WarmStartSettings
from src.mlops.optuna_optimizer import OptunaOptimizer
from src.mlops.tracing.orphans import find_orphans

from .parts import (
    BOOSTED,
    FEATURES,
    LOGISTIC,
    OPEN,
    SHUT,
    Experiments,
    FrameRows,
    Studies,
    TrainingRuns,
    World,
    journeys,
    request,
    world,
)

ROUTE = tuple(name for name, _ in STEPS)
PARTIAL = ("mlflow: there is no connection, and nothing was logged",)


def until(node: str) -> tuple[str, ...]:
    """The nodes up to ``node``."""
    return ROUTE[: ROUTE.index(node) + 1]


# The route ----------------------------------------------------------------------------------------


async def test_a_training_passes_all_nine_nodes_in_their_order() -> None:
    around = world()
    result = await around.run()
    assert result.error is None
    assert result.visited == ROUTE
    assert ROUTE == (
        "check_qc_gate", "load_splits", "enforce_splits", "fit_preprocessing", "tune_hyperparameters",
        "train_model", "evaluate_model", "log_to_mlflow", "save_checkpoint",
    )  # fmt: skip
    assert around.route() == [*ROUTE, "run"]
    assert find_orphans(around.sink.spans) == []
    assert (result.meta.status, result.meta.degraded) == ("partial", PARTIAL)


async def test_every_key_that_a_node_writes_is_declared_and_arrives() -> None:
    around, declared = world(), set(get_type_hints(TrainState))
    services = around.services
    deps = dataclasses.replace(around.deps, workspace={PLACE: services})
    arrived: set[str] = set()
    async for update in build_graph().astream({"request": request()}, context=deps, stream_mode="updates"):
        for written in update.values():
            assert set(written) <= declared
            arrived |= set(written)
    assert arrived == declared - {"request", "error", "degraded"} | {"degraded"}


async def test_budgets_name_nodes_of_the_graph() -> None:
    assert set(load_agents_config().agents[PLACE].node_timeouts) <= set(ROUTE)


async def test_progress_is_told_node_by_node_and_trial_by_trial() -> None:
    around = world()
    await around.run(hpo_trials=2)
    assert [told for told in around.told if told in ROUTE] == list(ROUTE)
    trials = [told for told in around.told if "trial" in told]
    assert [told.partition(", best")[0] for told in trials] == [
        "tune_hyperparameters: trial 1 of 2",
        "tune_hyperparameters: trial 2 of 2",
    ]


# The rules ----------------------------------------------------------------------------------------


async def test_the_test_rows_are_read_once_and_after_the_model_is_finished() -> None:
    around = world()
    asked: dict[str, list[str]] = {}
    around.hooks.append(lambda told: asked.setdefault(told, list(around.rows.asked)) and None)
    await around.run()
    assert around.rows.asked == ["train", "validation", "test"]
    assert asked["evaluate_model"] == ["train", "validation"]


async def test_rows_kept_back_change_nothing() -> None:
    frame = journeys()
    spoilt = frame.copy()
    held = spoilt["split"] == "holdout"
    spoilt.loc[held, "responded"] = ~spoilt.loc[held, "responded"]
    first, second = await world(frame).run(), await world(spoilt).run()
    assert "holdout" not in world(frame).rows.asked
    assert (first.metrics, first.threshold) == (second.metrics, second.threshold)


async def test_test_rows_change_neither_the_model_nor_its_threshold() -> None:
    frame = journeys()
    spoilt = frame.copy()
    test = spoilt["split"] == "test"
    spoilt.loc[test, "responded"] = ~spoilt.loc[test, "responded"]
    first, second = await world(frame).run(), await world(spoilt).run()
    assert (first.threshold, first.hpo and first.hpo.best_params) == (
        second.threshold,
        second.hpo and second.hpo.best_params,
    )
    assert first.metrics["validation"] == second.metrics["validation"]
    assert first.metrics["test"]["roc_auc"] == pytest.approx(1 - second.metrics["test"]["roc_auc"])


async def test_preprocessing_is_learnt_from_training_rows_alone() -> None:
    frame = journeys()
    shifted = frame.assign(lead=frame["lead"] + 1000.0 * (frame["split"] != "train"))
    first, second = [await parts_of(world(one)) for one in (frame, shifted)]
    pd.testing.assert_frame_equal(first.labelled["train"].X, second.labelled["train"].X)
    assert first.transforms == second.transforms
    assert second.labelled["test"].X["lead"].min() > first.labelled["test"].X["lead"].max()


async def parts_of(around: World) -> Training:
    """What a run of the compiled graph has made."""
    deps = dataclasses.replace(around.deps, workspace={PLACE: around.services})
    await build_graph().ainvoke({"request": request(enable_hpo=False)}, context=deps)
    return training_of(deps)


async def test_the_same_seed_gives_the_same_model() -> None:
    first, second = [await world().run(candidate=BOOSTED, random_state=11) for _ in range(2)]
    assert first.metrics == second.metrics
    assert first.intervals == second.intervals
    assert first.hpo is not None
    assert second.hpo is not None
    assert first.hpo.best_params == second.hpo.best_params


async def test_without_a_search_the_candidates_own_values_are_used_and_that_is_said() -> None:
    around = world()
    result = await around.run(enable_hpo=False)
    assert result.hpo is None
    assert around.row["hyperparameters"] == {"C": 1.0, "max_iter": 500}
    assert around.row["optuna_study_name"] is None
    assert any("no hyperparameters were searched" in line for line in result.meta.warnings)


@pytest.mark.parametrize(
    ("criteria", "met"),
    [({}, None), ({"roc_auc": 0.6}, True), ({"roc_auc": 0.6, "log_loss": 0.01}, False), ({"brier_score": 0.5}, True)],
)
async def test_criteria_are_met_in_the_direction_of_their_metric(criteria: dict[str, float], met: bool | None) -> None:
    result = await world().run(success_criteria=criteria, enable_hpo=False)
    assert result.criteria_met is met


async def test_the_metric_asked_for_is_the_one_that_is_optimised() -> None:
    result = await world().run(metric="log_loss")
    assert result.hpo is not None
    assert (result.hpo.metric, result.hpo.direction, result.primary_metric) == ("log_loss", "minimize", "log_loss")
    assert result.hpo.best_value == result.metrics["validation"]["log_loss"]


async def test_rows_without_a_target_are_left_out_and_counted() -> None:
    frame = journeys()
    frame["responded"] = frame["responded"].astype(object).where(frame.index % 9 != 0)
    result = await world(frame).run(enable_hpo=False)
    for split in ("train", "validation", "test"):
        wanted = frame[(frame["split"] == split) & frame["responded"].notna()]
        assert result.split_counts[split] == len(wanted)
    assert any("train rows have no 'responded' and are left out" in line for line in result.meta.warnings)


async def test_the_next_source_is_asked_where_the_first_does_not_have_the_data() -> None:
    around = world()
    other = FrameRows(journeys(), has="table:other")
    around.changes["rows"] = (other, around.rows)
    result = await around.run(enable_hpo=False)
    assert result.error is None
    assert (other.asked, around.rows.asked) == ([], ["train", "validation", "test"])


async def test_a_text_target_says_which_value_counts_as_1() -> None:
    frame = journeys()
    frame["answer"] = np.where(frame["responded"], "kept", "lost")
    guessed = await world(frame).run(target="answer", enable_hpo=False)
    told = await world(frame).run(target="answer", positive="kept", enable_hpo=False)
    assert "'lost' of the target 'answer' counts as 1" in guessed.meta.warnings
    assert not any("counts as 1" in line for line in told.meta.warnings)
    assert told.metrics["test"]["roc_auc"] == pytest.approx(guessed.metrics["test"]["roc_auc"], abs=0.02)


async def test_intervals_draw_whole_patients_where_rows_are_split_by_them() -> None:
    rows, patients = await world().run(enable_hpo=False), await world(by_unit=True).run(enable_hpo=False)
    assert rows.metrics == patients.metrics
    assert rows.intervals != patients.intervals


async def test_few_patients_give_no_intervals_and_that_is_said() -> None:
    frame = journeys()
    frame["patient"] = frame["split"] + (frame.index % 12).astype(str)
    result = await world(frame, by_unit=True).run(enable_hpo=False)
    assert (result.error, result.intervals) == (None, {})
    assert any("no intervals: there are fewer than 20 test rows, or units of them" in w for w in result.meta.warnings)


# Planted failures ---------------------------------------------------------------------------------


async def test_a_shut_gate_ends_the_run_before_any_row_is_read() -> None:
    around = world()
    result = await around.run(qc_gate=SHUT)
    assert result.visited == ("check_qc_gate",)
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("DataQualityCheckpointError", "check_qc_gate")
    assert "leakage: 'outcome' gives the target away" in result.error.message
    assert (result.meta.status, result.metrics, result.model_ref) == ("failed", {}, None)
    assert around.rows.asked == []
    assert around.tables[1].kept == {}


@pytest.mark.parametrize("status", [LayerStatus.SKIPPED, LayerStatus.SKIPPED.value])
async def test_a_gate_of_which_a_layer_did_not_run_is_shut_whatever_it_says(status: LayerStatus) -> None:
    around = world()
    result = await around.run(qc_gate=QCGate(True, 0.9, layers={**OPEN.layers, "leakage": status}))
    assert result.error is not None
    assert (result.error.type, result.visited) == ("DataQualityCheckpointError", ("check_qc_gate",))
    assert "leakage: the validation did not run" in result.error.message
    assert around.rows.asked == []


async def test_warnings_of_the_gate_are_passed_on() -> None:
    gate = QCGate(True, 0.9, warnings=("quality: few rows",), layers=OPEN.layers)
    result = await world().run(qc_gate=gate, enable_hpo=False)
    assert "gate: quality: few rows" in result.meta.warnings


def sharing_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Some training rows are validation rows too."""
    again = frame[frame["split"] == "train"].head(5).assign(split="validation")
    return pd.concat([frame, again])


def sharing_test_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Some training rows are test rows too."""
    again = frame[frame["split"] == "train"].head(5).assign(split="test")
    return pd.concat([frame, again])


def sharing_patients(frame: pd.DataFrame) -> pd.DataFrame:
    """A patient is in two splits."""
    return frame.assign(patient=frame["patient"].where(frame.index != frame.index[6], frame["patient"].iloc[0]))


def of_one_class(frame: pd.DataFrame) -> pd.DataFrame:
    """Nobody responded."""
    return frame.assign(responded=False)


def without_a_class_in_validation(frame: pd.DataFrame) -> pd.DataFrame:
    """Nobody responded among the rows to tune on."""
    return frame.assign(responded=frame["responded"] & (frame["split"] != "validation"))


def with_a_class_of_validation(frame: pd.DataFrame) -> pd.DataFrame:
    """A value that only a validation row has, and one that none of them has."""
    validation = frame["split"] == "validation"
    stage = frame["stage"].where(~validation | (frame["stage"] != "a"), "b")
    return frame.assign(stage=stage.where(frame.index != frame.index[validation][0], "unheard of"))


def with_a_class_of_test(frame: pd.DataFrame) -> pd.DataFrame:
    """A value that only two test rows have."""
    test = frame.index[frame["split"] == "test"][:2]
    return frame.assign(stage=frame["stage"].where(~frame.index.isin(test), "unheard of"))


def with_an_empty_column(frame: pd.DataFrame) -> pd.DataFrame:
    """``lead`` was never filled."""
    return frame.assign(lead=np.nan)


def with_names_of_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """``channel`` is a different word in each row."""
    return frame.assign(channel=[f"ref-{i:05d}" for i in range(len(frame))])


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """``lead`` counts the rows."""
    return frame.assign(lead=np.arange(len(frame)))


def without_a_feature(frame: pd.DataFrame) -> pd.DataFrame:
    """``lead`` is not there."""
    return frame.drop(columns="lead")


def hardly_any(frame: pd.DataFrame) -> pd.DataFrame:
    """Twenty-odd rows."""
    return frame.head(24)


FAILURES = [
    (sharing_rows, "enforce_splits", "SplitsInvalid", "the train and validation splits share 5 rows"),
    (sharing_patients, "enforce_splits", "SplitsInvalid", "share 1 units that must stay together"),
    (sharing_test_rows, "evaluate_model", "SplitsInvalid", "the train and test splits share 5 rows"),
    (of_one_class, "enforce_splits", "SplitsInvalid", "one value in all training rows"),
    (without_a_class_in_validation, "enforce_splits", "SplitsInvalid", "the validation split lacks 1 of the 2 classes"),
    (hardly_any, "enforce_splits", "SplitsInvalid", "training rows with a target"),
    (with_an_empty_column, "fit_preprocessing", "DataUnavailable", "feature 'lead' is empty in every training row"),
    (with_names_of_rows, "fit_preprocessing", "ContractViolation", "feature 'channel' has 180 different words"),
    (numbered, "fit_preprocessing", "ContractViolation", "feature 'lead' numbers the rows"),
    (without_a_feature, "load_splits", "UnknownColumn", "feature 'lead' is not in the data"),
]


@pytest.mark.parametrize(("spoil", "node", "kind", "said"), FAILURES)
async def test_spoilt_data_ends_the_run_typed_and_never_as_success(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], node: str, kind: str, said: str
) -> None:
    around = world(spoil(journeys()), by_unit=True)
    result = await around.run(enable_hpo=False)
    assert result.error is not None
    assert (result.error.node, result.error.type) == (node, kind)
    assert said in result.error.message
    assert result.visited == until(node)
    assert (result.meta.status, result.metrics, result.model_ref, result.threshold) == ("failed", {}, None, None)
    rows = list(around.tables[1].kept.values())
    assert [row["status"] for row in rows] == ([] if node == "load_splits" else ["failed"])
    for row in rows:
        assert (row["error_type"], row["error_message"]) == (kind, result.error.message)
        assert (row["train_metrics"], row["test_metrics"]) == ({}, {})
        assert result.training_run_id == row["id"]


@pytest.mark.parametrize(
    ("spoil", "node", "said"),
    [
        (
            with_a_class_of_validation,
            "enforce_splits",
            (
                "the validation split has 1 rows with a value of 'stage' that no training row has",
                "the validation split lacks 1 of the 3 classes of 'stage'",
            ),
        ),
        (
            with_a_class_of_test,
            "evaluate_model",
            ("the test split has 2 rows with a value of 'stage' that no training row has",),
        ),
    ],
)
async def test_a_class_that_was_never_trained_ends_the_run_with_every_reason(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], node: str, said: tuple[str, ...]
) -> None:
    asked = {"target": "stage", "problem_type": ProblemType.MULTICLASS, "enable_hpo": False}
    result = await world(spoil(journeys())).run(**asked)
    assert result.error is not None
    assert (result.error.node, result.error.type) == (node, "SplitsInvalid")
    for line in said:
        assert line in result.error.message
    assert "unheard of" not in result.error.message


async def test_all_reasons_are_told_at_once_also_of_a_target_of_another_kind() -> None:
    result = await world(sharing_rows(journeys())).run(target="stage", enable_hpo=False)
    assert result.error is not None
    assert result.error.type == "SplitsInvalid"
    assert "share 5 rows" in result.error.message
    assert "a binary one has 2" in result.error.message


async def test_an_experiment_of_another_target_is_refused_before_anything_is_tuned() -> None:
    tables = (Experiments(exp="churned"), TrainingRuns(), Studies())
    result = await world(records=Records(*tables)).run()
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("ContractViolation", "tune_hyperparameters")
    row = tables[1].only
    assert (row["status"], row["experiment_id"], row["id"]) == ("failed", "experiment of exp", result.training_run_id)
    assert row["error_message"] == "experiment 'exp' predicts something else than 'responded'"
    assert (row["optuna_study_name"], tables[2].kept) == (None, {})
    assert result.meta.degraded == (f"tune_hyperparameters: {result.error.message}",)


@pytest.mark.parametrize(
    ("module", "name", "times"),
    [
        (load_splits, "with_target", 2),
        (evaluate_model, "with_target", 1),
        (evaluate_model, "overlaps", 1),
        (evaluate_model, "repeated", 1),
        (hpo_pattern_memory, "query_of", 2),
    ],
)
async def test_what_grows_with_the_rows_is_not_done_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, times: int
) -> None:
    original, threads = getattr(module, name), []

    def noted(*given: Any, **named: Any) -> Any:
        threads.append(threading.get_ident())
        return original(*given, **named)

    monkeypatch.setattr(module, name, noted)
    memory = hpo_pattern_memory.HPOPatternMemory(hpo_pattern_memory.InMemoryPatterns(), WarmStartSettings())
    assert (await world(patterns=memory).run(hpo_trials=1)).error is None
    assert len(threads) == times
    assert threading.get_ident() not in threads


async def test_data_that_no_source_has_is_not_there() -> None:
    result = await world().run(dataset_id="table:elsewhere")
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("DataUnavailable", "load_splits")
    assert "no source has the splits of table:elsewhere ('split-1')" in result.error.message


async def test_fifty_to_one_is_balanced_and_stated() -> None:
    result = await world(journeys(3000, share=0.02)).run(enable_hpo=False)
    assert result.error is None
    assert result.balanced
    (stated,) = [line for line in result.meta.warnings if "each class weighs the same" in line]
    assert "the rarest class has 2." in stated
    assert any("probabilities are those of balanced classes" in line for line in result.meta.warnings)
    assert result.metrics["test"]["roc_auc"] > 0.7


async def test_probabilities_of_a_balanced_model_are_brought_back_where_rows_allow_it() -> None:
    result = await world(journeys(9000, share=0.03)).run(enable_hpo=False)
    assert result.balanced
    assert any("probabilities are recalibrated" in line for line in result.meta.warnings)
    assert result.calibration is not None
    assert result.calibration.brier < 0.03
    assert result.calibration.ece < 0.02


async def test_a_candidate_that_weighs_the_classes_itself_is_left_to_it() -> None:
    candidate = dataclasses.replace(BOOSTED, default_params={**BOOSTED.default_params, "class_weight": "balanced"})
    result = await world(journeys(1200, share=0.02)).run(enable_hpo=False, candidate=candidate)
    assert (result.error, result.balanced) == (None, False)
    assert any("weighed by the candidate's class_weight" in line for line in result.meta.warnings)


def trying(**choices: list[float]) -> Candidate:
    """A logistic regression whose search may only choose these."""
    space = {name: {"type": "categorical", "choices": values} for name, values in choices.items()}
    return dataclasses.replace(LOGISTIC, search_space=space, default_params={"max_iter": 500})


async def test_a_trial_that_raises_costs_that_trial_only() -> None:
    around = world()
    result = await around.run(candidate=trying(C=[-1.0, 1.0]), hpo_trials=6)
    assert result.error is None
    assert result.hpo is not None
    assert result.hpo.trials.failed > 0
    assert result.hpo.best_params == {"C": 1.0}
    assert any("trials failed; the study keeps their errors" in line for line in result.meta.warnings)
    ((study, trials),) = around.tables[2].kept.values()
    failed = [trial for trial in trials if trial["state"] == "FAIL"]
    assert (len(failed), study["n_failed"]) == (result.hpo.trials.failed, result.hpo.trials.failed)
    assert all(trial["value"] is None and "InvalidParameterError" in trial["error_message"] for trial in failed)


async def test_a_trial_that_gives_no_number_is_never_the_best() -> None:
    candidate = Candidate(
        "lightgbm", "boosting", "lightgbm.LGBMRegressor", 0.5, {"n_estimators": 10, "min_child_samples": 5},
        {"learning_rate": {"type": "categorical", "choices": [0.1, 1e200]}},
    )  # fmt: skip
    around = world()
    result = await around.run(candidate=candidate, problem_type=ProblemType.REGRESSION, target="cost", hpo_trials=6)
    assert result.hpo is not None
    assert result.hpo.trials.failed > 0
    assert result.hpo.best_params == {"learning_rate": 0.1}
    assert result.metrics["test"]["rmse"] > 0


async def test_a_search_in_which_every_trial_fails_ends_the_run_and_is_kept_as_failed() -> None:
    around = world()
    result = await around.run(candidate=trying(C=[-1.0, -2.0]), hpo_trials=3)
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("HPOError", "tune_hyperparameters")
    assert "all 3 trials" in result.error.message
    assert "InvalidParameterError" in result.error.message
    assert (result.hpo, result.model_ref, result.visited) == (None, None, until("tune_hyperparameters"))
    ((study, trials),) = around.tables[2].kept.values()
    assert (study["status"], study["n_failed"], len(trials)) == ("failed", 3, 3)
    assert (around.row["status"], around.row["optuna_study_name"]) == ("failed", study["study_name"])


async def test_an_unknown_hyperparameter_is_refused_by_name() -> None:
    candidate = dataclasses.replace(LOGISTIC, default_params={"learning_rate": 0.1}, search_space={})
    result = await world().run(candidate=candidate, enable_hpo=False)
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("ContractViolation", "train_model")
    assert "learning_rate" in result.error.message


async def test_a_table_that_is_away_fails_the_training_and_is_named() -> None:
    around = world()
    around.tables[1].failure = DatabaseUnavailable("PostgreSQL is away")
    result = await around.run(enable_hpo=False)
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("DatabaseUnavailable", "save_checkpoint")
    assert (result.meta.status, result.training_run_id, result.metrics) == ("failed", None, {})
    assert any("could not be recorded: PostgreSQL is away" in line for line in result.meta.degraded)


async def test_a_used_up_budget_leaves_a_failed_training_behind() -> None:
    around = world(budgets={"evaluate_model": 0.000001})
    with pytest.raises(TimeoutError):
        await around.run(enable_hpo=False)
    assert (around.row["status"], around.row["error_type"]) == ("failed", "TimeoutError")
    assert around.row["error_message"] == "the time budget was used up"


# What is left of the budget after nine tenths must be enough for the last trial on a busy machine.
@pytest.mark.parametrize(("asked", "budgets"), [(0.05, {}), (60.0, {"tune_hyperparameters": 2.0})])
async def test_a_search_that_runs_out_of_time_keeps_what_it_found(
    asked: float | None, budgets: dict[str, float]
) -> None:
    # More trials than the time allows on any machine; a linear one is never broken off.
    config = OptunaConfig(default_sampler="random", limits=LimitSettings(stop_after_no_improvement=500))
    around = world(optimizer=lambda name: OptunaOptimizer(name, "memory", config=config), budgets=budgets)
    result = await around.run(hpo_timeout_s=asked, hpo_trials=500)
    assert result.error is None
    assert result.hpo is not None
    assert result.hpo.stopped_because == "timeout"
    assert 0 < result.hpo.trials.total < 500


async def test_a_cancelled_training_is_recorded_as_cancelled() -> None:
    around = world()
    reached = asyncio.Event()
    around.hooks.append(lambda told: reached.set() if "trial 1" in told else None)
    task = asyncio.create_task(around.run(hpo_trials=500))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (around.row["status"], around.row["test_metrics"]) == ("cancelled", {})
    ((study, trials),) = around.tables[2].kept.values()
    assert (study["study_name"], len(trials) > 0) == (around.row["optuna_study_name"], True)
    assert (study["status"], "broken off" in study["error_message"]) == ("failed", True)


async def test_checkpoints_that_are_not_wanted_are_not_written() -> None:
    around = world()
    result = await around.run(enable_checkpointing=False, enable_hpo=False)
    assert (result.error, result.training_run_id, around.tables[1].kept) == (None, None, {})
    assert (await around.run(enable_checkpointing=False, qc_gate=SHUT)).training_run_id is None


async def test_a_missing_database_is_named_as_degraded() -> None:
    around = world()
    around.changes["records"] = None
    result = await around.run(enable_hpo=False)
    assert result.error is None
    assert "database: there is no connection, and the training was not recorded" in result.meta.degraded


async def test_a_request_that_is_not_valid_raises_before_anything_is_read() -> None:
    around = world()
    with pytest.raises(ContractViolation, match="unknown key"):
        await around.run({"experiment": "x"})
    assert around.rows.asked == []


async def test_a_run_longer_than_its_budget_says_so() -> None:
    around = world()
    agent = ModelTrainerAgent(around.services, sla_seconds=0.000001)
    result = await agent.run(request(enable_hpo=False, features=FEATURES[:1]), around.deps)
    assert any("its budget is 1e-06 s" in line for line in result.meta.warnings)
