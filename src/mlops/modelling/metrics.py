"""How good are predictions? Every number by its definition, with an interval, and by segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from src.domain.modelling import Direction, ProblemType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Every metric is written so that this direction is the better one.
DIRECTIONS: dict[str, Direction] = {
    "roc_auc": "maximize",
    "pr_auc": "maximize",
    "f1": "maximize",
    "f1_weighted": "maximize",
    "brier_score": "minimize",
    "log_loss": "minimize",
    "neg_rmse": "maximize",
    "rmse": "minimize",
    "mae": "minimize",
    "r2": "maximize",
}


def metric_value(name: str, problem_type: ProblemType, y: Any, scores: Floats) -> float:
    """One metric of ``scores`` (as ``FittedModel.scores`` returns them) against ``y``."""
    raise NotImplementedError
