"""Real models of every family on small data whose truth is known."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

from src.domain.modelling import ProblemType
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.types import FittedModel, Labelled

FEATURES = ("strong", "mild", "partner", "noise")
FAMILIES = ("logistic_regression", "ridge", "lasso", "random_forest", "xgboost", "lightgbm")
TREES = ("random_forest", "xgboost", "lightgbm")
FEW = {name: {"n_estimators": 15} for name in TREES}
N = 300


@functools.cache
def rows() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(7).normal(size=(N, len(FEATURES))), columns=list(FEATURES))


def target(problem: ProblemType) -> pd.Series[Any]:
    """``strong`` counts most; ``mild`` counts only together with ``partner``; ``noise`` counts nothing."""
    frame = rows()
    score = 2 * frame["strong"] + 1.5 * frame["mild"] * frame["partner"]
    if problem is ProblemType.REGRESSION:
        return 5_000 + 1_000 * score
    if problem is ProblemType.MULTICLASS:
        return pd.Series(np.digitize(score, [-1.0, 1.0]), name="target")
    return (score > 0.3).astype("int64")


def labelled(problem: ProblemType, start: int = 0, end: int = N) -> Labelled:
    return Labelled(rows().iloc[start:end], target(problem).iloc[start:end])


@functools.cache
def fitted(algorithm: str, problem: ProblemType = ProblemType.BINARY) -> FittedModel:
    """``neighbours``: a family that no fast explainer knows."""
    if algorithm == "neighbours":
        return _neighbours(problem)
    if algorithm == "logistic_regression" and problem is ProblemType.REGRESSION:
        algorithm = "ridge"
    return fit_model(algorithm, problem, FEW.get(algorithm, {}), labelled(problem))


def _neighbours(problem: ProblemType) -> FittedModel:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    number, y = problem is ProblemType.REGRESSION, target(problem)
    estimator = (KNeighborsRegressor if number else KNeighborsClassifier)(15, n_jobs=1)
    estimator.fit(rows().to_numpy(), y.to_numpy())
    return FittedModel("neighbours", problem, estimator, FEATURES, 1 if number else int(y.max()) + 1)
