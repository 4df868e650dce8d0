"""Are rows fit to be learnt from or predicted, and what do an estimator's answers look like in one shape?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.modelling.types import Labelled

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def matrix(X: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """The named columns in their order as float64. Raises UnknownColumn, and ContractViolation for empty cells.

    Arrays, because column names may hold signs that XGBoost and LightGBM refuse, such as brackets.
    """
    import numpy as np

    absent = next((name for name in columns if name not in X.columns), None)
    if absent is not None:
        raise UnknownColumn(absent, [str(name) for name in X.columns], role="model column")
    values = np.ascontiguousarray(X[list(columns)].to_numpy(dtype=np.float64))
    broken = ~np.isfinite(values).all(axis=0)
    if broken.any():
        name = columns[int(broken.argmax())]
        raise ContractViolation(
            f"column '{name}' has empty or infinite cells; pass rows through their transforms first"
        )
    return values


def checked_train(problem_type: ProblemType, train: Labelled) -> int:
    """Number of classes, 1 for a number. Raises DataUnavailable for a target that does not vary, ContractViolation."""
    import numpy as np

    if len(train.X) != len(train.y):
        raise ContractViolation(f"there are {len(train.X)} rows and {len(train.y)} targets; they must be as many")
    if not train.X.shape[1]:
        raise ContractViolation("there is no column to learn from")
    y = np.asarray(train.y, dtype=np.float64)
    if not np.isfinite(y).all():
        raise ContractViolation("the target has empty or infinite values in training rows; leave those rows out")
    found = np.unique(y)
    if len(found) < 2:
        raise DataUnavailable(f"the target has {len(found)} different values in {len(y)} training rows; 2 are needed")
    if problem_type is ProblemType.REGRESSION:
        return 1
    if not np.array_equal(found, np.arange(len(found))):
        raise ContractViolation(f"classes must be codes 0 … k − 1, each with training rows; there is {found.tolist()}")
    if problem_type is ProblemType.BINARY and len(found) != 2:
        raise ContractViolation(f"a binary target has 2 classes, this one {len(found)}; ask for multiclass")
    return len(found)


def estimator_scores(estimator: Any, problem_type: ProblemType, rows: Floats) -> Floats:
    """Predictions (n,) of a regressor, probabilities (n, k) that add up to 1 of a classifier; float64."""
    import numpy as np

    if problem_type is ProblemType.REGRESSION:
        return np.asarray(estimator.predict(rows), dtype=np.float64).reshape(-1)
    return probabilities(estimator.predict_proba(rows))


def probabilities(raw: Any) -> Floats:
    """Probabilities as float64 that add up to 1: libraries that count in float32 leave a remainder."""
    import numpy as np

    given = np.asarray(raw, dtype=np.float64)
    if given.ndim == 1:
        return np.column_stack([1 - given, given])
    if given.shape[1] == 2:
        return np.column_stack([1 - given[:, 1], given[:, 1]])
    scaled: Floats = given / given.sum(axis=1, keepdims=True)
    return scaled
