"""What do the ROC curve, the precision-recall curve and the calibration plot of two classes look like?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.mlops.modelling.binary_metrics import SortedScores, bin_of
from src.mlops.modelling.metrics import checked_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_POINTS = 200


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """``roc``: (false positive rate, true positive rate) from (0, 0) to (1, 1); ``pr``: (recall, precision) from
    the highest score down; ``calibration``: (mean probability, share of positive rows, rows) of each of ten bins of
    equal width that has rows. At most 200 points each; all empty for anything but two classes."""

    roc: tuple[tuple[float, float], ...] = ()
    pr: tuple[tuple[float, float], ...] = ()
    calibration: tuple[tuple[float, float, int], ...] = ()


def curves(problem_type: ProblemType, y: Any, scores: Floats) -> CurvePoints:
    """Points of the three curves; ROC and PR are empty where a class has no row. Raises ContractViolation."""
    if problem_type is not ProblemType.BINARY:
        return CurvePoints()
    truth, given = checked_rows(problem_type, y, scores)
    roc, pr = _roc_and_pr(truth, given[:, 1])
    return CurvePoints(roc, pr, _calibration(truth, given[:, 1]))


def _roc_and_pr(
    truth: Floats, score: Floats
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    import numpy as np

    groups = SortedScores(truth, score).groups()
    hits = np.cumsum(groups.positive[0, ::-1])
    false_alarms = np.cumsum(groups.negative[0, ::-1])
    if not (hits[-1] and false_alarms[-1]):
        return (), ()
    rate, recall = false_alarms / false_alarms[-1], hits / hits[-1]
    shown = _spread(len(hits), MOST_POINTS - 1)
    roc = ((0.0, 0.0), *((float(rate[at]), float(recall[at])) for at in shown))
    precision = hits / (hits + false_alarms)
    return roc, tuple((float(recall[at]), float(precision[at])) for at in shown)


def _calibration(truth: Floats, score: Floats) -> tuple[tuple[float, float, int], ...]:
    import numpy as np

    number = bin_of(score)
    return tuple(
        (float(score[number == one].mean()), float(truth[number == one].mean()), int((number == one).sum()))
        for one in np.unique(number)
    )


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """Up to ``most`` positions from the first to the last, evenly spread."""
    import numpy as np

    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
