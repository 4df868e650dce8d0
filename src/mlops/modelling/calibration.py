"""Do a model's probabilities mean what they say, and can a simple map make them?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable
from src.mlops.modelling.binary_metrics import PROBABILITY_FLOOR, SortedScores, recalibration
from src.mlops.modelling.types import FittedModel, Labelled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FOLDS = 5
# Fewer of either class, and the map would follow chance.
LEAST_PER_CLASS = 25


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """log-odds → intercept + slope · log-odds (Platt 1999, on log-odds)."""

    slope: float
    intercept: float

    def apply(self, probability: Floats) -> Floats:
        """The recalibrated probability of the positive class."""
        import numpy as np

        p = np.clip(probability, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
        calibrated: Floats = 1 / (1 + np.exp(-(self.intercept + self.slope * (np.log(p) - np.log1p(-p)))))
        return calibrated


def calibrate(model: FittedModel, validation: Labelled) -> FittedModel:
    """``model`` with its probabilities recalibrated on the validation rows, if that helps rows it was not fitted on.

    It helps when the log loss falls by more than the standard error of that fall, each fifth of the validation rows
    being judged by a map fitted on the other four; otherwise the model comes back as it was, with a note either way.
    Raises ContractViolation for anything but two classes, DataUnavailable for too few rows.
    """
    import numpy as np

    if model.problem_type is not ProblemType.BINARY:
        raise ContractViolation(
            f"only probabilities of two classes are recalibrated, this model is {model.problem_type}"
        )
    y = np.asarray(validation.y, dtype=np.int64)
    rarest = int(np.bincount(y, minlength=2).min())
    if rarest < LEAST_PER_CLASS:
        raise DataUnavailable(
            f"sigmoid calibration needs {LEAST_PER_CLASS} validation rows of each class; there are {rarest}"
        )
    plain = replace(model, recalibration=None)
    p = plain.scores(validation.X)[:, 1]
    before, after = _losses(y, p), _losses(y, _cross_fitted(y, p))
    gained = before - after
    change = f"log loss on held-out fifths of the validation rows {before.mean():.4f} → {after.mean():.4f}"
    if gained.mean() <= gained.std(ddof=1) / len(y) ** 0.5:
        return replace(plain, notes=(*plain.notes, f"sigmoid calibration does not help and is left out: {change}"))
    note = f"probabilities are recalibrated (sigmoid): {change}"
    return replace(plain, recalibration=_fitted(y, p), notes=(*plain.notes, note))


def _cross_fitted(y: NDArray[np.int64], p: Floats) -> Floats:
    import numpy as np

    # Every fifth row of each class in the order of the scores: folds alike without chance.
    fold = np.empty(len(y), dtype=np.int64)
    for code in (0, 1):
        rows = np.flatnonzero(y == code)
        fold[rows[np.argsort(p[rows], kind="stable")]] = np.arange(len(rows)) % FOLDS
    calibrated = np.empty(len(y))
    for number in range(FOLDS):
        held = fold == number
        calibrated[held] = _fitted(y[~held], p[~held]).apply(p[held])
    return calibrated


def _fitted(y: NDArray[np.int64], p: Floats) -> Sigmoid:
    slope, intercept = recalibration(SortedScores(y, p).groups())
    if slope[0] != slope[0]:
        raise DataUnavailable("the scores separate the classes of the validation rows: no sigmoid can be fitted")
    if slope[0] <= 0:
        raise DataUnavailable("higher scores do not mean more positive validation rows: no sigmoid can be fitted")
    return Sigmoid(float(slope[0]), float(intercept[0]))


def _losses(y: NDArray[np.int64], p: Floats) -> Floats:
    """Negative log-likelihood of each row."""
    import numpy as np

    likely = np.where(y == 1, p, 1 - p)
    losses: Floats = -np.log(np.clip(likely, np.finfo(np.float64).eps, 1.0))
    return losses
