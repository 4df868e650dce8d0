"""Is the threshold the best one, and is calibration kept only where it helps?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable
from src.mlops.modelling.calibration import Sigmoid, calibrate
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.metrics import evaluate
from src.mlops.modelling.thresholds import choose_threshold
from src.mlops.modelling.types import FittedModel, Labelled
from tests.unit.test_mlops.labelled_rows import rows, scored

BINARY = ProblemType.BINARY


@pytest.mark.parametrize("random_state", range(5))
@pytest.mark.parametrize("decimals", [None, 1])
def test_no_other_score_gives_a_higher_f1(random_state: int, decimals: int | None) -> None:
    y, scores = scored(150, random_state, decimals=decimals)
    chosen = choose_threshold(y, scores)
    values = {float(cut): sk.f1_score(y, scores[:, 1] >= cut) for cut in np.unique(scores[:, 1])}
    best = max(values.values())
    assert chosen.f1 == pytest.approx(best)
    assert chosen.value == min(cut for cut, value in values.items() if value == pytest.approx(best))
    found = evaluate(BINARY, y, scores, chosen.value)
    assert (found["f1"], found["precision"], found["recall"]) == pytest.approx(
        (chosen.f1, chosen.precision, chosen.recall)
    )


def test_of_equally_good_thresholds_the_lowest_is_chosen() -> None:
    p = np.array([0.9, 0.8, 0.3, 0.2])
    # At .8 and at .2 … F1 is 2/3 both times.
    chosen = choose_threshold([1, 0, 0, 1], np.column_stack([1 - p, p]))
    assert (chosen.value, chosen.f1) == (0.2, pytest.approx(2 / 3))


def test_a_threshold_without_rows_of_both_classes_is_refused() -> None:
    y, scores = scored(200)
    with pytest.raises(DataUnavailable, match="both classes"):
        choose_threshold(y * 0, scores)


@pytest.fixture(scope="module")
def overfitted() -> tuple[FittedModel, Labelled, Labelled]:
    """A model that is far too sure of itself, validation rows, and rows that nothing was fitted on."""
    params = {"n_estimators": 200, "learning_rate": 0.3, "max_depth": 6}
    return fit_model("xgboost", BINARY, params, rows(BINARY, 150)), rows(BINARY, 1500, 1), rows(BINARY, 1500, 2)


def test_calibration_of_a_model_that_is_too_sure_helps_on_rows_it_never_saw(
    overfitted: tuple[FittedModel, Labelled, Labelled],
) -> None:
    model, validation, unseen = overfitted
    better = calibrate(model, validation)
    assert isinstance(better.recalibration, Sigmoid)
    assert better.recalibration.slope < 0.8
    before, after = (evaluate(BINARY, unseen.y, one.scores(unseen.X)) for one in (model, better))
    assert after["log_loss"] < before["log_loss"]
    assert abs(after["calibration_slope"] - 1) < abs(before["calibration_slope"] - 1)
    assert after["roc_auc"] == pytest.approx(before["roc_auc"])
    assert "recalibrated (sigmoid)" in better.notes[-1]


def test_the_sigmoid_is_the_logistic_regression_on_log_odds(
    overfitted: tuple[FittedModel, Labelled, Labelled],
) -> None:
    import statsmodels.api as sm
    from scipy.special import logit

    model, validation, _ = overfitted
    found = calibrate(model, validation).recalibration
    p = np.clip(model.scores(validation.X)[:, 1], 1e-6, 1 - 1e-6)
    fitted = sm.GLM(validation.y.to_numpy(), sm.add_constant(logit(p)), family=sm.families.Binomial()).fit()
    assert isinstance(found, Sigmoid)
    assert (found.intercept, found.slope) == pytest.approx(tuple(fitted.params), abs=1e-6)


def test_calibration_that_does_not_help_is_left_out() -> None:
    model = fit_model("logistic_regression", BINARY, {"C": 100.0}, rows(BINARY, 5000))
    same = calibrate(model, rows(BINARY, 200, 8))
    assert same.recalibration is None
    assert "left out" in same.notes[-1]
    np.testing.assert_array_equal(same.scores(rows(BINARY, 9).X), model.scores(rows(BINARY, 9).X))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({}, DataUnavailable, "needs 25 validation rows"),
        ({"problem_type": ProblemType.MULTICLASS}, ContractViolation, "only probabilities of two"),
    ],
)
def test_calibration_without_enough_rows_or_two_classes_is_refused(
    overfitted: tuple[FittedModel, Labelled, Labelled], change: Any, error: type, said: str
) -> None:
    model = overfitted[0]
    with pytest.raises(error, match=said):
        calibrate(replace(model, **change), rows(BINARY, 40))


def test_scores_that_point_the_wrong_way_are_not_turned_round(
    overfitted: tuple[FittedModel, Labelled, Labelled],
) -> None:
    model, validation, _ = overfitted
    turned = Labelled(validation.X, pd.Series(1 - validation.y))
    with pytest.raises(DataUnavailable, match="do not mean more positive"):
        calibrate(model, turned)
