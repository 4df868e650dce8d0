"""Do objectives train as they should: watched, one thread, the same units for all, the final model judged?"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

from src.domain.modelling import ProblemType
from src.errors import HPOError
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.metrics import metric_value
from src.mlops.modelling.types import Labelled
from src.mlops.optuna import objectives
from src.mlops.optuna.objectives import NotFinite, Reports, ended_by, fitting_of, worth_reporting
from src.mlops.optuna.summary import PATTERN
from src.mlops.optuna_optimizer import OptunaOptimizer
from tests.unit.test_mlops.tuning import C_ONLY, halves, optimizer, two_classes

FIXED = {"learning_rate": 0.1, "num_leaves": 4, "min_child_samples": 5}


def study(pruner: Any = None) -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=pruner or optuna.pruners.NopPruner())


class Always(optuna.pruners.BasePruner):
    """Prunes whatever it is asked about."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


def boosted(rows: tuple[Labelled, Labelled], rounds: int, **options: Any) -> Any:
    return OptunaOptimizer.create_validation_objective(
        *("lightgbm", ProblemType.BINARY, {}),
        *rows,
        metric="roc_auc",
        fixed_params={**FIXED, "n_estimators": rounds},
        **options,
    )


def test_the_value_is_that_of_the_model_that_a_training_gives() -> None:
    rows = two_classes()
    made = study()
    made.optimize(boosted(rows, 300, early_stopping_rounds=5), n_trials=1)
    model = fit_model(
        *("lightgbm", ProblemType.BINARY, {**FIXED, "n_estimators": 300}, rows[0]),
        validation=rows[1],
        metric="roc_auc",
        early_stopping_rounds=5,
    )
    expected = metric_value("roc_auc", ProblemType.BINARY, rows[1].y, model.scores(rows[1].X))
    assert made.best_value == expected
    assert made.best_trial.user_attrs["resource_used"] == model.rounds_fitted
    assert model.rounds_fitted is not None
    assert model.rounds_fitted < 300


@pytest.mark.parametrize(
    ("rounds", "most", "every", "steps"),
    [(40, 100, 1, [1, 3, 9, 10, 20, 27, 30, 40]), (60, 20, 3, [1, 3, 9, 10, 20]), (7, 3, 3, [1])],
)
def test_rounds_are_grouped_into_steps(rounds: int, most: int, every: int, steps: list[int]) -> None:
    rows = two_classes()
    objective = boosted(rows, rounds, early_stopping_rounds=None, max_reports=most)
    made = study()
    made.optimize(objective, n_trials=1)
    assert objective.fitting.every == every
    assert sorted(made.best_trial.intermediate_values) == steps
    assert made.best_trial.user_attrs["resource_used"] == rounds


def test_a_step_is_the_same_number_of_rounds_in_every_trial() -> None:
    space = {"n_estimators": {"type": "int", "low": 10, "high": 400}}
    fitting = fitting_of("xgboost", ProblemType.BINARY, space, "roc_auc")
    assert fitting.every == 4
    assert fitting.rounds_of({"n_estimators": 10}) == 10


def test_halving_pruners_find_a_report_at_each_of_their_rungs() -> None:
    assert [step for step in range(1, 101) if worth_reporting(step)] == [
        *(1, 3, 9, 10, 20, 27, 30, 40, 50, 60, 70, 80, 81, 90, 100)
    ]


@pytest.mark.parametrize(
    ("algorithm", "params", "used"),
    [
        ("lightgbm", {**FIXED, "n_estimators": 30}, 1),
        ("xgboost", {"n_estimators": 30}, 1),
        ("random_forest", {"n_estimators": 30}, 1),
        ("logistic_regression", {}, 1),
    ],
)
def test_pruning_ends_the_training_itself(algorithm: str, params: dict[str, Any], used: int) -> None:
    """What is fitted in one go is not pruned: its value would be lost and nothing be saved."""
    rows = two_classes(150)
    objective = OptunaOptimizer.create_validation_objective(
        algorithm, ProblemType.BINARY, {}, *rows, metric="roc_auc", fixed_params=params
    )
    made = study(Always())
    made.optimize(objective, n_trials=1)
    linear = algorithm == "logistic_regression"
    assert made.trials[0].state.name == ("COMPLETE" if linear else "PRUNED")
    assert made.trials[0].user_attrs["resource_used"] == used


def test_the_last_round_is_not_pruned() -> None:
    trial = study(Always()).ask()
    reports = Reports(trial, planned=1)
    reports(0, 0.5)
    with pytest.raises(optuna.TrialPruned):
        reports(1, 0.5)


@pytest.mark.parametrize(
    ("algorithm", "params"),
    [
        ("lightgbm", {**FIXED, "n_estimators": 30}),
        ("xgboost", {"n_estimators": 30}),
        ("random_forest", {"n_estimators": 300}),
    ],
)
@pytest.mark.parametrize("marks", [{}, {PATTERN: "p"}], ids=["a trial", "a warm start"])
def test_when_the_search_is_over_the_training_breaks_off(
    algorithm: str, params: dict[str, Any], marks: dict[str, str]
) -> None:
    asked: list[int] = []

    def over() -> bool:
        asked.append(1)
        return len(asked) == 4

    objective = OptunaOptimizer.create_validation_objective(
        algorithm, ProblemType.BINARY, {}, *two_classes(150), metric="roc_auc", fixed_params=params
    )
    made = study()
    made.enqueue_trial({}, user_attrs=marks)
    made.optimize(ended_by(objective, over), n_trials=1)
    assert made.trials[0].state.name == "PRUNED"
    assert made.trials[0].user_attrs["resource_used"] == 4


def test_cross_validation_breaks_off_between_two_folds() -> None:
    objective = OptunaOptimizer.create_cv_objective(
        "ridge", ProblemType.REGRESSION, {}, regression(), metric="r2", folds=4
    )
    made, asked = study(), iter([False, True])
    made.optimize(ended_by(objective, lambda: next(asked)), n_trials=1)
    assert (made.trials[0].state.name, made.trials[0].user_attrs["resource_used"]) == ("PRUNED", 2)


async def test_a_search_ends_with_its_time_and_says_so() -> None:
    tuner = optimizer()
    objective = boosted(two_classes(150), 1_000_000, early_stopping_rounds=None)
    made = await tuner.create_study()
    with pytest.raises(HPOError, match="no trial .* was completed: 1 were pruned; the time was up"):
        await tuner.optimize(made, objective, n_trials=3, timeout=0.2)
    assert made.user_attrs["stopped_because"] == "timeout"
    assert 1_000_000 > made.trials[0].user_attrs["resource_used"] > 0


async def test_a_cancelled_search_does_not_wait_for_the_last_round() -> None:
    tuner, rows, begun = optimizer(), two_classes(150), asyncio.Event()
    loop = asyncio.get_running_loop()
    objective = boosted(rows, 1_000_000, early_stopping_rounds=None)
    made = await tuner.create_study()

    def watched(*args: Any, **options: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        return fit_model(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "fit_model", watched)
        search = asyncio.create_task(tuner.optimize(made, objective, n_trials=3))
        await begun.wait()
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
    assert [trial.state.name for trial in made.trials] == ["PRUNED"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_fails_the_trial(value: float) -> None:
    with pytest.raises(NotFinite, match=f"became {value} in round 3"):
        Reports(study().ask())(2, value)


def test_trials_train_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def watched(*args: Any, **options: Any) -> Any:
        seen.append((options["n_jobs"], {pool["num_threads"] for pool in threadpool_info()}))
        return fit_model(*args, **options)

    monkeypatch.setattr(objectives, "fit_model", watched)
    study().optimize(boosted(two_classes(150), 5), n_trials=1)
    assert seen == [(1, {1})]


def regression(rows: int = 120) -> Labelled:
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.standard_normal((rows, 3)), columns=list("abc"))
    return Labelled(X, X["a"] + 0.1 * pd.Series(rng.standard_normal(rows)))


def three_classes() -> Labelled:
    rng = np.random.default_rng(5)
    X = pd.DataFrame(rng.standard_normal((150, 3)), columns=list("abc"))
    return Labelled(X, pd.Series(np.digitize(X["a"] + 0.3 * rng.standard_normal(150), [-0.5, 0.5])))


@pytest.mark.parametrize(
    ("problem", "data", "metric"),
    [
        (ProblemType.REGRESSION, regression(), "neg_rmse"),
        (ProblemType.MULTICLASS, three_classes(), "roc_auc"),
        (ProblemType.BINARY, two_classes(150)[0], "roc_auc"),
    ],
    ids=["regression", "multiclass", "binary"],
)
def test_cross_validation_is_the_mean_over_folds_that_cover_every_row_once(
    problem: ProblemType, data: Labelled, metric: str
) -> None:
    objective = OptunaOptimizer.create_cv_objective("ridge", problem, {}, data, metric=metric, folds=3)
    parts = list(objective._split())
    judged = [index for _, validation in parts for index in validation.X.index]
    assert sorted(judged) == sorted(data.X.index)
    assert all(set(train.X.index).isdisjoint(validation.X.index) for train, validation in parts)
    made = study()
    made.optimize(objective, n_trials=1)
    values = [objective.fitting.value({}, train, validation) for train, validation in parts]
    assert made.best_value == pytest.approx(np.mean(values))
    assert made.best_trial.intermediate_values == pytest.approx({i + 1: np.mean(values[: i + 1]) for i in range(3)})


@pytest.mark.parametrize(
    ("rare", "folds", "problem"),
    [(2, 5, "2 rows of the smallest class cannot be spread over 5 folds"), (50, 1, "at least 2 folds, not 1")],
)
def test_folds_that_cannot_be_made_are_refused(rare: int, folds: int, problem: str) -> None:
    data = Labelled(pd.DataFrame({"a": np.arange(100.0)}), pd.Series(np.arange(100) < rare).astype(int))
    with pytest.raises(HPOError, match=problem):
        OptunaOptimizer.create_cv_objective("ridge", ProblemType.BINARY, C_ONLY, data, metric="roc_auc", folds=folds)


async def test_rare_classes_are_weighed_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.test_mlops.tuning import tuned

    seen = []

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(options["balanced"])
        return fit_model(*args, **options)

    monkeypatch.setattr(objectives, "fit_model", watched)
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.standard_normal(300)})
    rows = halves(X, pd.Series((X["a"] + rng.standard_normal(300) > 1.8).astype(np.int64)))
    summary, _ = await tuned(rows, n_trials=2, balanced=True, optimizer=optimizer())
    assert seen == [True, True]
    assert summary.completed
