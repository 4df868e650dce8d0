"""How good is a model after each round of its training, and is it worth going on?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from src.domain.modelling import ProblemType
from src.mlops.modelling.metrics import DIRECTIONS, metric_value
from src.mlops.modelling.types import Labelled, RoundReport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(slots=True)
class RoundWatch:
    """Judges the validation rows after each round, passes the value on, and remembers the best round.

    ``patience``: rounds without improvement after which training ends; None never ends it, and then the best round
    is the last one. What ``report`` raises leaves unchanged.
    """

    problem_type: ProblemType
    metric: str
    validation: Labelled
    rows: Floats
    report: RoundReport | None = None
    patience: int | None = None
    best: int = field(default=-1, init=False)
    last: int = field(default=-1, init=False)
    _best_value: float = field(default=0.0, init=False)

    def saw(self, scores: Floats) -> bool:
        """Take the scores of the validation rows after one more round; True when training should end."""
        self.last += 1
        value = metric_value(self.metric, self.problem_type, self.validation.y, scores)
        if self.best < 0 or self._better(value):
            self.best, self._best_value = self.last, value
        if self.report is not None:
            self.report(self.last, value)
        return self.patience is not None and self.last - self.best >= self.patience

    @property
    def used(self) -> int:
        """How many rounds predictions should use."""
        return (self.last if self.patience is None else self.best) + 1

    def _better(self, value: float) -> bool:
        if DIRECTIONS[self.metric] == "maximize":
            return value > self._best_value
        return value < self._best_value
