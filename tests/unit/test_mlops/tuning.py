"""What do tests of the search for hyperparameters stand on? Small rows, objectives of known shape, an optimizer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pandas as pd

from src.domain.modelling import ProblemType
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.results import HPOSummary, TrialRecord
from src.mlops.optuna_optimizer import OptunaOptimizer, run_hyperparameter_optimization

LINE = {"x": {"type": "float", "low": -10.0, "high": 10.0}}
C_ONLY = {"C": {"type": "float", "low": 0.001, "high": 10.0, "log": True}}
BOOSTED = {
    "n_estimators": {"type": "int", "low": 60, "high": 60},
    "learning_rate": {"type": "float", "low": 0.005, "high": 0.5, "log": True},
    "num_leaves": {"type": "int", "low": 2, "high": 16},
    "min_child_samples": {"type": "int", "low": 5, "high": 60},
}


def optimizer(**changes: Any) -> OptunaOptimizer:
    """An optimizer whose studies are gone with it, with ``changes`` over the shipped configuration."""
    url = changes.pop("storage_url", "memory")
    connector = changes.pop("connector", None)
    return OptunaOptimizer("tests", storage_url=url, mlflow_connector=connector, config=changes)


def two_classes(rows: int = 300, *, random_state: int = 0) -> tuple[Labelled, Labelled]:
    """Two thirds to train on, one third to judge by; six features, four of which say something."""
    from sklearn.datasets import make_classification

    X, y = make_classification(rows, 6, n_informative=4, flip_y=0.15, random_state=random_state)
    return halves(pd.DataFrame(X, columns=[f"f{i}" for i in range(6)]), pd.Series(y.astype(np.int64)))


def halves(X: pd.DataFrame, y: pd.Series[Any]) -> tuple[Labelled, Labelled]:
    """The first two thirds and the rest."""
    cut = len(X) * 2 // 3
    return Labelled(X.iloc[:cut], y.iloc[:cut]), Labelled(X.iloc[cut:], y.iloc[cut:])


async def tuned(
    rows: tuple[Labelled, Labelled], space: dict[str, Any] | None = None, **changes: Any
) -> tuple[HPOSummary, tuple[TrialRecord, ...]]:
    """A search on two classes: logistic regression over ``C``, unless ``changes`` say otherwise."""
    given: dict[str, Any] = {
        "experiment_id": "tests",
        "algorithm": "logistic_regression",
        "problem_type": ProblemType.BINARY,
        "search_space": C_ONLY if space is None else space,
        "n_trials": 5,
        "optimizer": changes.get("optimizer") or optimizer(),
    }
    return await run_hyperparameter_optimization(train=rows[0], validation=rows[1], **{**given, **changes})


def parabola(trial: optuna.Trial) -> float:
    """Best, 0, at x = 2."""
    return -((trial.suggest_float("x", -10.0, 10.0) - 2.0) ** 2)


def staircase(steps: int) -> Callable[[optuna.Trial], float]:
    """Every step of a trial is worth x: which trials are hopeless is plain from their first one."""

    def objective(trial: optuna.Trial) -> float:
        x, taken = trial.suggest_float("x", -10.0, 10.0), 0
        try:
            for step in range(1, steps + 1):
                taken = step
                trial.report(x * step, step)
                if step < steps and trial.should_prune():
                    raise optuna.TrialPruned
        finally:
            trial.set_user_attr("resource_used", taken)
        return x * steps

    return objective


def breaking(on: Callable[[int], bool], error: Exception | None = None) -> Callable[[optuna.Trial], float]:
    """The parabola, with trials that raise ``error``, or give NaN without one, where ``on`` their number is true."""

    def objective(trial: optuna.Trial) -> float:
        value = parabola(trial)
        if not on(trial.number):
            return value
        if error is not None:
            raise error
        return float("nan")

    return objective


def slow(seconds: float) -> Callable[[optuna.Trial], float]:
    """The parabola, taking its time."""

    def objective(trial: optuna.Trial) -> float:
        time.sleep(seconds)
        return parabola(trial)

    return objective
