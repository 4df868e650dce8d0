"""From which probability on does a row count as positive?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import DataUnavailable
from src.mlops.modelling.binary_metrics import SortedScores
from src.mlops.modelling.metrics import checked_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Rows at or above ``value`` count as positive; what that gives on the validation rows."""

    value: float
    f1: float
    precision: float
    recall: float


def choose_threshold(y: Any, scores: Floats) -> Threshold:
    """The score of a validation row that gives the highest F1; of equally good ones the lowest.

    ``scores`` as ``FittedModel.scores`` returns them for two classes, on validation rows only. Raises DataUnavailable
    without rows of both classes.
    """
    import numpy as np

    truth, given = checked_rows(ProblemType.BINARY, y, scores)
    groups = SortedScores(truth, given[:, 1]).groups()
    hits, false_alarms = (np.cumsum(weight[0, ::-1])[::-1] for weight in (groups.positive, groups.negative))
    if not (hits[0] and false_alarms[0]):
        raise DataUnavailable("a threshold needs validation rows of both classes; there are rows of one")
    precision, recall = hits / (hits + false_alarms), hits / hits[0]
    f1 = 2 * hits / (hits + false_alarms + hits[0])
    # argmax returns the first of equals, and scores ascend.
    at = int(f1.argmax())
    return Threshold(float(groups.score[at]), float(f1[at]), float(precision[at]), float(recall[at]))
