"""Is a model as good for each brand, region or other part of the rows?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import ContractViolation
from src.mlops.modelling.metrics import checked_rows, evaluate

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# With fewer rows, or fewer of a class, a metric is chance and could tell of single persons.
LEAST_ROWS = 50
LEAST_PER_CLASS = 10
EMPTY = "(empty)"


@dataclass(frozen=True, slots=True)
class Segment:
    """Metrics of the rows whose ``column`` has that ``value``; ``n`` is their number."""

    column: str
    value: str
    n: int
    metrics: Mapping[str, float]


def by_segment(
    problem_type: ProblemType,
    y: Any,
    scores: Floats,
    segments: pd.DataFrame,
    threshold: float | None = None,
    *,
    min_rows: int = LEAST_ROWS,
    min_per_class: int = LEAST_PER_CLASS,
) -> tuple[Segment, ...]:
    """Metrics for each value of each column of ``segments`` (rows as in ``y``), by column, then by value.

    Values with fewer than ``min_rows`` rows, or fewer than ``min_per_class`` of any class of the whole, are left
    out. Rows without a value are the segment "(empty)". Raises ContractViolation.
    """
    import numpy as np

    truth, given = checked_rows(problem_type, y, scores)
    if len(segments) != len(truth):
        raise ContractViolation(f"there are {len(truth)} rows and {len(segments)} segment rows; they must be as many")
    found = []
    for column in segments.columns:
        values = segments[column].astype(object).where(segments[column].notna(), EMPTY).astype(str).to_numpy()
        for value in sorted(set(values)):
            rows = np.flatnonzero(values == value)
            if _enough(problem_type, truth, rows, min_rows, min_per_class):
                metrics = evaluate(problem_type, truth[rows], given[rows], threshold)
                found.append(Segment(str(column), value, len(rows), metrics))
    return tuple(found)


def fairness_gap(segments: Iterable[Segment], metric: str = "recall") -> dict[str, float]:
    """By column: the largest difference of the metric between two of its values; columns with fewer are left out.

    A difference in recall is a difference in opportunity (Hardt, Price and Srebro 2016, definition 2.2).
    """
    values: dict[str, list[float]] = {}
    for segment in segments:
        if metric in segment.metrics:
            values.setdefault(segment.column, []).append(segment.metrics[metric])
    return {column: max(found) - min(found) for column, found in values.items() if len(found) > 1}


def _enough(
    problem_type: ProblemType, truth: Floats, rows: NDArray[np.int64], min_rows: int, min_per_class: int
) -> bool:
    import numpy as np

    if len(rows) < min_rows:
        return False
    if problem_type is ProblemType.REGRESSION:
        return True
    counts = np.bincount(truth[rows].astype(np.int64), minlength=int(truth.max()) + 1)
    return int(counts.min()) >= min_per_class
