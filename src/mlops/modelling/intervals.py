"""How far could a metric have come out differently, had other rows of the same kind been drawn?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import ContractViolation
from src.mlops.modelling.metrics import METRICS, checked_metric, checked_rows, judged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

# With fewer rows of a class, resamples without any would come up; each class is then resampled for itself.
LEAST_FREE = 20
# Percentiles of resamples of a handful say how few there are, not how far a metric can vary.
LEAST_UNITS = 20
# An interval over the resamples that happen to define a metric would be one of other resamples.
DEFINED_SHARE = 0.95
_CELLS = 2_000_000


def bootstrap_intervals(
    problem_type: ProblemType,
    y: Any,
    scores: Floats,
    threshold: float | None = None,
    *,
    n: int = 1000,
    level: float = 0.95,
    random_state: int = 42,
    metrics: Iterable[str] | None = None,
    units: Any = None,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals from ``n`` resamples of the rows (Efron and Tibshirani 1993, chapter 13), by metric.

    With ``units`` (one per row) whole units are drawn, so that rows of one patient count as one draw. Otherwise a
    class with fewer than 20 rows keeps its number of rows in each resample. A row whose unit is not known is a unit
    of its own. A metric that fewer than 95 % of the resamples define is left out; with fewer than 20 units (rows, where
    there are none) there are no intervals at all. Raises ContractViolation for an unknown metric or rows that do not
    fit together.
    """
    import numpy as np

    names = [checked_metric(name, problem_type) for name in (METRICS[problem_type] if metrics is None else metrics)]
    truth, _ = checked_rows(problem_type, y, scores)
    if units is not None and len(units) != len(truth):
        raise ContractViolation(f"there are {len(truth)} rows and {len(units)} units; they must be as many")
    if n < 1 or not 0 < level < 1:
        raise ContractViolation("an interval needs at least one resample and a level between 0 and 1")
    codes = None if units is None else _codes(units)
    if (len(truth) if codes is None else int(codes.max()) + 1) < LEAST_UNITS:
        return {}
    rows = judged(problem_type, y, scores, threshold)
    rng = np.random.default_rng(random_state)
    chunk = max(1, _CELLS // len(truth))
    drawn: dict[str, list[Floats]] = {name: [] for name in names}
    for first in range(0, n, chunk):
        weights = _resamples(rng, min(chunk, n - first), problem_type, truth, codes)
        for name, values in rows.values(names, weights).items():
            drawn[name].append(values)
    found = {name: _interval(np.concatenate(values), level) for name, values in drawn.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def _interval(values: Floats, level: float) -> tuple[float, float] | None:
    import numpy as np

    defined = values[~np.isnan(values)]
    if len(defined) < DEFINED_SHARE * len(values):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _codes(units: Any) -> Codes:
    """The number of each row's unit, from 0; rows without one get a number each."""
    import numpy as np
    import pandas as pd

    named = pd.Series(np.asarray(units)).astype(object).map(str, na_action="ignore")
    codes, known = pd.factorize(named, sort=True)
    alone = np.flatnonzero(codes < 0)
    codes[alone] = len(known) + np.arange(len(alone))
    return codes.astype(np.int64)


def _resamples(
    rng: np.random.Generator, count: int, problem_type: ProblemType, truth: Floats, codes: Codes | None
) -> Floats:
    """How often each row is in each resample, shape (count, n)."""
    import numpy as np

    if codes is not None:
        return _counts(rng, count, int(codes.max()) + 1)[:, codes]
    if problem_type is ProblemType.REGRESSION or np.unique(truth, return_counts=True)[1].min() >= LEAST_FREE:
        return _counts(rng, count, len(truth))
    weights = np.empty((count, len(truth)))
    for code in np.unique(truth):
        rows = np.flatnonzero(truth == code)
        weights[:, rows] = _counts(rng, count, len(rows))
    return weights


def _counts(rng: np.random.Generator, count: int, n: int) -> Floats:
    import numpy as np

    drawn = rng.integers(0, n, size=(count, n)) + np.arange(count)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)
