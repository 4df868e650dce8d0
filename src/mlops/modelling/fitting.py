"""How is a model of any family fitted, so that its training can be watched, stopped early and repeated exactly?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.mlops.modelling.types import FittedModel, Labelled, RoundReport

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def fit_model(
    algorithm: str,
    problem_type: ProblemType,
    params: Mapping[str, Any],
    train: Labelled,
    *,
    validation: Labelled | None = None,
    metric: str | None = None,
    early_stopping_rounds: int | None = None,
    report: RoundReport | None = None,
    balanced: bool = False,
    random_state: int = 42,
    n_jobs: int = 1,
) -> FittedModel:
    """Fit one model."""
    raise NotImplementedError


def model_scores(model: FittedModel, X: pd.DataFrame) -> Floats:
    """What ``model.scores`` returns."""
    raise NotImplementedError
