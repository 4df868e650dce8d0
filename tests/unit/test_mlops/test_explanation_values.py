"""SHAP values and base add up to the prediction for every family, on real background rows only."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from src.domain.modelling import ProblemType
from src.errors import ConfigError, ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.explanation import explainers, library
from src.mlops.explanation.attribution import Attribution, NotAdditive, column_groups, ranked
from src.mlops.explanation.explainers import as_prediction, explain, explainer_of, outputs
from src.mlops.modelling.calibration import Sigmoid
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.types import FittedModel, Labelled
from tests.unit.test_mlops.explanation_models import FAMILIES, FEATURES, TREES, N, fitted, labelled, rows

PROBLEMS = (ProblemType.BINARY, ProblemType.MULTICLASS, ProblemType.REGRESSION)
families = pytest.mark.parametrize("algorithm", [*FAMILIES, "neighbours"])


def explained(model: FittedModel, n: int = 25) -> Attribution:
    return explain(model, rows().iloc[:60], rows().iloc[200 : 200 + n])


@families
@pytest.mark.parametrize("problem", PROBLEMS)
def test_base_and_values_add_up_to_the_prediction(algorithm: str, problem: ProblemType) -> None:
    model = fitted(algorithm, problem)
    found = explained(model, n=10)
    total = found.base + found.values.sum(axis=1)
    predicted = model.scores(rows().iloc[200:210])
    if found.space == "target":
        assert total == pytest.approx(predicted, rel=1e-4)
    elif found.space == "probability":
        expected = predicted.max(axis=1) if problem is ProblemType.MULTICLASS else predicted[:, 1]
        assert total == pytest.approx(expected, abs=1e-4)
    elif found.space == "log_odds":
        assert 1 / (1 + np.exp(-total)) == pytest.approx(predicted[:, 1], abs=1e-4)
    else:
        raw = getattr(model.estimator, "decision_function", None)
        scores = raw(rows().iloc[200:210].to_numpy()) if raw else _margins(model)
        assert total == pytest.approx(scores.max(axis=1), abs=1e-4)
    assert found.max_error <= 1e-4 * max(1.0, float(np.abs(predicted).max()))


def _margins(model: FittedModel) -> np.ndarray:
    option = {"output_margin": True} if model.algorithm == "xgboost" else {"raw_score": True}
    return np.asarray(model.estimator.predict(rows().iloc[200:210].to_numpy(), **option))


@pytest.mark.parametrize(
    ("algorithm", "kind", "binary", "multiclass"),
    [
        ("logistic_regression", "Linear", "log_odds", "class_score"),
        ("xgboost", "Tree", "log_odds", "class_score"),
        ("lightgbm", "Tree", "log_odds", "class_score"),
        ("random_forest", "Tree", "probability", "probability"),
        ("neighbours", "Kernel", "probability", "probability"),
    ],
)
def test_the_explainer_and_what_its_values_are_measured_in(
    algorithm: str, kind: str, binary: str, multiclass: str
) -> None:
    spaces = [explained(fitted(algorithm, problem), n=2).space for problem in PROBLEMS]
    assert spaces == [binary, multiclass, "target"]
    assert explainer_of(fitted(algorithm)) == kind


@pytest.mark.parametrize("algorithm", ["random_forest", "xgboost", "neighbours"])
def test_values_are_the_shapley_values_over_the_background(algorithm: str) -> None:
    model, background = fitted(algorithm, ProblemType.REGRESSION), rows().iloc[:20]
    one = rows().iloc[[210]]
    found = explain(model, background, one)
    p = len(FEATURES)

    def worth(known: tuple[int, ...]) -> float:
        mixed = background.copy()
        for column in known:
            mixed.iloc[:, column] = one.iloc[0, column]
        return float(model.scores(mixed).mean())

    for j in range(p):
        others = [i for i in range(p) if i != j]
        shapley = sum(
            factorial(size) * factorial(p - size - 1) / factorial(p) * (worth((*known, j)) - worth(known))
            for size in range(p)
            for known in combinations(others, size)
        )
        assert found.values[0, j] == pytest.approx(shapley, abs=0.5)
    assert found.base_value == pytest.approx(worth(()), abs=0.5)


@families
def test_the_same_seed_gives_the_same_values_and_leaves_the_global_generator_alone(algorithm: str) -> None:
    before = np.random.get_state()[1].tolist()
    first, second = explained(fitted(algorithm), n=5), explained(fitted(algorithm), n=5)
    assert first.values.tolist() == second.values.tolist()
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.parametrize("empty", ["background", "rows"])
def test_without_real_rows_nothing_is_explained(empty: str) -> None:
    given = {"background": rows().iloc[:60], "rows": rows().iloc[200:205]}
    with pytest.raises(DataUnavailable, match="real rows"):
        explain(fitted("xgboost"), **(given | {empty: rows().iloc[:0]}))


def test_a_column_the_model_needs_is_named() -> None:
    with pytest.raises(UnknownColumn, match="'mild'"):
        explain(fitted("xgboost"), rows().drop(columns="mild"), rows())


def test_an_effect_model_is_not_explained() -> None:
    model = dataclasses.replace(fitted("ridge"), problem_type=ProblemType.EFFECT)
    with pytest.raises(ContractViolation, match="causal_impact"):
        explained(model)


class Shifted(FittedModel):
    """Predicts something else than its estimator."""

    __slots__ = ()

    def scores(self, X: pd.DataFrame) -> np.ndarray:
        return np.asarray(super().scores(X)) * 0.9


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_values_that_do_not_add_up_to_the_prediction_are_refused(algorithm: str) -> None:
    model = fitted(algorithm)
    wrong = Shifted(*(getattr(model, field.name) for field in dataclasses.fields(model)))
    with pytest.raises(NotAdditive, match="differ from the model's prediction"):
        explained(wrong)


@pytest.mark.parametrize("algorithm", ["logistic_regression", "xgboost", "lightgbm"])
def test_a_sigmoid_after_the_model_stretches_its_values(algorithm: str) -> None:
    plain = explained(fitted(algorithm))
    found = explained(dataclasses.replace(fitted(algorithm), recalibration=Sigmoid(0.5, 0.2)))
    assert found.space == plain.space == "log_odds"
    assert found.values == pytest.approx(0.5 * plain.values)
    assert found.base_value == pytest.approx(0.5 * plain.base_value + 0.2)


def test_probabilities_that_are_no_sum_of_trees_are_explained_as_such() -> None:
    model = dataclasses.replace(fitted("random_forest"), recalibration=Sigmoid(0.5, 0.2))
    found = explained(model, n=5)
    assert (found.explainer, found.space) == ("Kernel", "probability")
    total = found.base + found.values.sum(axis=1)
    assert total == pytest.approx(model.scores(rows().iloc[200:205])[:, 1], abs=1e-4)


@pytest.mark.parametrize("algorithm", TREES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_only_the_rounds_that_are_used_are_explained(algorithm: str, problem: ProblemType) -> None:
    model = fit_model(
        algorithm,
        problem,
        {"n_estimators": 60},
        labelled(problem, 0, 200),
        validation=labelled(problem, 200, N),
        early_stopping_rounds=1,
    )
    assert explained(model, n=5).max_error < 1.0


def test_the_background_is_at_most_a_hundred_rows_drawn_from_those_given() -> None:
    assert explain(fitted("ridge"), rows(), rows().iloc[:5]).n_background == 100
    assert explained(fitted("ridge")).n_background == 60


def test_a_forest_too_large_for_all_rows_uses_fewer_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explainers, "MOST_WORK", 100_000)
    found = explained(fitted("random_forest"))
    assert found.n_background == explainers.LEAST_BACKGROUND
    assert 1 <= len(found.values) < 25
    assert len(found.data) == len(found.values)


def test_a_model_without_a_fast_explainer_is_explained_on_as_many_rows_as_predictions_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(explained(fitted("neighbours"), n=12).values) == 12
    monkeypatch.setattr(explainers, "KERNEL_PREDICTIONS", 3 * 20 * (2 * len(FEATURES) + 256))
    found = explained(fitted("neighbours"), n=12)
    assert (len(found.values), found.n_background) == (3, 20)


@pytest.mark.parametrize("algorithm", TREES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_values_do_not_depend_on_how_many_rows_go_into_one_call(
    algorithm: str, problem: ProblemType, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = explained(fitted(algorithm, problem), n=7)
    monkeypatch.setattr(explainers, "CALL_WORK", 1)
    assert explained(fitted(algorithm, problem), n=7).values == pytest.approx(whole.values)


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_the_feature_that_counts_most_comes_first_and_noise_last(algorithm: str) -> None:
    order = ranked(explained(fitted(algorithm), n=80))
    assert order[0].feature == "strong"
    assert order[0].direction == 1
    assert [one.mean_abs for one in order] == sorted((one.mean_abs for one in order), reverse=True)
    if algorithm in TREES:
        assert order[-1].feature == "noise"


def test_mean_absolute_values_are_over_the_explained_rows() -> None:
    found = explained(fitted("xgboost"))
    by_name = {one.feature: one.mean_abs for one in ranked(found)}
    assert by_name["mild"] == pytest.approx(float(np.abs(found.values[:, 1]).mean()))


def test_columns_made_of_one_feature_are_added_together() -> None:
    found = dataclasses.replace(
        explained(fitted("xgboost")), columns=("region=north", "region=south", "age", "age__missing")
    )
    grouped = found.grouped(("age", "region"))
    assert grouped.columns == ("region", "age")
    assert grouped.values[:, 0].tolist() == (found.values[:, 0] + found.values[:, 1]).tolist()
    assert (grouped.base + grouped.values.sum(axis=1)).tolist() == pytest.approx(
        (found.base + found.values.sum(axis=1)).tolist()
    )
    assert np.isnan(grouped.data[:, 0]).all()
    assert grouped.data[:, 1].tolist() == found.data[:, 2].tolist()
    assert {one.feature: one.direction for one in ranked(grouped)}["region"] == 0


@pytest.mark.parametrize("algorithm", ["lightgbm", "xgboost", "random_forest"])
def test_values_next_to_a_threshold_go_the_way_they_go_in_the_model(algorithm: str) -> None:
    # Few distinct values, scaled: thresholds lie within a rounding of values, closer than float32 can tell.
    data, target = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    scaled = (data - data.mean()) / data.std()
    train = Labelled(scaled.iloc[:260], target.iloc[:260].astype("float64"))
    model = fit_model(algorithm, ProblemType.REGRESSION, {"n_estimators": 60}, train)
    assert explain(model, train.X, scaled.iloc[260:360]).max_error < 1e-3


def test_a_column_belongs_to_the_feature_with_the_longest_fitting_name() -> None:
    assert column_groups(("a=b=c", "a=b", "other"), ("a", "a=b")) == {"a=b": (0, 1), "other": (2,)}


def test_with_several_classes_no_direction_is_claimed() -> None:
    assert {one.direction for one in ranked(explained(fitted("xgboost", ProblemType.MULTICLASS)))} == {0}


def test_predictions_of_two_classes_are_those_of_class_one() -> None:
    frame = rows().iloc[:3]
    assert outputs(fitted("xgboost"), frame)[:, 0].tolist() == fitted("xgboost").scores(frame)[:, 1].tolist()
    assert as_prediction(np.array([[0.0]]), "log_odds").tolist() == [[0.5]]


def test_without_the_library_the_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    library.shap_library.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(library.importlib, "import_module", absent)
        with pytest.raises(ConfigError, match=r"e2i\[training\]"):
            library.shap_library()
