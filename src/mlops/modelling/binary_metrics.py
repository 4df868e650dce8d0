"""How good are probabilities of a yes or no, for one weighting of the rows or for a thousand at once?

Rows that share a score are one group; every metric is a sum over groups, so a bootstrap costs sums, not sorting.
A metric that is not defined (no positive row, nothing predicted positive, …) is NaN here and left out by callers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# The share of rows that precision and recall "at k" look at: those with the highest scores.
TOP_SHARE = 0.1
ECE_BINS = 10
# Log-odds of 0 and 1 are infinite; the logistic recalibration reads probabilities between this and 1 − this.
PROBABILITY_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class Groups:
    """Distinct scores in ascending order, shape (G,), and the weight of positive and negative rows, shape (B, G).

    B weightings are judged at once; the plain one is B = 1 with weight 1 for each row.
    """

    score: Floats
    positive: Floats
    negative: Floats

    @property
    def total(self) -> Floats:
        """Weight of all rows, shape (B,)."""
        total: Floats = self.positive.sum(axis=1) + self.negative.sum(axis=1)
        return total


class SortedScores:
    """Rows sorted by score once, to be weighted many times."""

    def __init__(self, positive: Any, score: Floats) -> None:
        import numpy as np

        self._order = np.argsort(score, kind="stable")
        ordered = np.asarray(score, dtype=np.float64)[self._order]
        self._starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._score = ordered[self._starts]
        self._positive = np.asarray(positive, dtype=np.float64)[self._order]

    def groups(self, weights: Floats | None = None) -> Groups:
        """``weights``: shape (B, n) in the order of the rows given; None counts each row once."""
        import numpy as np

        n = len(self._order)
        ordered = np.ones((1, n)) if weights is None else weights[:, self._order]
        hits = ordered * self._positive
        if len(self._starts) == n:
            return Groups(self._score, hits, ordered - hits)
        positive = np.add.reduceat(hits, self._starts, axis=1)
        return Groups(self._score, positive, np.add.reduceat(ordered, self._starts, axis=1) - positive)


def roc_auc(groups: Groups, threshold: float) -> Floats:
    """Share of pairs of a positive and a negative row that are in the right order, ties counting half."""
    import numpy as np

    below = np.cumsum(groups.negative, axis=1) - groups.negative / 2
    pairs = groups.positive.sum(axis=1) * groups.negative.sum(axis=1)
    return _ratio((groups.positive * below).sum(axis=1), pairs)


def pr_auc(groups: Groups, threshold: float) -> Floats:
    """Average precision: the sum of precision at each distinct score, weighted by the recall gained there."""
    import numpy as np

    positive = groups.positive[:, ::-1]
    found = np.cumsum(positive, axis=1)
    flagged = np.cumsum(groups.positive[:, ::-1] + groups.negative[:, ::-1], axis=1)
    precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
    return _ratio((positive * precision).sum(axis=1), found[:, -1])


def precision(groups: Groups, threshold: float) -> Floats:
    """Share of rows at or above the threshold that are positive."""
    hits, false_alarms = _flagged(groups, threshold)
    return _ratio(hits, hits + false_alarms)


def recall(groups: Groups, threshold: float) -> Floats:
    """Share of positive rows that are at or above the threshold."""
    return _ratio(_flagged(groups, threshold)[0], groups.positive.sum(axis=1))


def f1(groups: Groups, threshold: float) -> Floats:
    """2·TP / (2·TP + FP + FN)."""
    hits, false_alarms = _flagged(groups, threshold)
    return _ratio(2 * hits, hits + false_alarms + groups.positive.sum(axis=1))


def accuracy(groups: Groups, threshold: float) -> Floats:
    """Share of rows on the right side of the threshold."""
    hits, false_alarms = _flagged(groups, threshold)
    return _ratio(hits + groups.negative.sum(axis=1) - false_alarms, groups.total)


def brier_score(groups: Groups, threshold: float) -> Floats:
    """Mean squared difference between probability and outcome (Brier 1950, halved as is usual for two classes)."""
    loss = groups.positive @ (1 - groups.score) ** 2 + groups.negative @ groups.score**2
    return _ratio(loss, groups.total)


def log_loss(groups: Groups, threshold: float) -> Floats:
    """Mean negative log-likelihood; probabilities are cut at the smallest step of a float64."""
    import numpy as np

    step = float(np.finfo(np.float64).eps)
    score = np.clip(groups.score, step, 1 - step)
    return _ratio(-(groups.positive @ np.log(score) + groups.negative @ np.log1p(-score)), groups.total)


def ece(groups: Groups, threshold: float) -> Floats:
    """Expected calibration error over ten bins of equal width (Naeini, Cooper and Hauskrecht 2015, section 3).

    The mean over rows of |share of positive rows − mean probability| of the row's bin; bins are (0, .1], (.1, .2], …,
    0 being in the first.
    """
    import numpy as np

    bins = np.eye(ECE_BINS)[bin_of(groups.score)]
    surplus = (groups.positive - (groups.positive + groups.negative) * groups.score) @ bins
    return _ratio(np.abs(surplus).sum(axis=1), groups.total)


def bin_of(score: Floats) -> NDArray[np.int64]:
    """Number of the bin of equal width that each probability falls into, from 0."""
    import numpy as np

    edges = np.linspace(0, 1, ECE_BINS + 1)[1:-1]
    return np.searchsorted(edges, score).astype(np.int64)


def precision_at_k(groups: Groups, threshold: float) -> Floats:
    """Share of positive rows among the tenth with the highest scores (at least one row); see ``_hits_at_k``."""
    return _hits_at_k(groups) / _k(groups)


def recall_at_k(groups: Groups, threshold: float) -> Floats:
    """Share of all positive rows that the tenth with the highest scores contains; see ``_hits_at_k``."""
    return _ratio(_hits_at_k(groups), groups.positive.sum(axis=1))


def recalibration(groups: Groups, start: tuple[float, float] | None = None) -> tuple[Floats, Floats]:
    """Slope and intercept of log-odds(y) ~ intercept + slope · log-odds(p), by maximum likelihood (Cox 1958).

    1 and 0 for a calibrated model; a slope below 1 means predictions that are too extreme. NaN where no finite
    estimate exists: one class only, one score only, or scores that separate the classes. ``start``: where to begin.
    """
    import numpy as np

    floor = PROBABILITY_FLOOR
    clipped = np.clip(groups.score, floor, 1 - floor)
    log_odds = np.log(clipped) - np.log1p(-clipped)
    slope, intercept = np.full(len(groups.positive), np.nan), np.full(len(groups.positive), np.nan)
    rows = np.flatnonzero(_overlapping(groups, log_odds))
    if rows.size:
        first = np.tile(start or (1.0, 0.0), (rows.size, 1))
        slope[rows], intercept[rows] = _newton(log_odds, groups.positive[rows], groups.negative[rows], first)
    return slope, intercept


Metric = Callable[[Groups, float], "Floats"]
BY_NAME: Mapping[str, Metric] = {
    "roc_auc": roc_auc,
    "pr_auc": pr_auc,
    "f1": f1,
    "precision": precision,
    "recall": recall,
    "accuracy": accuracy,
    "brier_score": brier_score,
    "log_loss": log_loss,
    "ece": ece,
    "precision_at_k": precision_at_k,
    "recall_at_k": recall_at_k,
}
CALIBRATION = ("calibration_slope", "calibration_intercept")
NAMES = (*BY_NAME, *CALIBRATION)


def binary_metrics(
    groups: Groups, threshold: float, names: Iterable[str] = NAMES, start: tuple[float, float] | None = None
) -> dict[str, Floats]:
    """The named metrics, shape (B,) each; ``start``: slope and intercept that the recalibration begins with."""
    wanted = list(names)
    found = {name: BY_NAME[name](groups, threshold) for name in wanted if name in BY_NAME}
    if set(CALIBRATION) & set(wanted):
        both = dict(zip(CALIBRATION, recalibration(groups, start), strict=True))
        found |= {name: both[name] for name in CALIBRATION if name in wanted}
    return found


def _ratio(above: Floats, below: Floats) -> Floats:
    import numpy as np

    ratio: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return ratio


def _flagged(groups: Groups, threshold: float) -> tuple[Floats, Floats]:
    """Weight of positive and of negative rows at or above the threshold."""
    first = int(groups.score.searchsorted(threshold))
    return groups.positive[:, first:].sum(axis=1), groups.negative[:, first:].sum(axis=1)


def _k(groups: Groups) -> Floats:
    """A tenth of each weighting's own rows, shape (B,): resamples of whole units differ in size."""
    import numpy as np

    k: Floats = np.maximum(1, np.ceil(TOP_SHARE * groups.total))
    return k


def _hits_at_k(groups: Groups) -> Floats:
    """Positive rows among the k highest scores; of rows tied at the border, the share that fits is counted.

    That is the mean over all orders of the tied rows, so the order of the table does not matter.
    """
    import numpy as np

    positive = groups.positive[:, ::-1]
    weight = positive + groups.negative[:, ::-1]
    before = np.cumsum(weight, axis=1) - weight
    taken = np.clip(_k(groups)[:, None] - before, 0, weight)
    share = np.divide(taken, weight, out=np.zeros_like(weight), where=weight > 0)
    hits: Floats = (positive * share).sum(axis=1)
    return hits


def _overlapping(groups: Groups, log_odds: Floats) -> NDArray[np.bool_]:
    """Whether neither class lies wholly above the other: otherwise the likelihood has no maximum."""
    import numpy as np

    def ends(weight: Floats) -> tuple[Floats, Floats]:
        there = weight > 0
        return np.where(there, log_odds, np.inf).min(axis=1), np.where(there, log_odds, -np.inf).max(axis=1)

    low_yes, high_yes = ends(groups.positive)
    low_no, high_no = ends(groups.negative)
    overlapping: NDArray[np.bool_] = (high_no > low_yes) & (high_yes > low_no)
    return overlapping


def _newton(x: Floats, positive: Floats, negative: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Newton's method for many logistic regressions on one covariate; slopes and intercepts, NaN where it fails."""
    import numpy as np

    weight, beta = positive + negative, start.copy()
    active = np.arange(len(beta))
    for _ in range(100):
        step = _step(beta[active], x, positive[active], weight[active])
        # Near the maximum whole steps are safe; further away one may leap over it.
        if np.abs(step).max() > 0.5:
            step = _halved(step, beta[active], x, positive[active], weight[active])
        beta[active] += step
        # Convergence is quadratic: after a step this small the next one is of the order of its square.
        active = active[np.abs(step).max(axis=1) > 1e-7 * (1 + np.abs(beta[active]).max(axis=1))]
        if not active.size:
            return beta[:, 0], beta[:, 1]
    beta[active] = np.nan
    return beta[:, 0], beta[:, 1]


def _halved(step: Floats, beta: Floats, x: Floats, positive: Floats, weight: Floats) -> Floats:
    """Steps cut in half until none makes its likelihood smaller."""
    import numpy as np

    worth, step = _log_likelihood(beta, x, positive, weight), step.copy()
    for _ in range(30):
        worse = ~(_log_likelihood(beta + step, x, positive, weight) >= worth - 1e-12 * np.abs(worth))
        if not worse.any():
            break
        step[worse] /= 2
    return step


def _step(beta: Floats, x: Floats, positive: Floats, weight: Floats) -> Floats:
    import numpy as np

    p = 1 / (1 + np.exp(-np.clip(beta[:, :1] * x + beta[:, 1:], -700, 700)))
    missing = positive - weight * p
    curve = weight * p * (1 - p)
    slope, intercept = missing @ x, missing.sum(axis=1)
    xx, xo, oo = curve @ x**2, curve @ x, curve.sum(axis=1)
    determinant = xx * oo - xo**2
    # A flat place gives no direction: go uphill a little instead.
    safe = determinant > 1e-300
    divisor = np.where(safe, determinant, 1.0)
    newton = np.stack([(oo * slope - xo * intercept) / divisor, (xx * intercept - xo * slope) / divisor], axis=1)
    uphill = np.sign(np.stack([slope, intercept], axis=1))
    return np.where(safe[:, None], newton, uphill)


def _log_likelihood(beta: Floats, x: Floats, positive: Floats, weight: Floats) -> Floats:
    import numpy as np

    line = beta[:, :1] * x + beta[:, 1:]
    value: Floats = (positive * line - weight * np.logaddexp(0, line)).sum(axis=1)
    return value
