"""How do agents get the rows that a model is trained, tuned and judged on, one split at a time?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from src.domain.modelling import TrainingData, TrainingSplit

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SplitRows:
    """Raw rows of one split: features, target and segment columns.

    The index identifies a row in the whole dataset, so that two splits can be seen to overlap; ``units`` (same
    index) are the patients or accounts that must stay together, or None. ``source``: dataset or feature_store.
    """

    split: TrainingSplit
    frame: pd.DataFrame
    units: pd.Series[Any] | None
    source: str


class TrainingRows(Protocol):
    """Where rows come from. The holdout split cannot be asked for."""

    async def load(self, data: TrainingData, split: TrainingSplit) -> SplitRows | None:
        """Rows of one split; None when this source does not have that data.

        Raises DatasetNotFound, UnknownColumn, and DataUnavailable for a split that is not registered.
        """
        ...
