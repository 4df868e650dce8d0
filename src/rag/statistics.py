"""How sure is a mean score, is one run worse than another, and how many pairs would it take to know?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from src.errors import ContractViolation
from src.rag.scores import METRICS, Aggregate, EvaluationResult, Interval

LEVEL = 0.95
DEFAULT_MARGIN = 0.02
MIN_PAIRS = 20
"""Below this a percentile interval covers too little (Efron & Tibshirani 1993, chapter 14.3)."""
OVERALL = "overall"
_DRAWN_AT_ONCE = 2_000_000


def bootstrap_interval(
    values: Sequence[float], *, draws: int, random_state: int, level: float = LEVEL
) -> Interval | None:
    """Percentile bootstrap interval of the mean; None below two values.

    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. The same values in the same order give
    the same interval.
    """
    if len(values) < 2:
        return None
    low, high = np.quantile(_means(np.asarray(values, float), draws, random_state), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def _means(values: NDArray[np.float64], draws: int, random_state: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(random_state)
    at_once = max(1, _DRAWN_AT_ONCE // len(values))
    parts = [
        values[rng.integers(0, len(values), (min(at_once, draws - start), len(values)))].mean(axis=1)
        for start in range(0, draws, at_once)
    ]
    return np.concatenate(parts)


def aggregate(values: Sequence[float | None], *, draws: int, random_state: int) -> Aggregate:
    """Mean of what was measured, with its interval, and the bounds were the rest all 0 or all 1 (Manski 1989)."""
    measured = [value for value in values if value is not None]
    if not measured:
        bounds = (0.0, 1.0) if values else (None, None)
        return Aggregate(None, 0, len(values), None, *bounds)
    total, missing = len(values), len(values) - len(measured)
    return Aggregate(
        mean=math.fsum(measured) / len(measured),
        measured=len(measured),
        total=total,
        interval=bootstrap_interval(measured, draws=draws, random_state=random_state),
        worst=math.fsum(measured) / total,
        best=(math.fsum(measured) + missing) / total,
    )


def reaches(one: Aggregate, threshold: float, min_coverage: float) -> bool:
    """Whether the mean reaches the threshold and enough samples were measured to say so."""
    return one.mean is not None and one.mean >= threshold and one.coverage >= min_coverage


class ComparisonVerdict(StrEnum):
    """What the interval of a paired difference says about the new run."""

    BETTER = "better"
    NON_INFERIOR = "non_inferior"
    INFERIOR = "inferior"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """New minus old over the samples both runs measured; ``shared`` counts the samples in both runs.

    ``pairs_needed`` is how many pairs would show non-inferiority of an equal run at this spread with power 0.8.
    """

    metric: str
    mean: float | None
    interval: Interval | None
    sd: float | None
    pairs: int
    shared: int
    margin: float
    verdict: ComparisonVerdict
    reason: str
    pairs_needed: int | None


def compare_values(
    metric: str,
    old: Sequence[float | None],
    new: Sequence[float | None],
    *,
    draws: int,
    random_state: int,
    margin: float = DEFAULT_MARGIN,
    min_pairs: int = MIN_PAIRS,
    min_coverage: float = 0.8,
) -> PairedDifference:
    """Compare two runs sample by sample (values in the same order).

    Non-inferior: the lower end of the interval of the mean difference lies at or above ``-margin``; better: above 0;
    inferior: the upper end lies below ``-margin`` (Piaggio et al., CONSORT extension, JAMA 2012). Anything else, too
    few pairs, or too few of the shared samples measured in both, is insufficient evidence. Raises ContractViolation
    for a margin that is not above 0.
    """
    if not margin > 0:
        raise ContractViolation(f"a margin of non-inferiority lies above 0, not at {margin:g}")
    differences = [b - a for a, b in zip(old, new, strict=True) if a is not None and b is not None]
    pairs, shared = len(differences), len(old)
    mean = math.fsum(differences) / pairs if pairs else None
    interval = bootstrap_interval(differences, draws=draws, random_state=random_state)
    sd = float(np.std(differences, ddof=1)) if pairs > 1 else None
    if pairs < min_pairs:
        verdict, reason = _insufficient(f"{pairs} pairs were measured in both runs, {min_pairs} are needed")
    elif pairs < min_coverage * shared:
        verdict, reason = _insufficient(f"only {pairs} of {shared} shared samples were measured in both runs")
    else:
        verdict, reason = _judge(interval, margin)
    needed = None if sd is None else pairs_needed(margin, sd)
    return PairedDifference(metric, mean, interval, sd, pairs, shared, margin, verdict, reason, needed)


def _insufficient(reason: str) -> tuple[ComparisonVerdict, str]:
    return ComparisonVerdict.INSUFFICIENT_EVIDENCE, reason


def _judge(interval: Interval | None, margin: float) -> tuple[ComparisonVerdict, str]:
    if interval is None:
        return _insufficient("an interval needs at least two pairs")
    span = f"the {interval.level:.0%} interval of the difference is {interval.low:+.3f} to {interval.high:+.3f}"
    if interval.low > 0:
        return ComparisonVerdict.BETTER, f"{span}, above 0"
    if interval.low >= -margin:
        return ComparisonVerdict.NON_INFERIOR, f"{span}, not below -{margin:g}"
    if interval.high < -margin:
        return ComparisonVerdict.INFERIOR, f"{span}, below -{margin:g}"
    return _insufficient(f"{span}, which neither excludes nor shows a loss of {margin:g}")


def compare_runs(
    old: Iterable[EvaluationResult],
    new: Iterable[EvaluationResult],
    *,
    draws: int,
    random_state: int,
    margins: Mapping[str, float] | None = None,
    min_pairs: int = MIN_PAIRS,
    min_coverage: float = 0.8,
) -> tuple[PairedDifference, ...]:
    """Every metric and ``overall`` of two runs, paired by sample id and by method.

    A score of the judge and one of the heuristic are never compared: such pairs count as unmeasured. Raises
    ContractViolation when the runs have no sample in common.
    """
    before = {one.sample_id: one for one in old}
    pairs = [(before[one.sample_id], one) for one in new if one.sample_id in before]
    if not pairs:
        raise ContractViolation("the two runs have no sample in common: compare runs over the same dataset")
    return tuple(
        compare_values(
            name,
            [_value(a, name) if a.method == b.method else None for a, b in pairs],
            [_value(b, name) for _, b in pairs],
            draws=draws,
            random_state=random_state,
            margin=(margins or {}).get(name, DEFAULT_MARGIN),
            min_pairs=min_pairs,
            min_coverage=min_coverage,
        )
        for name in (*METRICS, OVERALL)
    )


def _value(result: EvaluationResult, name: str) -> float | None:
    if name == OVERALL:
        return result.overall_score
    return next(result.value(metric) for metric in METRICS if metric == name)


def pairs_needed(difference: float, sd: float, *, power: float = 0.8, level: float = LEVEL) -> int:
    """Pairs that show a mean difference of ``difference`` (or rule out that margin for equal runs) at ``sd``.

    ``((z_(1+level)/2 + z_power) * sd / difference)²``, the normal approximation (Julious, Statistics in Medicine
    2004, section 3); at least 2. Raises ContractViolation for a difference of 0, a negative sd or a power outside
    (0, 1).
    """
    if not difference or sd < 0 or not 0 < power < 1:
        raise ContractViolation("a number of pairs needs a difference other than 0, an sd from 0 and a power in (0, 1)")
    z = NormalDist().inv_cdf((1 + level) / 2) + NormalDist().inv_cdf(power)
    return max(2, math.ceil((z * sd / difference) ** 2))
