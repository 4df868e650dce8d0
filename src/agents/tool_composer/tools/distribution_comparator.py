"""Do two periods or two segments differ in a column, by how much, and by more than chance?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolInputs
from src.agents.tool_composer.tools.grouping import ComparingArguments, TwoGroups, two_groups
from src.agents.tool_composer.tools.panel_rows import is_number
from src.agents.tool_composer.tools.resampling import coarse_levels, level_counts, shares, tail_probability
from src.agents.tool_composer.tools.telling import SHARE, Telling, counted, listed
from src.causal_engine.study import FloatArray, IntArray
from src.causal_engine.wording import number, plain
from src.domain.findings import StatementKind
from src.domain.small_cells import SMALLEST_CELL
from src.errors import DataUnavailable

LEVEL = 0.05


class DistributionComparatorArguments(ComparingArguments):
    """Columns of two periods or two segments, compared in means, medians and whole distributions."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Current minus reference, with its 95 % interval and p value."""

    reference: float
    current: float
    difference: float
    lower: float
    upper: float
    p_value: float


@dataclass(frozen=True, slots=True)
class NumberComparison:
    """A numeric column in two groups; ``effect_size`` is Cohen's d, ``ks`` the largest distance of the distribution
    functions. P values are adjusted for all tests made together. ``n``: rows of the reference and of the current."""

    column: str
    mean: Difference
    median: Difference
    effect_size: float
    ks: float
    ks_p_value: float
    n: tuple[int, int]

    @property
    def differs(self) -> bool:
        """Whether means or distributions differ by more than chance."""
        return min(self.mean.p_value, self.ks_p_value) < LEVEL


@dataclass(frozen=True, slots=True)
class LevelComparison:
    """A column of levels in two groups: Pearson's χ² and Cramér's V, and the level whose share moved the most.

    ``level`` is empty where every level that could be named describes too few units.
    """

    column: str
    chi_square: float
    p_value: float
    effect_size: float
    level: str
    share_reference: float
    share_current: float
    n: tuple[int, int]

    @property
    def differs(self) -> bool:
        """Whether the shares differ by more than chance."""
        return self.p_value < LEVEL


Comparison = NumberComparison | LevelComparison


def compute(inputs: ToolInputs, arguments: DistributionComparatorArguments) -> ToolOutput:
    """Compare each column; rows of one unit (prescriber) count as one draw, p values hold for all columns together.

    Raises DataUnavailable (also for a column without values), ContractViolation and TooFewRows.
    """
    groups = two_groups(inputs, arguments)
    rng = np.random.default_rng(inputs.context.random_state)
    found: list[Comparison] = []
    for name in groups.columns:
        compare = compare_numbers if is_number(groups.frame[name]) else compare_levels
        found.append(compare(groups, name, rng))
    return _told(inputs, groups, adjusted(found))


def compare_numbers(groups: TwoGroups, name: str, rng: np.random.Generator) -> NumberComparison:
    """Means (Welch 1947 where no unit repeats), medians by bootstrap, Kolmogorov and Smirnov's distance."""
    kept, values = _present(groups, groups.frame[name])
    level, edges = coarse_levels(values)
    counts = level_counts(kept, level, len(edges), rng)
    gap = np.abs(np.cumsum(shares(counts.current) - shares(counts.reference))).max()
    chance = counts.chance(lambda shift, _: np.asarray(np.abs(np.cumsum(shift, axis=-1)).max(axis=-1)))
    exceeded = int((chance >= gap - 1e-12).sum())
    reference, current = values[~kept.current], values[kept.current]
    return NumberComparison(
        column=name,
        mean=mean_difference(values, kept.current, kept.unit),
        median=_median_difference(
            (float(np.median(reference)), float(np.median(current))),
            _medians(counts.drawn_reference, edges),
            _medians(counts.drawn_current, edges),
        ),
        effect_size=_cohen(reference, current),
        ks=_ks(reference, current),
        ks_p_value=1.0 if gap <= 1e-12 else (1 + exceeded) / (1 + len(chance)),
        n=(len(reference), len(current)),
    )


def mean_difference(values: FloatArray, current: np.ndarray, unit: IntArray) -> Difference:
    """Difference of means; the influence of each row is summed over its unit before it is squared (Liang and Zeger
    1986). Where no unit is in both groups, variances and degrees of freedom are Welch's (1947)."""
    from scipy.stats import t as student

    means, parts, sizes = [], [], []
    n_units = int(unit.max()) + 1
    for side in (~current, current):
        mean = float(values[side].mean())
        influence = np.bincount(unit[side], (values[side] - mean) / side.sum(), minlength=n_units)
        means.append(mean)
        parts.append(influence)
        sizes.append(len(np.unique(unit[side])))
    in_both = np.intersect1d(unit[~current], unit[current]).size > 0
    if in_both:
        g = len(np.unique(unit))
        variance, freedom = g / (g - 1) * float(((parts[1] - parts[0]) ** 2).sum()), float(g - 1)
    else:
        each = [g / (g - 1) * float((part**2).sum()) for g, part in zip(sizes, parts, strict=True)]
        variance = sum(each)
        below = sum(part**2 / (g - 1) for g, part in zip(sizes, each, strict=True))
        freedom = variance**2 / below if below > 0 else float(min(sizes) - 1)
    gap, error = means[1] - means[0], float(np.sqrt(variance))
    reach = float(student.ppf(0.975, freedom)) * error
    p = float(2 * student.sf(abs(gap) / error, freedom)) if error > 0 else float(gap == 0)
    return Difference(means[0], means[1], gap, gap - reach, gap + reach, p)


def compare_levels(groups: TwoGroups, name: str, rng: np.random.Generator) -> LevelComparison:
    """Pearson's χ² of two groups and the levels; its chance level comes from resampled units."""
    series = groups.frame[name].astype(object)
    codes, known = pd.factorize(series.where(series.notna(), "(missing)").astype(str), sort=True)
    counts = level_counts(groups, np.asarray(codes, dtype=np.int64), len(known), rng)
    n = float(counts.reference.sum()), float(counts.current.sum())
    weight = n[0] * n[1] / (n[0] + n[1])

    def distance(gap: FloatArray, pooled: FloatArray) -> FloatArray:
        return np.asarray(weight * (gap**2 / np.where(pooled > 0, pooled, 1)).sum(axis=-1))

    p, q = shares(counts.reference), shares(counts.current)
    chi_square = float(distance(q - p, shares(counts.reference + counts.current)))
    p_value, _ = tail_probability(chi_square, counts.chance(distance))
    named = _namable(groups, np.asarray(codes, dtype=np.int64), len(known))
    moved = int(np.argmax(np.where(named, np.abs(q - p), -1.0)))
    level = str(known[moved]) if named[moved] else ""
    size = float(np.sqrt(chi_square / sum(n)))
    return LevelComparison(
        name, chi_square, p_value, size, level, float(p[moved]), float(q[moved]), (int(n[0]), int(n[1]))
    )


def adjusted(found: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with p values adjusted for all tests together (Benjamini and Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    raw = [p for one in found for p in _p_values(one)]
    values = iter(float(p) for p in false_discovery_control(raw))
    result: list[Comparison] = []
    for one in found:
        if isinstance(one, LevelComparison):
            result.append(replace(one, p_value=next(values)))
        else:
            result.append(replace(one, mean=replace(one.mean, p_value=next(values)), ks_p_value=next(values)))
    return result


def _p_values(one: Comparison) -> tuple[float, ...]:
    return (one.p_value,) if isinstance(one, LevelComparison) else (one.mean.p_value, one.ks_p_value)


def _present(groups: TwoGroups, series: pd.Series) -> tuple[TwoGroups, FloatArray]:
    """The rows that have a value. Raises DataUnavailable where a group has none, or a single unit with one."""
    there = series.notna().to_numpy()
    if there.all():
        return groups, series.to_numpy(dtype=np.float64)
    unit = np.asarray(np.unique(groups.unit[there], return_inverse=True)[1], dtype=np.int64)
    kept = replace(groups, frame=groups.frame.loc[there], current=groups.current[there], unit=unit)
    if min(kept.units) < SMALLEST_CELL:
        raise DataUnavailable(
            f"'{series.name}' has values for fewer than {SMALLEST_CELL} units of a group; leave the column out"
        )
    return kept, series.to_numpy(dtype=np.float64)[there]


def _ks(reference: FloatArray, current: FloatArray) -> float:
    points = np.unique(np.concatenate([reference, current]))
    below = [np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (reference, current)]
    return float(np.abs(below[1] - below[0]).max())


def _cohen(reference: FloatArray, current: FloatArray) -> float:
    """Difference of means over the pooled standard deviation (Cohen 1988); 0 where nothing varies."""
    n = len(reference), len(current)
    pooled = ((n[0] - 1) * reference.var(ddof=1) + (n[1] - 1) * current.var(ddof=1)) / (sum(n) - 2)
    return float((current.mean() - reference.mean()) / np.sqrt(pooled)) if pooled > 0 else 0.0


def _medians(counts: FloatArray, values: FloatArray) -> FloatArray:
    """Median of each row of counts, shape (draws,)."""
    reached = np.cumsum(counts, axis=1) >= counts.sum(axis=1, keepdims=True) / 2
    return np.asarray(values[reached.argmax(axis=1)], dtype=np.float64)


def _median_difference(medians: tuple[float, float], reference: FloatArray, current: FloatArray) -> Difference:
    gap = medians[1] - medians[0]
    low, high = np.quantile(current - reference, [0.025, 0.975])
    return Difference(*medians, gap, min(float(low), gap), max(float(high), gap), float("nan"))


def _namable(groups: TwoGroups, codes: IntArray, n_levels: int) -> np.ndarray:
    """Levels that eleven units or more have in each of the groups."""
    enough = np.ones(n_levels, dtype=np.bool_)
    for side in (~groups.current, groups.current):
        pairs = np.unique(np.column_stack([codes[side], groups.unit[side]]), axis=0)
        enough &= np.bincount(pairs[:, 0], minlength=n_levels) >= SMALLEST_CELL
    return enough


def _told(inputs: ToolInputs, groups: TwoGroups, found: list[Comparison]) -> ToolOutput:
    telling = Telling(inputs)
    n_reference, n_current = groups.units
    noun = "prescribers" if groups.by_unit else "rows"
    telling.figure("units in the reference", n_reference, noun)
    telling.figure("units judged", n_current, noun)
    worded = {one.column: _words(telling, one) for one in found}
    for one in found:
        if one.differs:
            telling.say(StatementKind.FINDING, f"{worded[one.column]}.")
    alike = [one.column for one in found if not one.differs]
    if alike:
        telling.say(StatementKind.FINDING, f"No difference beyond chance was found in {listed(alike)}.")
    telling.say(
        StatementKind.CAVEAT,
        f"{groups.current_label} and {groups.reference_label} may differ in more than what is compared; a difference "
        "alone does not say why it is there.",
    )
    if groups.left_out:
        telling.say(StatementKind.CAVEAT, f"Left out, because they only count the time: {listed(groups.left_out)}.")
    return telling.output(_summary(telling, groups, found, worded), [_row(groups, one) for one in found],
                          len(groups.frame))  # fmt: skip


def _words(telling: Telling, one: Comparison) -> str:
    name = plain(one.column)
    if isinstance(one, LevelComparison):
        telling.figure(f"effect size of {name} (Cramér's V)", one.effect_size, "")
        if not one.level:
            return f"The shares of {name} differ (Cramér's V {number(one.effect_size)})"
        before = telling.figure(f"share of {name} {one.level}, reference", one.share_reference, SHARE)
        now = telling.figure(f"share of {name} {one.level}, current", one.share_current, SHARE)
        size = number(one.effect_size)
        return f"The shares of {name} differ (Cramér's V {size}), most of {one.level}: {now} against {before}"
    mean = one.mean
    telling.figure(f"mean {name}, reference", mean.reference, "")
    telling.figure(f"mean {name}, current", mean.current, "")
    gap = telling.figure(f"difference in mean {name}", mean.difference, "", mean.lower, mean.upper)
    telling.figure(f"difference in median {name}", one.median.difference, "", one.median.lower, one.median.upper)
    telling.figure(f"effect size of {name} (Cohen's d)", one.effect_size, "")
    telling.figure(f"distance of the distributions of {name} (KS)", one.ks, "")
    shape = "" if mean.p_value < LEVEL else "; the means are alike, the distributions are not"
    return f"Mean {name} is {number(mean.current)} against {number(mean.reference)}, a difference of {gap}{shape}"


def _summary(telling: Telling, groups: TwoGroups, found: list[Comparison], worded: dict[str, str]) -> str:
    different = sorted((one for one in found if one.differs), key=lambda one: -abs(one.effect_size))
    telling.figure("columns compared", len(found), "columns")
    telling.figure("columns that differ", len(different), "columns")
    compared, pair = (
        counted(len(found), "column", "columns"),
        f"{groups.current_label} against {groups.reference_label}",
    )
    if not different:
        return f"No difference beyond chance in {compared} ({pair})."
    top = worded[different[0].column]
    return f"{len(different)} of {compared} differ ({pair}); the largest: {top[0].lower()}{top[1:]}."


def _row(groups: TwoGroups, one: Comparison) -> dict[str, Any]:
    common = {
        "column": one.column,
        "effect_size": one.effect_size,
        "differs": one.differs,
        "current": groups.current_label,
        "reference": groups.reference_label,
        "n_reference": one.n[0],
        "n_current": one.n[1],
    }
    if isinstance(one, LevelComparison):
        return {**common, "test": "chi-square", "statistic": one.chi_square, "p_value": one.p_value}
    return {
        **common,
        "test": "means and distributions",
        "mean_reference": one.mean.reference,
        "mean_current": one.mean.current,
        "difference": one.mean.difference,
        "lower": one.mean.lower,
        "upper": one.mean.upper,
        "p_value": one.mean.p_value,
        "median_difference": one.median.difference,
        "median_lower": one.median.lower,
        "median_upper": one.median.upper,
        "statistic": one.ks,
        "ks_p_value": one.ks_p_value,
    }


TOOL = ComposerTool(
    "distribution_comparator",
    "Compares columns between two periods or two segments: means and medians with intervals, whole distributions, "
    "shares of levels, with effect sizes and one false-discovery rate over all columns.",
    DistributionComparatorArguments,
    "panel",
    compute,
)
