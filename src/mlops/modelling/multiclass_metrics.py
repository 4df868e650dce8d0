"""How good are probabilities of several classes, for one weighting of the rows or for many at once?

Averages over classes are plain means ("macro") unless the name says weighted; a mean over classes is not defined
(NaN) where it is not defined for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from src.mlops.modelling import binary_metrics
from src.mlops.modelling.binary_metrics import SortedScores, bin_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Classes:
    """Codes of the true classes, shape (n,), and probabilities by class, shape (n, k), to be weighted many times."""

    def __init__(self, codes: NDArray[np.int64], scores: Floats) -> None:
        import numpy as np

        self.codes, self.scores, self.k = codes, scores, scores.shape[1]
        self.predicted = scores.argmax(axis=1)
        self._by_class = [SortedScores(codes == code, scores[:, code]) for code in range(self.k)]
        self._truth = np.eye(self.k)[codes]

    def weights(self, given: Floats | None) -> Floats:
        """``given``, or 1 for each row; shape (B, n)."""
        import numpy as np

        return np.ones((1, len(self.codes))) if given is None else given

    def one_vs_rest(self, metric: binary_metrics.Metric, given: Floats | None) -> Floats:
        """Mean over all classes of a metric of that class against the rest."""
        import numpy as np

        mean: Floats = np.mean([metric(rows.groups(given), 0.5) for rows in self._by_class], axis=0)
        return mean

    def confusion(self, given: Floats | None) -> Floats:
        """Weight by true and predicted class, shape (B, k, k)."""
        import numpy as np

        weights, cell = self.weights(given), self.codes * self.k + self.predicted
        table = np.zeros((len(weights), self.k * self.k))
        for number in np.unique(cell):
            table[:, number] = weights[:, cell == number].sum(axis=1)
        return table.reshape(-1, self.k, self.k)

    def mean(self, loss: Floats, given: Floats | None) -> Floats:
        """Weighted mean of a loss per row."""
        weights = self.weights(given)
        mean: Floats = (weights @ loss) / weights.sum(axis=1)
        return mean

    def brier_score(self, given: Floats | None) -> Floats:
        """Mean over rows of the squared differences summed over classes: 0 to 2 (Brier 1950, eq. 2)."""
        return self.mean(((self.scores - self._truth) ** 2).sum(axis=1), given)

    def log_loss(self, given: Floats | None) -> Floats:
        """Mean negative logarithm of the probability of the true class."""
        import numpy as np

        step = float(np.finfo(np.float64).eps)
        likely = self.scores[np.arange(len(self.codes)), self.codes]
        return self.mean(-np.log(np.clip(likely, step, 1.0)), given)

    def ece(self, given: Floats | None) -> Floats:
        """Expected calibration error of the most likely class over ten bins of equal width (Guo et al. 2017, eq. 3)."""
        import numpy as np

        weights, sure = self.weights(given), self.scores.max(axis=1)
        surplus = (weights * ((self.predicted == self.codes) - sure)) @ np.eye(binary_metrics.ECE_BINS)[bin_of(sure)]
        value: Floats = np.abs(surplus).sum(axis=1) / weights.sum(axis=1)
        return value

    def accuracy(self, given: Floats | None) -> Floats:
        """Share of rows whose most likely class is the true one."""
        return self.mean((self.predicted == self.codes).astype(float), given)


def _per_class(classes: Classes, given: Floats | None) -> tuple[Floats, Floats, Floats]:
    """Right ones, predicted and true rows by class, shape (B, k) each."""
    import numpy as np

    table = classes.confusion(given)
    return np.diagonal(table, axis1=1, axis2=2), table.sum(axis=1), table.sum(axis=2)


def _divided(above: Floats, below: Floats) -> Floats:
    import numpy as np

    ratio: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio


def _precision(classes: Classes, given: Floats | None) -> Floats:
    right, predicted, _ = _per_class(classes, given)
    mean: Floats = _divided(right, predicted).mean(axis=1)
    return mean


def _recall(classes: Classes, given: Floats | None) -> Floats:
    right, _, true = _per_class(classes, given)
    mean: Floats = _divided(right, true).mean(axis=1)
    return mean


def _f1(classes: Classes, given: Floats | None) -> Floats:
    right, predicted, true = _per_class(classes, given)
    mean: Floats = _divided(2 * right, predicted + true).mean(axis=1)
    return mean


def _f1_weighted(classes: Classes, given: Floats | None) -> Floats:
    """F1 by class, weighted by its true rows."""
    import numpy as np

    right, predicted, true = _per_class(classes, given)
    by_class = np.divide(2 * right, predicted + true, out=np.zeros(right.shape), where=predicted + true > 0)
    return _divided((by_class * true).sum(axis=1), true.sum(axis=1))


BY_NAME: Mapping[str, Callable[[Classes, Floats | None], Floats]] = {
    "roc_auc": lambda classes, given: classes.one_vs_rest(binary_metrics.roc_auc, given),
    "pr_auc": lambda classes, given: classes.one_vs_rest(binary_metrics.pr_auc, given),
    "f1": _f1,
    "f1_weighted": _f1_weighted,
    "precision": _precision,
    "recall": _recall,
    "accuracy": Classes.accuracy,
    "brier_score": Classes.brier_score,
    "log_loss": Classes.log_loss,
    "ece": Classes.ece,
}
NAMES = tuple(BY_NAME)
