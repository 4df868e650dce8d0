"""Are the classes so unequal that the rare ones must weigh more, and what is said about it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.errors import DataUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Below this share of rows a class is rare: a model can be right nearly everywhere and never name it.
RARE_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Imbalance:
    """Share of the rarest class among training rows, its ratio to the most frequent, and whether to weigh classes."""

    rarest_share: float
    ratio: float
    balance: bool
    note: str


def judge_imbalance(codes: Any, n_classes: int) -> Imbalance:
    """Classes are weighted when the rarest has less than .2 of the rows, and less than half of an equal share.

    Raises DataUnavailable for a class without a row.
    """
    import numpy as np

    counts = np.bincount(np.asarray(codes, dtype=np.int64), minlength=n_classes)
    if not len(codes) or not counts.all():
        raise DataUnavailable(f"class {int(counts.argmin())} of {n_classes} has no training row")
    share, ratio = float(counts.min() / counts.sum()), float(counts.max() / counts.min())
    balance = share < min(RARE_SHARE, 0.5 / n_classes)
    stated = f"the rarest class has {share:.1%} of {counts.sum():,} training rows ({ratio:.1f}:1)"
    if balance:
        return Imbalance(share, ratio, True, f"{stated}: each class weighs the same in training")
    return Imbalance(share, ratio, False, f"{stated}: rows weigh the same in training")


def class_weights(codes: Any) -> Floats:
    """A weight per row so that every class has the same total; the mean weight is 1 (King and Zeng 2001, eq. 7).

    The same as scikit-learn's ``class_weight="balanced"`` and, up to a factor, XGBoost's ``scale_pos_weight``.
    """
    import numpy as np

    rows = np.asarray(codes, dtype=np.int64)
    counts = np.bincount(rows)
    weights: Floats = (len(rows) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[rows]
    return weights
