"""How much better or worse is a candidate on the same questions, and how sure is that?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from src.optimization.gates.bootstrap import mean_bounds, ratio_bounds
from src.optimization.gates.pairs import Column


@dataclass(frozen=True, slots=True)
class PairedResult:
    """Candidate minus baseline over ``n`` questions on which both were measured.

    ``low`` and ``high`` are one-sided bounds, each at ``level``. ``limit``: what ``low`` must be above.
    ``unmeasured_…``: answers on which only that one could not be measured; they are left out.
    """

    n: int
    baseline: float
    candidate: float
    difference: float
    sd: float
    low: float
    high: float
    level: float
    limit: float
    unmeasured_baseline: int = 0
    unmeasured_candidate: int = 0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RatioResult:
    """Mean of the candidate by the mean of the baseline; ``high`` must be at most ``limit``.

    ``unit``: dollars, tokens, ms or characters. A length has no interval: both bounds are the ratio.
    """

    n: int
    baseline: float
    candidate: float
    ratio: float
    low: float
    high: float
    level: float
    limit: float
    unit: str

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(column: Column, *, level: float, limit: float, draws: int, random_state: int) -> PairedResult:
    """Difference with its bounds over at least two questions (ValueError)."""
    differences = column.differences
    low, high = mean_bounds(differences, level=level, draws=draws, random_state=random_state)
    return PairedResult(
        n=column.n,
        baseline=float(column.baseline.mean()),
        candidate=float(column.candidate.mean()),
        difference=float(differences.mean()),
        sd=float(differences.std(ddof=1)),
        low=low,
        high=high,
        level=level,
        limit=limit,
        unmeasured_baseline=column.unmeasured_baseline,
        unmeasured_candidate=column.unmeasured_candidate,
    )


def compare_ratio(
    column: Column, *, level: float, limit: float, unit: str, draws: int, random_state: int
) -> RatioResult:
    """Ratio with its bounds over at least two questions; every value must be above 0 (ValueError)."""
    low, high = ratio_bounds(column.candidate, column.baseline, level=level, draws=draws, random_state=random_state)
    baseline, candidate = float(column.baseline.mean()), float(column.candidate.mean())
    return RatioResult(column.n, baseline, candidate, candidate / baseline, low, high, level, limit, unit)


def compare_length(baseline: int, candidate: int, *, limit: float) -> RatioResult:
    """Characters by characters; there is nothing random about them."""
    ratio = candidate / baseline
    return RatioResult(1, float(baseline), float(candidate), ratio, ratio, ratio, 0.0, limit, "characters")
