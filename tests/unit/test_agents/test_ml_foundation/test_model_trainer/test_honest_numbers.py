"""Do the numbers of a training mean what they say: the search's, those of the validation rows, the probabilities?"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from src.agents.ml_foundation.model_trainer.result import TrainResult
from src.domain.modelling import Candidate, ProblemType

from .parts import BOOSTED, LOGISTIC, journeys, world

RATE = {"learning_rate": {"type": "float", "low": 0.05, "high": 0.3}}
FAMILIES = (
    LOGISTIC,
    BOOSTED,
    Candidate("xgboost", "boosting", "xgboost.XGBClassifier", 0.9, {"n_estimators": 40, "max_depth": 3}, RATE),
    Candidate(
        "random_forest",
        "forest",
        "sklearn.ensemble.RandomForestClassifier",
        0.9,
        {"n_estimators": 30},
        {"min_samples_leaf": {"type": "int", "low": 2, "high": 20}},
    ),
)
OPTIMISTIC = "metrics of the validation rows are optimistic, for on them was chosen: "


def optimism(result: TrainResult) -> str:
    """What was chosen on the validation rows, as the result tells it; '' where it tells nothing."""
    told = [line for line in result.meta.warnings if line.startswith(OPTIMISTIC)]
    return told[0].removeprefix(OPTIMISTIC) if told else ""


def best_value(result: TrainResult) -> float:
    assert result.error is None, result.error
    assert result.hpo is not None
    return result.hpo.best_value


# The search and the model -------------------------------------------------------------------------


@pytest.mark.parametrize("candidate", FAMILIES, ids=lambda candidate: candidate.algorithm)
async def test_the_searchs_best_value_is_that_of_the_final_model(candidate: Candidate) -> None:
    result = await world(journeys(3000, share=0.06)).run(candidate=candidate, hpo_trials=3, metric="roc_auc")
    assert best_value(result) == result.metrics["validation"]["roc_auc"]
    assert result.balanced


@pytest.mark.parametrize("metric", ["brier_score", "log_loss", "ece"])
async def test_classes_weigh_as_they_come_where_probabilities_are_judged(metric: str) -> None:
    result = await world(journeys(3000, share=0.06)).run(hpo_trials=2, metric=metric)
    assert best_value(result) == result.metrics["validation"][metric]
    assert not result.balanced
    (stated,) = [line for line in result.meta.warnings if "rows weigh the same in training" in line]
    assert stated.startswith("the rarest class has 6.")
    assert stated.endswith(f"because {metric} judges the probabilities")


# Validation rows ----------------------------------------------------------------------------------


async def test_what_was_chosen_on_the_validation_rows_is_said() -> None:
    result = await world().run(candidate=BOOSTED, hpo_trials=1)
    assert optimism(result) == "hyperparameters, the rounds of boosting, the threshold"


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({}, "the threshold"),
        ({"candidate": BOOSTED, "early_stopping": False}, "the threshold"),
        ({"problem_type": ProblemType.MULTICLASS, "target": "stage"}, ""),
    ],
)
async def test_what_was_not_chosen_on_them_is_not_said(changes: dict[str, Any], chosen: str) -> None:
    assert optimism(await world().run(enable_hpo=False, **changes)) == chosen


async def test_rows_that_a_recalibration_was_fitted_on_do_not_say_how_good_it_is() -> None:
    result = await world(journeys(9000, share=0.03)).run(enable_hpo=False)
    assert optimism(result) == "the recalibration, the threshold"
    fitted = {"calibration_slope", "calibration_intercept", "ece"}
    assert fitted & set(result.metrics["validation"]) == set()
    assert fitted <= set(result.metrics["test"])
    assert {"brier_score", "log_loss", "roc_auc"} <= set(result.metrics["validation"])


async def test_a_model_that_was_not_recalibrated_keeps_its_validation_calibration() -> None:
    result = await world().run(enable_hpo=False)
    assert {"calibration_slope", "calibration_intercept", "ece"} <= set(result.metrics["validation"])


# Probabilities ------------------------------------------------------------------------------------


async def test_a_balanced_model_of_several_classes_says_whose_probabilities_it_gives() -> None:
    frame = journeys(1200)
    rare = np.random.default_rng(0).random(len(frame)) < 0.06
    frame["stage"] = np.where(rare, "rare", np.where(frame["score"].fillna(0) > 0, "a", "b"))
    asked = {"target": "stage", "problem_type": ProblemType.MULTICLASS, "enable_hpo": False}
    result = await world(frame).run(**asked)
    said = "probabilities are those of balanced classes, too high for the rare ones"
    assert (result.balanced, said in result.meta.warnings) == (True, True)
    even = await world().run(**asked)
    assert (even.balanced, said in even.meta.warnings) == (False, False)


async def test_scores_that_separate_the_classes_have_a_calibration_without_a_slope() -> None:
    frame = journeys()
    frame["responded"] = frame["lead"] > 30
    result = await world(frame).run(candidate=dataclasses.replace(BOOSTED, search_space={}), hpo_trials=1)
    found = result.calibration
    assert found is not None
    assert result.metrics["test"]["roc_auc"] == 1
    assert (found.slope, found.intercept) == (None, None)
    assert (found.brier, found.ece) == (result.metrics["test"]["brier_score"], result.metrics["test"]["ece"])


@pytest.mark.parametrize(("positive", "counts_as_one"), [("True", True), ("true", True), ("FALSE", False)])
async def test_the_positive_value_of_truth_is_named_in_words(positive: str, counts_as_one: bool) -> None:
    frame = journeys()
    result = await world(frame).run(enable_hpo=False, positive=positive)
    assert result.error is None
    test = frame[frame["split"] == "test"]
    assert sum(result.confusion[1]) == (test["responded"] == counts_as_one).sum() != sum(result.confusion[0])
    assert pd.api.types.is_bool_dtype(test["responded"])


# Early stopping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("searched", [False, True])
async def test_boosting_that_is_judged_by_its_order_goes_on_until_its_probabilities_are_right(
    algorithm: str, searched: bool
) -> None:
    frame = load_breast_cancer(as_frame=True).frame
    frame["split"] = np.random.default_rng(1).permutation(np.resize(["train"] * 3 + ["validation", "test"], len(frame)))
    candidate = Candidate(algorithm, "boosting", f"{algorithm}.Classifier", 0.9, {}, RATE)
    result = await world(frame.assign(patient="")).run(
        candidate=candidate,
        target="target",
        features=tuple(frame.columns[:30]),
        segments=(),
        metric="roc_auc",
        enable_hpo=searched,
        hpo_trials=3,
    )
    assert result.error is None, result.error
    assert 0.5 < result.metrics["validation"]["calibration_slope"] < 2
    assert result.metrics["validation"]["roc_auc"] > 0.985
    assert result.metrics["test"]["roc_auc"] > 0.98
