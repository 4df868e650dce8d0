"""Which of its columns does a fitted model use most?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.errors import EstimationError
from src.mlops.modelling.types import FittedModel

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Importance:
    """Share of each column, the largest first, together 1 (all 0 for a model that uses none).

    ``method``: gain (of splits, boosting), impurity (forests), or coefficient: |coefficient| times the column's
    standard deviation over the training rows, averaged over classes.
    """

    method: str
    shares: Mapping[str, float]


def importance_of(model: FittedModel, X: pd.DataFrame) -> Importance:
    """What the fitted estimator says of its columns; ``X``: the training rows as it saw them."""
    import numpy as np

    method, raw = _raw(model, X)
    total = float(np.sum(raw))
    shares = raw / total if total > 0 else raw
    order = np.argsort(-shares, kind="stable")
    return Importance(method, {model.columns[i]: float(shares[i]) for i in order})


def _raw(model: FittedModel, X: pd.DataFrame) -> tuple[str, Any]:
    import numpy as np

    estimator = model.estimator
    if hasattr(estimator, "coef_"):
        size = np.abs(np.atleast_2d(estimator.coef_)).mean(axis=0)
        return "coefficient", size * X[list(model.columns)].to_numpy().std(axis=0)
    if hasattr(estimator, "booster_"):
        return "gain", np.asarray(estimator.booster_.feature_importance("gain"), dtype=np.float64)
    if hasattr(estimator, "feature_importances_"):
        method = "impurity" if model.algorithm == "random_forest" else "gain"
        return method, np.nan_to_num(np.asarray(estimator.feature_importances_, dtype=np.float64))
    raise EstimationError(f"a {type(estimator).__name__} does not say which columns it uses")
