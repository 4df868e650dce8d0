"""What goes into a fit and what comes out of it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from src.mlops.modelling.calibration import Sigmoid

    Floats = NDArray[np.float64]

# Called after each boosting round, group of trees or fold with its number (from 0) and the metric on the
# validation rows. Whatever it raises ends the training and leaves unchanged: a pruner stops a trial this way.
RoundReport = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows of one split as a model sees them.

    ``X``: float64 columns without an empty cell. ``y``: float64 for regression, otherwise class codes 0 … k − 1
    (int64). ``segments``: columns to report by (same index), or None.
    """

    X: pd.DataFrame
    y: pd.Series[Any]
    segments: pd.DataFrame | None = None


@dataclass(frozen=True, slots=True)
class FittedModel:
    """An estimator after its fit.

    ``rounds``: boosting rounds or trees that predictions use, ``rounds_fitted``: those that were fitted; None for
    other families. ``params``: every parameter it was made with. ``balanced``: whether the classes were weighted.
    ``estimator`` takes arrays with the ``columns`` in their order, and holds no round that is not used.
    ``recalibration``: what its probabilities are passed through, None where they are used as they come.
    ``notes``: what a reader should know of the fit, such as a solver that stopped early.
    """

    algorithm: str
    problem_type: ProblemType
    estimator: Any
    columns: tuple[str, ...]
    n_classes: int
    rounds: int | None = None
    rounds_fitted: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    balanced: bool = False
    recalibration: Sigmoid | None = None
    notes: tuple[str, ...] = ()

    def scores(self, X: pd.DataFrame) -> Floats:
        """Regression: the prediction, shape (n,). Classification: probabilities by class, shape (n, k)."""
        from src.mlops.modelling.fitting import model_scores

        return model_scores(self, X)
