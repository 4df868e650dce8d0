"""Is every metric what its definition says, computed by somebody else, and absent where it is not defined?"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pytest
from scipy.special import logit
from sklearn import metrics as sk

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable
from src.mlops.modelling.binary_metrics import PROBABILITY_FLOOR
from src.mlops.modelling.metrics import DEFAULT_METRICS, DIRECTIONS, METRICS, confusion, evaluate, judged, metric_value
from tests.unit.test_mlops.labelled_rows import scored

BINARY, MULTICLASS, REGRESSION = ProblemType.BINARY, ProblemType.MULTICLASS, ProblemType.REGRESSION


def several(n: int = 500, k: int = 4, random_state: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(random_state)
    y = rng.integers(0, k, n)
    raw = rng.normal(size=(n, k)) + 1.2 * np.eye(k)[y]
    scores = np.exp(raw)
    return y, scores / scores.sum(axis=1, keepdims=True)


def ece_by_hand(confidence: Any, right: Any) -> float:
    total = 0.0
    for low in range(10):
        here = (confidence > low / 10) & (confidence <= (low + 1) / 10)
        if low == 0:
            here |= confidence == 0
        if here.any():
            total += here.sum() * abs(right[here].mean() - confidence[here].mean())
    return total / len(confidence)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.83])
@pytest.mark.parametrize("decimals", [None, 1, 2])
def test_metrics_of_two_classes_equal_those_of_scikit_learn(threshold: float, decimals: int | None) -> None:
    y, scores = scored(decimals=decimals)
    p = scores[:, 1]
    found, hard = evaluate(BINARY, y, scores, threshold), (p >= threshold).astype(int)
    expected = {
        "roc_auc": sk.roc_auc_score(y, p),
        "pr_auc": sk.average_precision_score(y, p),
        "f1": sk.f1_score(y, hard),
        "precision": sk.precision_score(y, hard),
        "recall": sk.recall_score(y, hard),
        "accuracy": sk.accuracy_score(y, hard),
        "brier_score": sk.brier_score_loss(y, p),
        "log_loss": sk.log_loss(y, p),
        "ece": ece_by_hand(p, y),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert set(found) == set(METRICS[BINARY])
    assert np.array_equal(confusion(BINARY, y, scores, threshold), sk.confusion_matrix(y, hard))


@pytest.mark.parametrize("random_state", range(4))
@pytest.mark.parametrize("decimals", [None, 1])
def test_slope_and_intercept_equal_a_logistic_regression_of_statsmodels(
    random_state: int, decimals: int | None
) -> None:
    import statsmodels.api as sm

    y, scores = scored(300, random_state, decimals=decimals)
    p = np.clip(scores[:, 1], PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    fitted = sm.GLM(y, sm.add_constant(logit(p)), family=sm.families.Binomial()).fit()
    found = evaluate(BINARY, y, scores)
    assert found["calibration_slope"] == pytest.approx(fitted.params[1], abs=1e-6)
    assert found["calibration_intercept"] == pytest.approx(fitted.params[0], abs=1e-6)
    assert found["calibration_slope"] < 0.85


def test_true_probabilities_have_a_slope_near_one_and_little_calibration_error() -> None:
    rng = np.random.default_rng(5)
    p = 1 / (1 + np.exp(-rng.normal(size=20_000)))
    found = evaluate(BINARY, (rng.random(len(p)) < p).astype(int), np.column_stack([1 - p, p]))
    assert found["calibration_slope"] == pytest.approx(1, abs=0.06)
    assert found["calibration_intercept"] == pytest.approx(0, abs=0.05)
    assert found["ece"] < 0.015


def test_probabilities_of_exactly_zero_and_one_are_read_at_the_floor() -> None:
    import statsmodels.api as sm

    p = np.array([0.0, 0.0, 0.0, 0.2, 0.6, 0.9, 1.0, 1.0, 1.0, 0.4])
    y = np.array([0, 0, 1, 0, 1, 1, 1, 1, 0, 0])
    floored = np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    fitted = sm.GLM(y, sm.add_constant(logit(floored)), family=sm.families.Binomial()).fit(tol=1e-12)
    found = evaluate(BINARY, y, np.column_stack([1 - p, p]))
    assert found["calibration_slope"] == pytest.approx(fitted.params[1], rel=1e-5)
    assert found["calibration_intercept"] == pytest.approx(fitted.params[0], rel=1e-5)


@pytest.mark.parametrize("n", [5, 37, 400])
def test_the_top_tenth_is_the_k_highest_scores_and_ties_count_by_their_mean(n: int) -> None:
    y, scores = scored(n, 3, decimals=1)
    k, rng = max(1, ceil(0.1 * n)), np.random.default_rng(0)
    hits = []
    for _ in range(3000):
        mixed = rng.permutation(n)
        top = mixed[np.argsort(-scores[mixed, 1], kind="stable")][:k]
        hits.append(y[top].sum())
    found = evaluate(BINARY, y, scores)
    assert found["precision_at_k"] == pytest.approx(np.mean(hits) / k, abs=0.03)
    assert found["recall_at_k"] == pytest.approx(np.mean(hits) / y.sum(), abs=0.03)


@pytest.mark.parametrize("decimals", [1, None])
def test_a_weighting_has_the_metrics_of_rows_that_are_there_so_often(decimals: int | None) -> None:
    y, scores = scored(80, 5, decimals=decimals)
    rng = np.random.default_rng(1)
    # From a fifth of the rows to three times as many.
    weights = np.stack([rng.poisson(mean, 80) for mean in (0.2, 0.5, 1.0, 3.0)]).astype(float)
    names = METRICS[BINARY]
    found = judged(BINARY, y, scores, 0.4).values(names, weights)
    for number, weight in enumerate(weights.astype(int)):
        there = evaluate(BINARY, np.repeat(y, weight), np.repeat(scores, weight, axis=0), 0.4)
        assert {name: found[name][number] for name in names} == pytest.approx(there, rel=1e-6)


@pytest.mark.parametrize("k", [3, 5])
def test_metrics_of_several_classes_equal_those_of_scikit_learn(k: int) -> None:
    y, scores = several(k=k)
    hard = scores.argmax(axis=1)
    expected = {
        "roc_auc": sk.roc_auc_score(y, scores, multi_class="ovr", average="macro"),
        "pr_auc": np.mean([sk.average_precision_score(y == code, scores[:, code]) for code in range(k)]),
        "f1": sk.f1_score(y, hard, average="macro"),
        "f1_weighted": sk.f1_score(y, hard, average="weighted"),
        "precision": sk.precision_score(y, hard, average="macro"),
        "recall": sk.recall_score(y, hard, average="macro"),
        "accuracy": sk.accuracy_score(y, hard),
        "brier_score": sk.brier_score_loss(y, scores, scale_by_half=False),
        "log_loss": sk.log_loss(y, scores),
        "ece": ece_by_hand(scores.max(axis=1), hard == y),
    }
    assert evaluate(MULTICLASS, y, scores) == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(confusion(MULTICLASS, y, scores), sk.confusion_matrix(y, hard))


def test_metrics_of_numbers_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    y = 1e6 + rng.normal(size=300)
    predicted = y + 0.5 * rng.normal(size=300)
    rmse = sk.root_mean_squared_error(y, predicted)
    expected = {"rmse": rmse, "neg_rmse": -rmse, "mae": sk.mean_absolute_error(y, predicted)}
    assert evaluate(REGRESSION, y, predicted) == pytest.approx(expected | {"r2": sk.r2_score(y, predicted)}, rel=1e-6)
    assert confusion(REGRESSION, y, predicted) == ()


def halves(*p: float) -> Any:
    return np.column_stack([1 - np.array(p), np.array(p)])


@pytest.mark.parametrize(
    ("y", "scores", "absent"),
    [
        ([0, 0, 0], halves(0.1, 0.9, 0.4), {"roc_auc", "pr_auc", "recall", "recall_at_k", "calibration_slope"}),
        ([1, 1], halves(0.7, 0.6), {"roc_auc", "calibration_slope", "calibration_intercept"}),
        ([0, 1, 0], halves(0.1, 0.2, 0.3), {"precision"}),
        ([0, 0, 1, 1], halves(0.1, 0.2, 0.7, 0.9), {"calibration_slope", "calibration_intercept"}),
        ([0, 1, 0, 1], halves(0.4, 0.4, 0.4, 0.4), {"precision", "calibration_slope", "calibration_intercept"}),
    ],
)
def test_a_metric_that_is_not_defined_is_left_out_not_zero(y: list[int], scores: Any, absent: set[str]) -> None:
    found = evaluate(BINARY, y, scores)
    assert absent.isdisjoint(found)
    assert all(np.isfinite(value) for value in found.values())
    for name in absent:
        with pytest.raises(DataUnavailable, match=name):
            metric_value(name, BINARY, y, scores)


def test_a_mean_over_classes_is_absent_when_one_class_does_not_define_it() -> None:
    y, scores = several(60, 3)
    kept = y != 2
    found = evaluate(MULTICLASS, y[kept], scores[kept])
    assert {"roc_auc", "pr_auc", "recall"}.isdisjoint(found)
    assert found["f1_weighted"] == pytest.approx(
        sk.f1_score(y[kept], scores[kept].argmax(axis=1), average="weighted"), abs=1e-12
    )
    assert "r2" not in evaluate(REGRESSION, [0.1, 0.1, 0.1], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("problem_type", [BINARY, MULTICLASS])
def test_perfect_and_inverted_scores_lie_at_the_ends(problem_type: ProblemType) -> None:
    y = np.arange(40) % (2 if problem_type is BINARY else 4)
    perfect = np.eye(int(y.max()) + 1)[y]
    found = evaluate(problem_type, y, perfect)
    assert found["roc_auc"] == found["pr_auc"] == found["f1"] == 1
    assert found["brier_score"] == found["ece"] == 0
    assert evaluate(problem_type, y, 1 - perfect if problem_type is BINARY else (1 - perfect) / 3)["roc_auc"] == 0


@pytest.mark.parametrize("problem_type", list(METRICS))
def test_a_single_metric_equals_its_value_among_all(problem_type: ProblemType) -> None:
    y, scores = {BINARY: scored(), MULTICLASS: several(), REGRESSION: (np.arange(9.0), np.arange(9.0) ** 1.1)}[
        problem_type
    ]
    found = evaluate(problem_type, y, scores)
    assert {name: metric_value(name, problem_type, y, scores) for name in METRICS[problem_type]} == found


def test_every_metric_but_the_two_without_one_has_a_direction() -> None:
    names = {name for names in METRICS.values() for name in names}
    assert names - set(DIRECTIONS) == {"calibration_slope", "calibration_intercept"}
    assert set(DIRECTIONS) <= names
    assert all(DEFAULT_METRICS[problem_type] in names for problem_type, names in METRICS.items())


def test_the_order_of_rows_changes_nothing() -> None:
    y, scores = scored(decimals=1)
    mixed = np.random.default_rng(0).permutation(len(y))
    assert evaluate(BINARY, y[mixed], scores[mixed]) == pytest.approx(evaluate(BINARY, y, scores), abs=1e-12)


@pytest.mark.parametrize(
    ("problem_type", "y", "scores", "error", "said"),
    [
        (BINARY, [0, 1], halves(0.2), ContractViolation, "as many"),
        (BINARY, [], np.empty((0, 2)), DataUnavailable, "no row"),
        (BINARY, [0, 1], np.array([0.2, 0.3]), ContractViolation, "shape"),
        (BINARY, [0, 2], halves(0.2, 0.3), ContractViolation, "codes from 0 to 1"),
        (MULTICLASS, [0, -1], np.full((2, 3), 1 / 3), ContractViolation, "codes from 0 to 2"),
        (REGRESSION, [0.0, np.nan], np.zeros(2), ContractViolation, "empty or infinite"),
        (REGRESSION, [0.0, 1.0], np.array([np.inf, 0.0]), ContractViolation, "empty or infinite"),
        (REGRESSION, [0.0, 1.0], halves(0.2, 0.3), ContractViolation, "shape"),
        (ProblemType.EFFECT, [0.0, 1.0], np.zeros(2), ContractViolation, "e2i effect"),
    ],
)
def test_rows_and_scores_that_do_not_fit_together_are_refused(
    problem_type: ProblemType, y: Any, scores: Any, error: type, said: str
) -> None:
    with pytest.raises(error, match=said):
        evaluate(problem_type, y, scores)


@pytest.mark.parametrize(("problem_type", "name"), [(BINARY, "rmse"), (REGRESSION, "roc_auc"), (BINARY, "roc_auk")])
def test_a_metric_that_the_problem_does_not_have_is_refused(problem_type: ProblemType, name: str) -> None:
    with pytest.raises(ContractViolation, match=f"no metric '{name}'"):
        metric_value(name, problem_type, [0, 1], halves(0.1, 0.2))
