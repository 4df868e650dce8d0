"""How are linear models fitted, so that a penalty means the same whatever the units of a column?

Columns (and a numeric target) are standardised for the fit, as in glmnet (Friedman, Hastie and Tibshirani 2010,
section 2), and the coefficients are carried back: the estimator takes columns as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.mlops.modelling.families import get_model_class

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def fit_linear(
    algorithm: str,
    problem_type: ProblemType,
    params: Mapping[str, Any],
    rows: Floats,
    y: Floats,
    weights: Floats | None,
    random_state: int,
) -> tuple[Any, tuple[str, ...]]:
    """The fitted estimator in the columns' own units, and a note when the solver stopped before it converged."""
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning

    estimator = get_model_class(algorithm, problem_type)(**_options(algorithm, problem_type, params, len(y)))
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=random_state)
    mean, scale = rows.mean(axis=0), _scale(rows)
    centre, spread = 0.0, 1.0
    target = y
    if problem_type is ProblemType.REGRESSION:
        centre, spread = float(y.mean()), float(y.std())
        target = (y - centre) / spread
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit((rows - mean) / scale, target, sample_weight=weights)
    notes = _notes(caught, algorithm)
    estimator.coef_ = estimator.coef_ * (spread / scale)
    estimator.intercept_ = estimator.intercept_ * spread + centre - np.dot(estimator.coef_, mean)
    return estimator, notes


def _options(algorithm: str, problem_type: ProblemType, params: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Parameters of the class that is fitted.

    For classes, ``alpha`` of ridge and lasso weighs the penalty against the log-likelihood as it does against the
    squared error: ridge minimises loss + α/2·‖w‖², so C = 1/α; lasso loss/n + α·‖w‖₁, so C = 1/(α·n).
    """
    chosen = dict(params)
    if problem_type is ProblemType.REGRESSION:
        return chosen
    if algorithm != "logistic_regression":
        alpha = max(float(chosen.pop("alpha")), 1e-12)
        chosen |= {"C": 1 / alpha} if algorithm == "ridge" else {"C": 1 / (alpha * n), "l1_ratio": 1.0}
    chosen.setdefault("max_iter", 2000)
    # Only saga knows both penalties; without the absolute one lbfgs is faster and exact.
    return chosen | {"solver": "saga" if chosen.get("l1_ratio") else "lbfgs"}


def _scale(rows: Floats) -> Floats:
    import numpy as np

    scale = rows.std(axis=0)
    constant = scale <= 1e-12 * np.maximum(1.0, np.abs(rows).max(axis=0))
    return np.where(constant, 1.0, scale)


def _notes(caught: list[warnings.WarningMessage], algorithm: str) -> tuple[str, ...]:
    from sklearn.exceptions import ConvergenceWarning

    unfinished = False
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            unfinished = True
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    note = f"{algorithm}: the solver stopped before it converged; raise max_iter or the penalty"
    return (note,) if unfinished else ()
