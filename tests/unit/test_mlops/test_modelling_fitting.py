"""Is every family fitted as asked, watched round by round, stopped in time and the same each time?"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable, E2IError, EstimationError, UnknownColumn
from src.mlops.modelling.families import ALGORITHMS, class_path, get_model_class
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.imbalance import class_weights
from src.mlops.modelling.metrics import DEFAULT_METRICS, metric_value
from src.mlops.modelling.rounds import RoundWatch
from src.mlops.modelling.types import FittedModel, Labelled
from tests.unit.test_mlops.labelled_rows import COLUMNS, FAST, FITTED, rows, two_splits

BINARY, REGRESSION = ProblemType.BINARY, ProblemType.REGRESSION
BOOSTED = ("xgboost", "lightgbm")


def fitted(algorithm: str, problem_type: ProblemType = BINARY, **options: Any) -> FittedModel:
    train, validation = two_splits(problem_type)
    return fit_model(algorithm, problem_type, FAST[algorithm], train, validation=validation, **options)


def cut(model: FittedModel, rounds: int) -> FittedModel:
    """The model as it was after so many boosting rounds or trees, made by the libraries' own means."""
    import copy

    from lightgbm import Booster

    estimator = copy.deepcopy(model.estimator)
    if model.algorithm == "xgboost":
        estimator._Booster = estimator.get_booster()[:rounds]
    elif model.algorithm == "lightgbm":
        estimator._Booster = Booster(model_str=estimator.booster_.model_to_string(num_iteration=rounds))
    else:
        estimator.estimators_ = estimator.estimators_[:rounds]
    return replace(model, estimator=estimator)


@pytest.mark.parametrize(("algorithm", "problem_type"), FITTED)
def test_each_family_learns_each_problem_and_scores_in_one_shape(algorithm: str, problem_type: ProblemType) -> None:
    model, validation = fitted(algorithm, problem_type), two_splits(problem_type)[1]
    scores = model.scores(validation.X)
    least = {BINARY: 0.8, ProblemType.MULTICLASS: 0.55, REGRESSION: -9.5}[problem_type]
    assert metric_value(DEFAULT_METRICS[problem_type], problem_type, validation.y, scores) > least
    assert scores.dtype == np.float64
    if problem_type is REGRESSION:
        assert scores.shape == (len(validation.X),)
    else:
        assert scores.shape == (len(validation.X), model.n_classes)
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(("algorithm", "problem_type"), FITTED)
def test_the_same_arguments_give_the_same_model_bit_for_bit(algorithm: str, problem_type: ProblemType) -> None:
    X = rows(problem_type, 50, 9).X
    first, again = (fitted(algorithm, problem_type, early_stopping_rounds=5).scores(X) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("algorithm", ["random_forest", *BOOSTED])
def test_another_random_state_gives_another_model(algorithm: str) -> None:
    X = rows(BINARY, 50, 9).X
    assert (fitted(algorithm).scores(X) != fitted(algorithm, random_state=7).scores(X)).any()


@pytest.mark.parametrize(("algorithm", "problem_type"), FITTED)
def test_each_reported_value_is_the_metric_of_the_model_cut_at_that_round(
    algorithm: str, problem_type: ProblemType
) -> None:
    seen: list[tuple[int, float]] = []
    model = fitted(algorithm, problem_type, report=lambda number, value: seen.append((number, value)))
    validation = two_splits(problem_type)[1]

    def value(judged: FittedModel) -> float:
        return metric_value(DEFAULT_METRICS[problem_type], problem_type, validation.y, judged.scores(validation.X))

    per_report = 10 if algorithm == "random_forest" else 1
    reports = 1 if model.rounds is None else model.rounds // per_report
    assert [number for number, _ in seen] == list(range(reports))
    for number in sorted({0, reports // 2, reports - 1}):
        judged = model if model.rounds is None else cut(model, (number + 1) * per_report)
        assert seen[number][1] == pytest.approx(value(judged), abs=1e-9)


@pytest.mark.parametrize("algorithm", ["random_forest", *BOOSTED])
@pytest.mark.parametrize("problem_type", [BINARY, ProblemType.MULTICLASS, REGRESSION])
def test_watching_a_fit_does_not_change_the_model(algorithm: str, problem_type: ProblemType) -> None:
    X = rows(problem_type, 50, 9).X
    watched = fitted(algorithm, problem_type, report=lambda number, value: None)
    np.testing.assert_array_equal(watched.scores(X), fitted(algorithm, problem_type).scores(X))


@pytest.mark.parametrize("algorithm", BOOSTED)
@pytest.mark.parametrize("metric", ["brier_score", "log_loss"])
def test_early_stopping_ends_boosting_and_predicts_with_the_best_round(algorithm: str, metric: str) -> None:
    seen: list[float] = []
    train, validation = two_splits(BINARY)
    model = fit_model(
        algorithm,
        BINARY,
        {"n_estimators": 400, "learning_rate": 0.3},
        train,
        validation=validation,
        metric=metric,
        early_stopping_rounds=6,
        report=lambda number, value: seen.append(value),
    )
    best = int(np.argmin(seen))
    assert model.rounds == best + 1
    assert model.rounds_fitted == len(seen) == best + 1 + 6 < 400
    assert metric_value(metric, BINARY, validation.y, model.scores(validation.X)) == pytest.approx(seen[best], abs=1e-9)
    trees = model.estimator.get_booster().num_boosted_rounds() if algorithm == "xgboost" else None
    assert (trees or model.estimator.booster_.num_trees()) == model.rounds


@pytest.mark.parametrize("algorithm", BOOSTED)
@pytest.mark.parametrize("metric", ["roc_auc", "pr_auc", "recall_at_k", "ece"])
def test_a_metric_that_does_not_see_each_probability_leaves_the_log_loss_to_say_when_to_stop(
    algorithm: str, metric: str
) -> None:
    told: dict[str, list[float]] = {metric: [], "log_loss": []}
    train, validation = two_splits(BINARY)
    judged, by_log_loss = (
        fit_model(
            algorithm,
            BINARY,
            {"n_estimators": 400, "learning_rate": 0.3},
            train,
            validation=validation,
            metric=name,
            early_stopping_rounds=6,
            report=lambda number, value, seen=seen: seen.append(value),  # type: ignore[misc]
        )
        for name, seen in told.items()
    )
    assert judged.rounds == by_log_loss.rounds == int(np.argmin(told["log_loss"])) + 1
    value = metric_value(metric, BINARY, validation.y, judged.scores(validation.X))
    assert value == pytest.approx(told[metric][judged.rounds - 1], abs=1e-9)


def test_a_forest_stops_growing_early_and_keeps_every_tree_it_grew() -> None:
    train, validation = two_splits(BINARY)
    params = {"n_estimators": 1000, "min_samples_leaf": 20}
    model = fit_model("random_forest", BINARY, params, train, validation=validation, early_stopping_rounds=2)
    assert model.rounds == model.rounds_fitted == len(model.estimator.estimators_) < 1000


class Pruned(Exception):
    """What a search raises to end a trial."""


@pytest.mark.parametrize("algorithm", list(FAST))
def test_what_a_report_raises_ends_the_training_and_leaves_unchanged(algorithm: str) -> None:
    seen = []

    def report(number: int, value: float) -> None:
        seen.append(number)
        if number == (0 if algorithm in ("logistic_regression", "ridge", "lasso") else 2):
            raise Pruned

    with pytest.raises(Pruned):
        fitted(algorithm, report=report)
    assert len(seen) <= 3


@pytest.mark.parametrize("algorithm", ["logistic_regression", "random_forest", *BOOSTED])
def test_balanced_classes_raise_the_probability_of_the_rare_one(algorithm: str) -> None:
    rare = rows(BINARY, 300)
    rare = Labelled(rare.X, (rare.X[COLUMNS[0]] + 0.6 * rare.X["noise"] > 1.9).astype("int64"))
    params = {} if algorithm == "logistic_regression" else {"n_estimators": 8}
    plain, weighted = (fit_model(algorithm, BINARY, params, rare, balanced=flag) for flag in (False, True))
    assert weighted.balanced
    assert not plain.balanced
    assert weighted.scores(rare.X)[:, 1].mean() > plain.scores(rare.X)[:, 1].mean() + 0.02


def test_class_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    codes = np.repeat([0, 1, 2], [50, 7, 3])
    np.testing.assert_allclose(class_weights(codes), compute_sample_weight("balanced", codes))


def test_balancing_equals_scale_pos_weight_up_to_the_scale_of_the_loss() -> None:
    train = rows(BINARY, 200)
    odds = float((train.y == 0).sum() / (train.y == 1).sum())
    # Without terms that depend on the scale of the loss both are the same problem.
    free = {"n_estimators": 10, "reg_lambda": 0.0, "min_child_weight": 0.0, "subsample": 1.0, "colsample_bytree": 1.0}
    free |= {"base_score": 0.5, "max_depth": 2}
    weighted = fit_model("xgboost", BINARY, free, train, balanced=True).scores(train.X)
    scaled = fit_model("xgboost", BINARY, free | {"scale_pos_weight": odds}, train).scores(train.X)
    np.testing.assert_allclose(weighted, scaled, atol=1e-3)


@pytest.mark.parametrize("algorithm", ["logistic_regression", "ridge", "lasso"])
def test_linear_models_do_not_depend_on_the_units_of_a_column(algorithm: str) -> None:
    train, validation = two_splits(BINARY)
    scale = pd.Series([1000.0, 0.001, 5.0, 1.0], index=list(COLUMNS))
    in_other_units = fit_model(algorithm, BINARY, {}, Labelled(train.X * scale + 50, train.y))
    expected = fit_model(algorithm, BINARY, {}, train).scores(validation.X)
    np.testing.assert_allclose(in_other_units.scores(validation.X * scale + 50), expected, atol=1e-3)


@pytest.mark.parametrize("problem_type", [BINARY, ProblemType.MULTICLASS])
def test_logistic_regression_equals_scikit_learn_on_standardised_columns(problem_type: ProblemType) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, validation = two_splits(problem_type)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=0.3)).fit(train.X.to_numpy(), train.y)
    scores = fit_model("logistic_regression", problem_type, {"C": 0.3}, train).scores(validation.X)
    np.testing.assert_allclose(scores, oracle.predict_proba(validation.X.to_numpy()), atol=1e-4)


@pytest.mark.parametrize(("algorithm", "alpha"), [("ridge", 30.0), ("lasso", 0.1)])
def test_alpha_weighs_the_penalty_of_numbers_on_standardised_columns(algorithm: str, alpha: float) -> None:
    from sklearn.linear_model import Lasso, Ridge

    train, validation = two_splits(REGRESSION)
    mean, sd, centre, spread = train.X.mean(), train.X.std(ddof=0), train.y.mean(), train.y.std(ddof=0)
    estimator = {"ridge": Ridge, "lasso": Lasso}[algorithm](alpha)
    estimator.fit(((train.X - mean) / sd).to_numpy(), (train.y - centre) / spread)
    expected = centre + spread * estimator.predict(((validation.X - mean) / sd).to_numpy())
    scores = fit_model(algorithm, REGRESSION, {"alpha": alpha}, train).scores(validation.X)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_lasso_of_classes_leaves_columns_out_and_ridge_only_shrinks_them() -> None:
    train = rows(BINARY)
    lasso, ridge = (fit_model(name, BINARY, {"alpha": 0.1}, train).estimator.coef_ for name in ("lasso", "ridge"))
    assert (lasso == 0).sum() >= 2
    assert (ridge != 0).all()
    strict = fit_model("ridge", BINARY, {"alpha": 1000.0}, train).estimator.coef_
    assert np.abs(strict).sum() < 0.2 * np.abs(ridge).sum()


def test_a_solver_that_stops_early_is_noted() -> None:
    model = fit_model("logistic_regression", BINARY, {"max_iter": 1}, rows(BINARY))
    assert "before it converged" in model.notes[0]
    assert fitted("logistic_regression").notes == ()


def test_subsampling_of_lightgbm_takes_effect() -> None:
    train = rows(BINARY)
    whole, part = (
        fit_model("lightgbm", BINARY, {"n_estimators": 10, "subsample": share, "colsample_bytree": 1.0}, train)
        for share in (1.0, 0.5)
    )
    assert (whole.scores(train.X) != part.scores(train.X)).any()


def test_scores_follow_the_names_of_columns_not_their_order() -> None:
    model, X = fitted("xgboost"), rows(BINARY, 20, 3).X
    np.testing.assert_array_equal(model.scores(X[list(reversed(COLUMNS))].assign(other=1.0)), model.scores(X))
    assert model.scores(X.head(0)).shape == (0, 2)
    with pytest.raises(UnknownColumn, match="noise"):
        model.scores(X.drop(columns="noise"))


@pytest.mark.parametrize("algorithm", ["linear_dml", "causal_forest"])
def test_effects_are_refused_with_the_command_that_estimates_them(algorithm: str) -> None:
    with pytest.raises(EstimationError, match="e2i effect"):
        fit_model(algorithm, ProblemType.EFFECT, {}, rows(BINARY))


@pytest.mark.parametrize(
    ("algorithm", "problem_type", "params", "said"),
    [
        ("xgbost", BINARY, {}, "did you mean 'xgboost'"),
        ("xgboost", BINARY, {"max_dept": 3}, "did you mean 'max_depth'"),
        ("random_forest", BINARY, {"n_jobs": 4}, "set by the fit itself"),
        ("xgboost", BINARY, {"booster": "gblinear"}, "set by the fit itself"),
        ("lightgbm", BINARY, {"num_leavs": 3}, "did you mean 'num_leaves'"),
        ("lasso", BINARY, {"C": 3}, "none of its parameters"),
        ("logistic_regression", REGRESSION, {}, "ridge, lasso, random_forest"),
        ("linear_dml", BINARY, {}, "not made for binary"),
        ("xgboost", ProblemType.EFFECT, {}, "linear_dml, causal_forest"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest_ones(
    algorithm: str, problem_type: ProblemType, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(ContractViolation, match=said):
        fit_model(algorithm, problem_type, params, rows(BINARY))


def spoiled(**changes: Any) -> Labelled:
    given = rows(BINARY)
    return Labelled(changes.get("X", given.X), changes.get("y", given.y))


@pytest.mark.parametrize(
    ("train", "error", "said"),
    [
        (spoiled(y=rows(BINARY).y * 0), DataUnavailable, "1 different values"),
        (spoiled(y=rows(BINARY).y * 2), ContractViolation, "codes 0"),
        (spoiled(y=rows(ProblemType.MULTICLASS).y), ContractViolation, "ask for multiclass"),
        (spoiled(y=rows(REGRESSION).y), ContractViolation, "codes 0"),
        (spoiled(y=rows(BINARY).y.head(9)), ContractViolation, "as many"),
        (spoiled(X=rows(BINARY).X.assign(noise=np.nan)), ContractViolation, "'noise' has empty"),
        (spoiled(X=rows(BINARY).X[[]]), ContractViolation, "no column"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused_in_words(train: Labelled, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        fit_model("xgboost", BINARY, {}, train)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"early_stopping_rounds": 3, "validation": None}, "need validation rows"),
        ({"report": print, "validation": None}, "need validation rows"),
        ({"early_stopping_rounds": 0}, "1 or more"),
        ({"metric": "rmse", "report": print}, "no metric 'rmse'"),
        ({"balanced": True, "params": {"scale_pos_weight": 3.0}}, "a second time"),
        ({"report": print, "validation": rows(ProblemType.MULTICLASS)}, "has no training row"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], said: str) -> None:
    train, validation = two_splits(BINARY)
    given = {"params": {}, "validation": validation} | options
    with pytest.raises(ContractViolation, match=said):
        fit_model("xgboost", BINARY, given.pop("params"), train, **given)


def test_numbers_cannot_be_balanced() -> None:
    with pytest.raises(ContractViolation, match="leave balanced out"):
        fit_model("ridge", REGRESSION, {}, rows(REGRESSION), balanced=True)


def test_a_validation_split_with_one_class_says_why_nothing_can_be_judged() -> None:
    train, validation = two_splits(BINARY)
    one = Labelled(validation.X, validation.y * 0)
    with pytest.raises(DataUnavailable, match="roc_auc is not defined"):
        fit_model("xgboost", BINARY, {}, train, validation=one, report=lambda number, value: None)


@pytest.mark.parametrize(
    ("metrics", "patience", "told", "ends_after", "used"),
    [
        # Nothing is predicted as the rare class in the first two rounds: no precision.
        ([None, None, 0.5, 0.6, 0.6, 0.6], 2, {2: 0.5, 3: 0.6, 4: 0.6, 5: 0.6}, 6, 4),
        ([0.6, None, 0.5, None, 0.5], 2, {0: 0.6, 2: 0.5, 4: 0.5}, 5, 1),
        ([0.6, None, None, None], 2, {0: 0.6}, None, 1),
        ([0.6, None], None, {0: 0.6}, None, 2),
    ],
)
def test_a_round_that_cannot_be_judged_is_neither_told_nor_counted(
    metrics: list[float | None], patience: int | None, told: dict[int, float], ends_after: int | None, used: int
) -> None:
    heard: dict[int, float] = {}
    judged = Labelled(pd.DataFrame({"a": np.arange(20.0)}), pd.Series([1] * 10 + [0] * 10))
    watch = RoundWatch(BINARY, "precision", judged, judged.X.to_numpy(), heard.__setitem__, patience)
    ended = [watch.saw(_scores_of_precision(value)) for value in metrics]
    assert heard == pytest.approx(told)
    assert [number + 1 for number, over in enumerate(ended) if over] == ([] if ends_after is None else [ends_after])
    assert watch.used == used
    watch.refuse_if_never_judged()


def _scores_of_precision(value: float | None) -> np.ndarray[Any, Any]:
    """Ten of the rows, or none, predicted as positive: so many of them are (the first ten are)."""
    right = 0 if value is None else round(10 * value)
    positive = [0.9] * right + [0.1] * (10 - right) + [0.9] * (0 if value is None else 10 - right)
    positive += [0.1] * (20 - len(positive))
    return np.column_stack([1 - np.array(positive), positive])


@pytest.mark.parametrize("algorithm", list(FAST))
def test_the_catalogue_names_classes_that_exist(algorithm: str) -> None:
    for problem_type in ALGORITHMS[algorithm].problem_types:
        found = get_model_class(algorithm, problem_type)
        assert class_path(algorithm, problem_type).endswith(found.__name__)


@pytest.mark.parametrize("algorithm", ["linear_dml", "causal_forest"])
def test_effect_models_are_classes_of_econml(algorithm: str) -> None:
    module, _, name = class_path(algorithm, ProblemType.EFFECT).rpartition(".")
    # Read, not imported: that takes seconds.
    package = importlib.util.find_spec(module.partition(".")[0])
    assert package is not None
    source = Path(str(package.origin)).parent / module.partition(".")[2] / "__init__.py"
    assert name in source.read_text("utf-8")


def test_every_error_of_a_fit_is_one_of_ours() -> None:
    with pytest.raises(E2IError):
        fit_model("nothing", BINARY, {}, rows(BINARY))


@pytest.mark.parametrize("algorithm", ["lightgbm", "xgboost"])
def test_labels_that_are_right_after_one_round_do_not_end_the_training(algorithm: str) -> None:
    X, y = load_wine(return_X_y=True, as_frame=True)
    chosen = np.random.default_rng(1).permutation(len(y))
    train, validation = (
        Labelled(X.iloc[part].reset_index(drop=True), y.iloc[part].reset_index(drop=True))
        for part in (chosen[:100], chosen[100:])
    )
    model = fit_model(
        algorithm,
        ProblemType.MULTICLASS,
        {},
        train,
        validation=validation,
        metric="f1_weighted",
        early_stopping_rounds=20,
    )
    assert metric_value("log_loss", ProblemType.MULTICLASS, validation.y, model.scores(validation.X)) < 0.2
