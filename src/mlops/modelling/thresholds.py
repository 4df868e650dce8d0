"""From which probability on does a row count as positive?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable
from src.mlops.modelling.binary_metrics import SortedScores
from src.mlops.modelling.metrics import checked_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Rows at or above ``value`` count as positive; what that gives on the validation rows, and how it was chosen."""

    value: float
    criterion: str
    f1: float
    precision: float
    recall: float


def choose_threshold(
    y: Any, scores: Floats, *, min_precision: float | None = None, min_recall: float | None = None
) -> Threshold:
    """The score of a validation row that gives the highest F1; of equally good ones the lowest.

    With ``min_precision`` the one with the highest recall among those that reach it, with ``min_recall`` the one
    with the highest precision; with both, the highest F1 among those that reach both. ``scores`` as
    ``FittedModel.scores`` returns them for two classes, on validation rows only. Raises DataUnavailable without
    rows of both classes, ContractViolation when no threshold reaches what is asked for.
    """
    import numpy as np

    truth, given = checked_rows(ProblemType.BINARY, y, scores)
    groups = SortedScores(truth, given[:, 1]).groups()
    hits, false_alarms = (np.cumsum(weight[0, ::-1])[::-1] for weight in (groups.positive, groups.negative))
    if not (hits[0] and false_alarms[0]):
        raise DataUnavailable("a threshold needs validation rows of both classes; there are rows of one")
    precision, recall = hits / (hits + false_alarms), hits / hits[0]
    f1 = 2 * hits / (hits + false_alarms + hits[0])
    allowed = _allowed(precision, recall, min_precision, min_recall)
    goal = recall if min_recall is None and min_precision is not None else f1
    goal = precision if min_precision is None and min_recall is not None else goal
    # argmax returns the first of equals, and scores ascend.
    at = int(np.where(allowed, goal, -1.0).argmax())
    return Threshold(
        float(groups.score[at]),
        _criterion(min_precision, min_recall),
        float(f1[at]),
        float(precision[at]),
        float(recall[at]),
    )


def _allowed(
    precision: Floats, recall: Floats, min_precision: float | None, min_recall: float | None
) -> NDArray[np.bool_]:
    for name, least in (("precision", min_precision), ("recall", min_recall)):
        if least is not None and not 0 < least <= 1:
            raise ContractViolation(f"a least {name} lies between 0 and 1; {least} was asked for")
    allowed: NDArray[np.bool_] = (precision >= (min_precision or 0)) & (recall >= (min_recall or 0))
    if not allowed.any():
        within = precision[recall >= (min_recall or 0)].max()
        raise ContractViolation(
            f"no threshold has {_criterion(min_precision, min_recall)} on the validation rows; "
            f"the highest precision there is {within:.3f}"
        )
    return allowed


def _criterion(min_precision: float | None, min_recall: float | None) -> str:
    asked = [f"{name} ≥ {value:g}" for name, value in (("precision", min_precision), ("recall", min_recall)) if value]
    return " and ".join(asked) or "highest F1"
