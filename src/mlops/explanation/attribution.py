"""What does each feature add to each prediction, and which features matter most?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from src.errors import EstimationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Kind = Literal["Tree", "Linear", "Kernel"]
Space = Literal["probability", "log_odds", "class_score", "target"]
Direction = Literal[-1, 0, 1]

# Below this rank correlation a feature is said neither to raise nor to lower the prediction.
WEAKEST_DIRECTION = 0.1


class NotAdditive(EstimationError):
    """Attributions do not add up to what the model predicts, so they do not explain it."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """SHAP values of n rows and p features: ``base + values.sum(axis=1)`` is the model's output.

    ``values`` has shape (n, p), ``base`` (n,). ``space`` is what they are measured in: probability of class 1
    or, with several classes, of each row's predicted class; log_odds of class 1; class_score, the score of the
    predicted class before softmax; or the target's units. ``data`` holds the explained rows (same columns; a
    feature that the model sees as several columns is NaN). ``max_error`` is the greatest absolute difference
    between base + sum of values, as a prediction and in ``space``, and what the model itself says.
    """

    explainer: Kind
    space: Space
    columns: tuple[str, ...]
    values: Floats
    base: Floats
    data: Floats
    max_error: float
    n_background: int
    n_classes: int = 0

    @property
    def base_value(self) -> float:
        """The mean of ``base``; without several classes every row has the same."""
        return float(self.base.mean())

    def grouped(self, features: Sequence[str]) -> Attribution:
        """The columns of a feature (words, missing values) added together; columns of no feature stand alone."""
        import numpy as np

        groups = column_groups(self.columns, features)
        own = dict(zip(self.columns, self.data.T, strict=True))
        empty = np.full(len(self.data), np.nan)
        return replace(
            self,
            columns=tuple(groups),
            values=np.column_stack([self.values[:, list(at)].sum(axis=1) for at in groups.values()]),
            data=np.column_stack([own.get(name, empty) for name in groups]),
        )


@dataclass(frozen=True, slots=True)
class Ranked:
    """Mean absolute SHAP value over the explained rows, and whether it rises (1) or falls (−1) with the feature."""

    feature: str
    mean_abs: float
    direction: Direction


def column_groups(columns: Sequence[str], features: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
    """Positions of the model's columns by the feature they were made of: ``x``, ``x__missing`` and ``x=word``."""
    by_length = sorted(features, key=len, reverse=True)
    groups: dict[str, tuple[int, ...]] = {}
    for position, column in enumerate(columns):
        found = next((name for name in by_length if _made_of(column, name)), column)
        groups[found] = (*groups.get(found, ()), position)
    return groups


def _made_of(column: str, feature: str) -> bool:
    return column in (feature, f"{feature}__missing") or column.startswith(f"{feature}=")


def ranked(attribution: Attribution) -> tuple[Ranked, ...]:
    """Features from the most to the least important, equal ones by name.

    The direction is that of Spearman's correlation; 0 where it is weak, for text, and with several classes, where
    the values of different rows concern different classes.
    """
    import numpy as np

    mean_abs = np.abs(attribution.values).mean(axis=0)
    found = [Ranked(name, float(mean_abs[i]), _direction(attribution, i)) for i, name in enumerate(attribution.columns)]
    return tuple(sorted(found, key=lambda one: (-one.mean_abs, one.feature)))


def _direction(attribution: Attribution, column: int) -> Direction:
    import numpy as np
    from scipy.stats import rankdata

    x, values = attribution.data[:, column], attribution.values[:, column]
    if attribution.n_classes > 2 or np.isnan(x).any() or np.ptp(x) == 0 or np.ptp(values) == 0:
        return 0
    rho = float(np.corrcoef(rankdata(x), rankdata(values))[0, 1])
    if abs(rho) < WEAKEST_DIRECTION:
        return 0
    return 1 if rho > 0 else -1
