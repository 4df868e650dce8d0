"""Which algorithms are there, for which problems, with which parameters?"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, nearest_names

_CLASSES = (ProblemType.BINARY, ProblemType.MULTICLASS)
_LOGISTIC = "sklearn.linear_model.LogisticRegression"
# Set by the fit itself: a search that changed them would compare what cannot be compared.
_FIXED = frozenset(
    {
        *("n_jobs", "random_state", "verbose", "verbosity", "warm_start", "callbacks", "objective", "eval_metric"),
        *("early_stopping_rounds", "missing", "enable_categorical", "num_class", "solver", "penalty", "multi_class"),
        *("device", "feature_types", "interaction_constraints", "oob_score", "copy_X", "precompute", "positive"),
        *("booster",),
    }
)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One entry of the catalogue; ``family``: linear, forest, boosting or causal.

    ``class_paths``: what is fitted, by problem. ``only``: the parameters it takes where they are fewer than the
    class has. ``defaults``: those used where nothing else is asked for.
    """

    name: str
    family: str
    class_paths: Mapping[ProblemType, str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    only: frozenset[str] | None = None

    @property
    def problem_types(self) -> tuple[ProblemType, ...]:
        """The problems it can be used for."""
        return tuple(self.class_paths)


def _classes_and_numbers(classifier: str, regressor: str) -> dict[ProblemType, str]:
    return {**dict.fromkeys(_CLASSES, classifier), ProblemType.REGRESSION: regressor}


_ALL = (
    Algorithm(
        "logistic_regression",
        "linear",
        dict.fromkeys(_CLASSES, _LOGISTIC),
        {"C": 1.0, "max_iter": 2000},
        frozenset({"C", "l1_ratio", "max_iter", "tol"}),
    ),
    # For classes these are logistic regressions whose ``alpha`` weighs the same penalty; see ``linear``.
    Algorithm(
        "ridge",
        "linear",
        _classes_and_numbers(_LOGISTIC, "sklearn.linear_model.Ridge"),
        {"alpha": 1.0},
        frozenset({"alpha", "max_iter", "tol"}),
    ),
    Algorithm(
        "lasso",
        "linear",
        _classes_and_numbers(_LOGISTIC, "sklearn.linear_model.Lasso"),
        {"alpha": 0.01, "max_iter": 5000},
        frozenset({"alpha", "max_iter", "tol"}),
    ),
    Algorithm(
        "random_forest",
        "forest",
        _classes_and_numbers("sklearn.ensemble.RandomForestClassifier", "sklearn.ensemble.RandomForestRegressor"),
        {"n_estimators": 300, "min_samples_leaf": 3},
    ),
    Algorithm(
        "xgboost",
        "boosting",
        _classes_and_numbers("xgboost.XGBClassifier", "xgboost.XGBRegressor"),
        {"n_estimators": 300, "learning_rate": 0.05, "max_depth": 4, "subsample": 0.8, "colsample_bytree": 0.8},
    ),
    Algorithm(
        "lightgbm",
        "boosting",
        _classes_and_numbers("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor"),
        {"n_estimators": 300, "learning_rate": 0.05, "num_leaves": 15, "subsample": 0.8, "colsample_bytree": 0.8},
    ),
    Algorithm("linear_dml", "causal", {ProblemType.EFFECT: "econml.dml.LinearDML"}),
    Algorithm("causal_forest", "causal", {ProblemType.EFFECT: "econml.dml.CausalForestDML"}),
)
ALGORITHMS: Mapping[str, Algorithm] = {algorithm.name: algorithm for algorithm in _ALL}


def algorithm_named(name: str) -> Algorithm:
    """The entry of that name. Raises ContractViolation with the nearest names."""
    if name not in ALGORITHMS:
        raise ContractViolation(f"there is no algorithm '{name}'; {nearest_names(name, ALGORITHMS)}")
    return ALGORITHMS[name]


def algorithms_for(problem_type: ProblemType) -> tuple[str, ...]:
    """Names of the algorithms that a problem can be given to."""
    return tuple(name for name, algorithm in ALGORITHMS.items() if problem_type in algorithm.class_paths)


def class_path(algorithm: str, problem_type: ProblemType) -> str:
    """Where the class is imported from. Raises ContractViolation for a problem it is not made for."""
    paths = algorithm_named(algorithm).class_paths
    if problem_type not in paths:
        instead = ", ".join(algorithms_for(problem_type))
        raise ContractViolation(f"{algorithm} is not made for {problem_type} problems; there is: {instead}")
    return paths[problem_type]


def get_model_class(algorithm: str, problem_type: ProblemType) -> type[Any]:
    """The class that is fitted. Raises ContractViolation for an unknown algorithm or one not made for the problem."""
    module, _, name = class_path(algorithm, problem_type).rpartition(".")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def default_params(algorithm: str) -> dict[str, Any]:
    """The parameters used where nothing else is asked for."""
    return dict(algorithm_named(algorithm).defaults)


def checked_params(algorithm: str, problem_type: ProblemType, params: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults with ``params`` over them. Raises ContractViolation for a name that the algorithm does not have."""
    taken = parameter_names(algorithm, problem_type)
    for name in params:
        if name not in taken:
            why = "is set by the fit itself" if name in _FIXED else "is none of its parameters"
            raise ContractViolation(f"{algorithm}: '{name}' {why}; {nearest_names(name, sorted(taken))}")
    return default_params(algorithm) | dict(params)


def parameter_names(algorithm: str, problem_type: ProblemType) -> frozenset[str]:
    """Names that may be given to a fit."""
    only = algorithm_named(algorithm).only
    if only is not None:
        class_path(algorithm, problem_type)
        return only
    return frozenset(get_model_class(algorithm, problem_type)().get_params()) - _FIXED
