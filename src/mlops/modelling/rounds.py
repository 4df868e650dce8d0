"""How good is a model after each round of its training, and is it worth going on?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from src.domain.modelling import ProblemType
from src.mlops.modelling.metrics import DIRECTIONS, PROPER, judged, metric_value
from src.mlops.modelling.types import Labelled, RoundReport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(slots=True)
class RoundWatch:
    """Judges the validation rows after each round, passes the value on, and remembers the best round.

    A metric that sees only labels or their order, as the AUC does, stands still while probabilities still get better,
    and may be perfect after one round: how long to train is then judged by the log loss.

    ``patience``: rounds without improvement after which training ends; None never ends it, and then the best round
    is the last one. A round after which the metric is not defined, as the precision of a model that names no row, is
    neither passed on nor counted. What ``report`` raises leaves unchanged.
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
    _without: int = field(default=0, init=False)
    _unjudged: Floats | None = field(default=None, init=False)

    def saw(self, scores: Floats) -> bool:
        """Take the scores of the validation rows after one more round; True when training should end."""
        self.last += 1
        value, judged_by = self._values(scores)
        if math.isnan(value):
            self._unjudged = scores
            return False
        self._without += 1
        if self.best < 0 or self._better(judged_by):
            self.best, self._best_value, self._without = self.last, judged_by, 0
        if self.report is not None:
            self.report(self.last, value)
        return self.patience is not None and self._without >= self.patience

    @property
    def used(self) -> int:
        """How many rounds predictions should use: all where none could be judged."""
        return (self.last if self.patience is None or self.best < 0 else self.best) + 1

    def refuse_if_never_judged(self) -> None:
        """Raise DataUnavailable, saying why, when the metric was not defined after any round."""
        if self.best < 0 and self._unjudged is not None:
            metric_value(self.metric, self.problem_type, self.validation.y, self._unjudged)

    @property
    def _judge(self) -> str:
        proper = self.problem_type is ProblemType.REGRESSION or self.metric in PROPER
        return self.metric if proper else "log_loss"

    def _values(self, scores: Floats) -> tuple[float, float]:
        """The metric, and what rounds are judged by; both from one look at the rows."""
        values = judged(self.problem_type, self.validation.y, scores).values([self.metric, self._judge])
        return float(values[self.metric][0]), float(values[self._judge][0])

    def _better(self, value: float) -> bool:
        if DIRECTIONS[self._judge] == "maximize":
            return value > self._best_value
        return value < self._best_value
