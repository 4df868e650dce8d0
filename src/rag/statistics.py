"""How sure is a mean score, is one run worse than another, and how many pairs would it take to know?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from src.errors import ContractViolation
from src.rag.judging.declined import DECLINED_RIGHTLY
from src.rag.scores import METRICS, Aggregate, EvaluationResult, Interval

LEVEL = 0.95
DEFAULT_MARGIN = 0.02
MIN_PAIRS = 20
"""Below this a percentile interval covers too little (Efron & Tibshirani 1993, chapter 14.3)."""
EXACT_PAIRS = range(6, 21)
"""So many pairs can show a loss by an exact test; fewer never reach its level, more are enough for an interval."""
OVERALL = "overall"
PASSED = "passed"
"""Compared beside the metrics: the share of samples that passed."""
ROUNDING = 1e-9
"""A mean of values that all lie at a threshold may fall below it by a last digit."""
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
    return one.mean is not None and at_least(one.mean, threshold) and one.coverage >= min_coverage


def at_least(value: float, threshold: float) -> bool:
    """Whether a score reaches a threshold, but for rounding."""
    return value >= threshold - ROUNDING


class ComparisonVerdict(StrEnum):
    """What the interval of a paired difference says about the new run."""

    BETTER = "better"
    NON_INFERIOR = "non_inferior"
    INFERIOR = "inferior"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """New minus old over the samples both runs measured; ``shared`` counts those that could have been pairs.

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
    size: int | None = None,
) -> PairedDifference:
    """Compare two runs sample by sample (values in the same order).

    Non-inferior: the lower end of the interval of the mean difference lies at or above ``-margin``; better: above 0;
    inferior: the upper end lies below ``-margin`` (Piaggio et al., CONSORT extension, JAMA 2012). Below ``min_pairs``
    only a loss can be shown, by an exact test. Anything else, too few pairs, or too few of the ``size`` samples of
    the earlier run (default: those given) measured in both, is insufficient evidence. Raises ContractViolation for a
    margin that is not above 0.
    """
    if not margin > 0:
        raise ContractViolation(f"a margin of non-inferiority lies above 0, not at {margin:g}")
    differences = [b - a for a, b in zip(old, new, strict=True) if a is not None and b is not None]
    pairs, shared = len(differences), len(old) if size is None else size
    mean = math.fsum(differences) / pairs if pairs else None
    interval = bootstrap_interval(differences, draws=draws, random_state=random_state)
    sd = float(np.std(differences, ddof=1)) if pairs > 1 else None
    if pairs < min_coverage * shared:
        verdict, reason = _insufficient(f"only {pairs} of {shared} samples were measured in both runs")
    elif pairs < min_pairs:
        verdict, reason = _few(differences, margin, min_pairs)
    else:
        verdict, reason = _judge(interval, margin)
    needed = None if sd is None else pairs_needed(margin, sd)
    return PairedDifference(metric, mean, interval, sd, pairs, shared, margin, verdict, reason, needed)


def _insufficient(reason: str) -> tuple[ComparisonVerdict, str]:
    return ComparisonVerdict.INSUFFICIENT_EVIDENCE, reason


def _few(differences: Sequence[float], margin: float, min_pairs: int) -> tuple[ComparisonVerdict, str]:
    pairs, level = len(differences), (1 - LEVEL) / 2
    needed = f"{pairs} pairs were measured in both runs, {min_pairs} are needed"
    if pairs not in EXACT_PAIRS:
        return _insufficient(needed)
    p = probability_of_loss(differences, margin)
    if p > level:
        return _insufficient(f"{needed}, and an exact test shows no loss of {margin:g} (p = {p:.3f})")
    shown = f"an exact test of {pairs} pairs shows a loss of more than {margin:g} (p = {p:.3f})"
    return ComparisonVerdict.INFERIOR, shown


def probability_of_loss(differences: Sequence[float], margin: float) -> float:
    """One-sided p value of differences this low or lower were their centre at ``-margin``: exact, over all signs.

    Fisher's randomisation test for pairs (The Design of Experiments, 1935, section 21): it takes the distribution of
    the differences to be symmetric. The work doubles with every pair.
    """
    shifted = np.asarray(differences, float) + margin
    sums = np.zeros(1)
    for one in np.abs(shifted):
        sums = np.concatenate([sums + one, sums - one])
    return float(np.mean(sums <= shifted.sum() + ROUNDING))


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
    """Every metric, ``overall`` and the share that passed, of two runs paired by sample id.

    Scores of different methods or judges are never compared: such pairs count as unmeasured. What was rightly
    declined in either run has no scores to compare and stands in the share that passed alone. Raises
    ContractViolation when the runs have no sample in common.
    """
    before = {one.sample_id: one for one in old}
    pairs = [(before[one.sample_id], one) for one in new if one.sample_id in before]
    if not pairs:
        raise ContractViolation("the two runs have no sample in common: compare runs over the same dataset")
    declined = [(a, b) for a, b in pairs if _declined(a) or _declined(b)]
    scored = [(a, b) for a, b in pairs if not (_declined(a) or _declined(b))]

    def compared(name: str, among: Sequence[tuple[EvaluationResult, EvaluationResult]], size: int) -> PairedDifference:
        alike = [same_judge(a, b) for a, b in among]
        found = compare_values(
            name,
            [_value(a, name) if same else None for (a, _), same in zip(among, alike, strict=True)],
            [_value(b, name) for _, b in among],
            draws=draws,
            random_state=random_state,
            margin=(margins or {}).get(name, DEFAULT_MARGIN),
            min_pairs=min_pairs,
            min_coverage=min_coverage,
            size=size,
        )
        others = alike.count(False)
        told = f"{found.reason}; {others} were scored by another method or another judge" if others else found.reason
        return replace(found, reason=told)

    size = len(before) - len(declined)
    of_scores = [compared(name, scored, size) for name in (*METRICS, OVERALL)]
    return (*of_scores, compared(PASSED, pairs, len(before)))


def same_judge(one: EvaluationResult, other: EvaluationResult) -> bool:
    """Whether two results rest on the same method and model; without a model no reply of one is in the scores."""
    models = {one.model, other.model} - {None}
    return one.method == other.method and len(models) < 2


def _declined(result: EvaluationResult) -> bool:
    return bool(result.metadata.get(DECLINED_RIGHTLY))


def _value(result: EvaluationResult, name: str) -> float | None:
    if name == OVERALL:
        return result.overall_score
    if name == PASSED:
        decided = result.passed_thresholds or result.failed_metrics
        return float(result.passed_thresholds) if decided else None
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
