"""Small tables whose target follows from their columns, for every kind of problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from src.domain.modelling import ProblemType
from src.mlops.modelling.types import Labelled

# Signs in names that XGBoost and LightGBM refuse, as values of one-hot columns may hold them.
COLUMNS = ("age=<18", "dose[mg]", 'note="x,y"', "noise")
ALGORITHMS = ("logistic_regression", "ridge", "lasso", "random_forest", "xgboost", "lightgbm")
FAST: dict[str, dict[str, Any]] = {
    "logistic_regression": {},
    "ridge": {},
    "lasso": {},
    "random_forest": {"n_estimators": 40},
    "xgboost": {"n_estimators": 40, "learning_rate": 0.2},
    "lightgbm": {"n_estimators": 40, "learning_rate": 0.2},
}
FITTED = [
    (algorithm, problem_type)
    for problem_type in (ProblemType.BINARY, ProblemType.MULTICLASS, ProblemType.REGRESSION)
    for algorithm in ALGORITHMS
    if (algorithm, problem_type) != ("logistic_regression", ProblemType.REGRESSION)
]


def rows(problem_type: ProblemType, n: int = 200, random_state: int = 0) -> Labelled:
    """Rows of one split; the target depends on the first two columns and on chance."""
    rng = np.random.default_rng(random_state)
    X = pd.DataFrame(rng.normal(size=(n, len(COLUMNS))), columns=list(COLUMNS))
    signal = X[COLUMNS[0]] + 0.5 * X[COLUMNS[1]] + 0.6 * rng.normal(size=n)
    if problem_type is ProblemType.REGRESSION:
        return Labelled(X, 40.0 + 10 * signal)
    cuts = [0.3] if problem_type is ProblemType.BINARY else [-0.6, 0.6]
    return Labelled(X, pd.Series(np.digitize(signal, cuts), index=X.index, dtype="int64"))


def two_splits(problem_type: ProblemType) -> tuple[Labelled, Labelled]:
    """Training and validation rows."""
    return rows(problem_type, 200, 0), rows(problem_type, 120, 1)


def scored(n: int = 400, random_state: int = 0, *, decimals: int | None = None) -> tuple[Any, Any]:
    """Classes 0 and 1 and probabilities by class that know something about them but are too sure of it."""
    rng = np.random.default_rng(random_state)
    log_odds = rng.normal(-0.5, 1.5, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    p = 1 / (1 + np.exp(-(0.4 + 1.6 * log_odds)))
    if decimals is not None:
        p = np.clip(p.round(decimals), 0.01, 0.99)
    return y, np.column_stack([1 - p, p])
