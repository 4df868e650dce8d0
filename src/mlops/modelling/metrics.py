"""How good are predictions? Every number by its definition, with an interval, and by segment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from src.domain.modelling import Direction, ProblemType
from src.errors import ContractViolation, DataUnavailable, nearest_names
from src.mlops.modelling import binary_metrics, multiclass_metrics, regression_metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Every metric is written so that this direction is the better one. A calibration slope is best at 1 and an
# intercept at 0: they have no direction.
DIRECTIONS: dict[str, Direction] = {
    "roc_auc": "maximize",
    "pr_auc": "maximize",
    "f1": "maximize",
    "f1_weighted": "maximize",
    "precision": "maximize",
    "recall": "maximize",
    "accuracy": "maximize",
    "precision_at_k": "maximize",
    "recall_at_k": "maximize",
    "brier_score": "minimize",
    "log_loss": "minimize",
    "ece": "minimize",
    "neg_rmse": "maximize",
    "rmse": "minimize",
    "mae": "minimize",
    "r2": "maximize",
}
# What a problem is judged by where nothing else is asked for.
DEFAULT_METRICS: Mapping[ProblemType, str] = {
    ProblemType.BINARY: "roc_auc",
    ProblemType.MULTICLASS: "f1_weighted",
    ProblemType.REGRESSION: "neg_rmse",
}
METRICS: Mapping[ProblemType, tuple[str, ...]] = {
    ProblemType.BINARY: binary_metrics.NAMES,
    ProblemType.MULTICLASS: multiclass_metrics.NAMES,
    ProblemType.REGRESSION: regression_metrics.NAMES,
}
DEFAULT_THRESHOLD = 0.5
_AT_A_THRESHOLD = frozenset({"f1", "precision", "recall", "accuracy"})
# Proper scores: best in the mean for the true probabilities, so that they see each become better (Gneiting and Raftery
# 2007). The other metrics of classes see only labels, an order, or how many were right among many.
PROPER = frozenset({"log_loss", "brier_score"})


class Judged(Protocol):
    """Predictions beside the truth, prepared so that many weightings of the rows are judged at once."""

    def values(self, names: Iterable[str], weights: Floats | None = None) -> dict[str, Floats]:
        """Each metric for each weighting; ``weights`` of shape (B, n), None being one plain weighting."""
        ...


def metric_value(name: str, problem_type: ProblemType, y: Any, scores: Floats, threshold: float | None = None) -> float:
    """One metric of ``scores`` (as ``FittedModel.scores`` returns them) against ``y``.

    f1, precision, recall and accuracy of two classes are taken at ``threshold`` (default .5). Raises
    ContractViolation for a metric the problem does not have, DataUnavailable where it is not defined on these rows.
    """
    checked_metric(name, problem_type)
    value = float(judged(problem_type, y, scores, threshold).values([name])[name][0])
    if value != value:
        raise DataUnavailable(f"{name} is not defined on these {len(scores)} rows: {_why_undefined(problem_type)}")
    return value


def evaluate(problem_type: ProblemType, y: Any, scores: Floats, threshold: float | None = None) -> dict[str, float]:
    """Every metric of the problem by name; one that these rows do not define is left out.

    Two classes: probabilities are judged at ``threshold`` (default .5; rows at or above it count as predicted
    positive). Several: the most likely class. Raises ContractViolation when rows and scores do not fit together.
    """
    values = judged(problem_type, y, scores, threshold).values(METRICS[problem_type])
    return {name: float(value[0]) for name, value in values.items() if value[0] == value[0]}


def confusion(
    problem_type: ProblemType, y: Any, scores: Floats, threshold: float | None = None
) -> tuple[tuple[int, ...], ...]:
    """Number of rows by true class (rows) and predicted class (columns), in the order of the codes; () for numbers."""
    import numpy as np

    if problem_type is ProblemType.REGRESSION:
        return ()
    codes, given = checked_rows(problem_type, y, scores)
    if problem_type is ProblemType.BINARY:
        predicted = (given[:, 1] >= _cut(threshold)).astype(np.int64)
    else:
        predicted = given.argmax(axis=1)
    k = given.shape[1]
    table = np.bincount(codes.astype(np.int64) * k + predicted, minlength=k * k).reshape(k, k)
    return tuple(tuple(int(cell) for cell in row) for row in table)


def checked_metric(name: str, problem_type: ProblemType) -> str:
    """``name`` if the problem has that metric; ContractViolation otherwise."""
    known = METRICS.get(problem_type, ())
    if name not in known:
        raise ContractViolation(f"a {problem_type} model has no metric '{name}'; {nearest_names(name, known)}")
    return name


def searchable(metric: str, problem_type: ProblemType) -> str:
    """``metric`` if hyperparameters can be searched by it.

    Raises ContractViolation for one the problem does not have, and for one that two classes have only at a threshold.
    """
    checked_metric(metric, problem_type)
    if problem_type is ProblemType.BINARY and metric in _AT_A_THRESHOLD:
        raise ContractViolation(
            f"{metric} depends on a threshold, which is chosen after the search; search by roc_auc, pr_auc, log_loss, "
            "brier_score, precision_at_k or recall_at_k"
        )
    return metric


def judged(problem_type: ProblemType, y: Any, scores: Floats, threshold: float | None = None) -> Judged:
    """Rows and scores checked and prepared. Raises ContractViolation, and DataUnavailable without rows."""
    import numpy as np

    truth, given = checked_rows(problem_type, y, scores)
    if problem_type is ProblemType.BINARY:
        return _Binary(truth, given[:, 1], _cut(threshold))
    if problem_type is ProblemType.MULTICLASS:
        return _Multiclass(truth.astype(np.int64), given)
    return _Regression(truth, given)


def checked_rows(problem_type: ProblemType, y: Any, scores: Floats) -> tuple[Floats, Floats]:
    """``y`` and ``scores`` as arrays of the shapes the problem asks for; ContractViolation, DataUnavailable."""
    import numpy as np

    if problem_type not in METRICS:
        raise ContractViolation("an effect has no true value per row to compare with; use e2i effect to judge it")
    truth, given = np.asarray(y, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if len(truth) != len(given):
        raise ContractViolation(f"there are {len(truth)} true values and {len(given)} scores; they must be as many")
    if not len(truth):
        raise DataUnavailable("there is no row to judge predictions on")
    columns = 2 if problem_type is ProblemType.BINARY else None
    wrong = given.ndim != 1 if problem_type is ProblemType.REGRESSION else given.ndim != 2
    if wrong or (columns and given.shape[1] != columns):
        raise ContractViolation(f"scores of shape {given.shape} are not those of a {problem_type} model")
    if not (np.isfinite(truth).all() and np.isfinite(given).all()):
        raise ContractViolation("true values or scores hold empty or infinite values; nothing can be judged by them")
    if problem_type is not ProblemType.REGRESSION and not np.isin(truth, np.arange(given.shape[1])).all():
        raise ContractViolation(f"true classes are not codes from 0 to {given.shape[1] - 1}")
    return truth, given


class _Binary:
    def __init__(self, truth: Floats, score: Floats, threshold: float) -> None:
        self._rows, self._threshold = binary_metrics.SortedScores(truth, score), threshold
        self._start: tuple[float, float] | None = None

    def values(self, names: Iterable[str], weights: Floats | None = None) -> dict[str, Floats]:
        wanted = list(names)
        if weights is not None and self._start is None and set(wanted) & set(binary_metrics.CALIBRATION):
            # Resamples have solutions close to that of the rows themselves.
            slope, intercept = binary_metrics.recalibration(self._rows.groups())
            self._start = (float(slope[0]), float(intercept[0])) if slope[0] == slope[0] else (1.0, 0.0)
        return binary_metrics.binary_metrics(self._rows.groups(weights), self._threshold, wanted, self._start)


class _Multiclass:
    def __init__(self, codes: NDArray[np.int64], scores: Floats) -> None:
        self._classes = multiclass_metrics.Classes(codes, scores)

    def values(self, names: Iterable[str], weights: Floats | None = None) -> dict[str, Floats]:
        return {name: multiclass_metrics.BY_NAME[name](self._classes, weights) for name in names}


class _Regression:
    def __init__(self, truth: Floats, predicted: Floats) -> None:
        self._truth, self._predicted = truth, predicted

    def values(self, names: Iterable[str], weights: Floats | None = None) -> dict[str, Floats]:
        import numpy as np

        given = np.ones((1, len(self._truth))) if weights is None else weights
        return {name: regression_metrics.BY_NAME[name](self._truth, self._predicted, given) for name in names}


def _cut(threshold: float | None) -> float:
    return DEFAULT_THRESHOLD if threshold is None else threshold


def _why_undefined(problem_type: ProblemType) -> str:
    if problem_type is ProblemType.REGRESSION:
        return "the target does not vary"
    return "a class has no row, nothing is predicted as one of them, or the scores separate them completely"
