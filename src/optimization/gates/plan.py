"""What is to be expected of the test, from what the validation items showed?

Spread comes from the pilot, taken at the upper end of what it may be. The true gain is taken to be the configured one
and every other difference to be 0, unless the pilot's 99 % bounds exclude that: then the bound nearest to it is taken.
So a candidate that gains a lot needs fewer questions, and one that was seen to cost more needs more. The candidate was
chosen on the pilot's items, which flatters it; that costs power, never certainty: what is needed never lets a
candidate through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from src.domain.improvement import ChangeKind
from src.optimization.configuration import GateSettings
from src.optimization.gates.measures import metrics_of, target_of, usages_of
from src.optimization.gates.pairs import Column, Pairs
from src.optimization.gates.power import Condition, needed_items, upper_sd

if TYPE_CHECKING:
    import numpy as np

LEAST_PILOT = 5
PILOT_LEVEL = 0.01
# A further look at hardly more questions would spend alpha on what was seen already.
GROWTH = 1.25


@dataclass(frozen=True, slots=True)
class Gains:
    """Least mean gain and the gain to be found, in the unit of the target of this kind of change."""

    least: float
    expected: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Different questions of the test; None where no number would do, because of the ``obstacles``."""

    questions: int | None
    obstacles: tuple[str, ...] = ()


@dataclass(slots=True)
class _Expected:
    """What was found about each condition in the first source that says enough about it."""

    gain: float
    sd: float | None = None
    others: dict[str, Condition] = field(default_factory=dict)


def gains_of(kind: ChangeKind, settings: GateSettings) -> Gains:
    """Points of the rubric, or nDCG for retrieval."""
    if kind is ChangeKind.RETRIEVAL:
        return Gains(settings.retrieval_min_gain, settings.retrieval_expected_gain)
    return Gains(settings.min_gain, settings.expected_gain)


def alpha_of(look: int, settings: GateSettings) -> float:
    """Error of one look: half of alpha for the first, half of that for the next; together less than alpha."""
    return settings.alpha * 0.5**look


def plan_test(
    pilot: Pairs | None, test: Pairs | None, *, kind: ChangeKind, settings: GateSettings, look: int, previous_n: int
) -> Plan:
    """Questions that a look needs. Without a pilot only the spread of the test is used, never its differences."""
    gains, alpha = gains_of(kind, settings), alpha_of(look, settings)
    expected = _Expected(gains.expected)
    for source, trusted in ((pilot, True), (test, False)):
        if source is not None:
            _learn(expected, source, gains, settings, trusted)
    least = max(settings.min_items, math.ceil(GROWTH * previous_n), math.ceil(math.log2(1 / alpha)))
    if expected.sd is None:
        return Plan(least)
    needed = needed_items(
        expected.sd,
        expected_gain=expected.gain,
        min_gain=gains.least,
        alpha=alpha,
        power=settings.power,
        others=tuple(expected.others.values()),
    )
    if needed is None:
        return Plan(None, tuple(one.name for one in expected.others.values() if one.slack <= 0))
    return Plan(max(least, needed))


def _learn(expected: _Expected, source: Pairs, gains: Gains, settings: GateSettings, trusted: bool) -> None:
    target = target_of(source)
    if expected.sd is None and target.n >= LEAST_PILOT:
        expected.sd = _spread(target.differences)
        expected.gain = _assumed(target.differences, gains.expected) if trusted else gains.expected
    for name, differences, margin, share in _others(source, settings):
        if name not in expected.others and len(differences) >= LEAST_PILOT:
            slack = margin + (_assumed(differences, 0.0, both_sides=True) if trusted else 0.0)
            expected.others[name] = Condition(name, _spread(differences), slack, share)


def _others(source: Pairs, settings: GateSettings) -> Sequence[tuple[str, np.ndarray, float, float]]:
    """Name, differences (higher is better), margin and measured share of every condition but the target's."""
    found = [
        (one.name, one.column.differences, one.margin, one.column.n / one.column.questions)
        for one in metrics_of(source, settings)
        if not one.sparse
    ]
    for usage in usages_of(source, settings):
        if (ratios := _log_ratio_terms(usage.column)) is not None:
            found.append((usage.name, ratios, math.log(usage.limit), usage.column.n / usage.column.questions))
    return found


def _log_ratio_terms(column: Column) -> np.ndarray | None:
    """Values whose mean is −log of the ratio of means and whose spread is that of its linearisation (delta method)."""
    if column.n == 0 or min(column.baseline.mean(), column.candidate.mean()) <= 0:
        return None
    before, after = column.baseline.mean(), column.candidate.mean()
    terms: np.ndarray = column.baseline / before - column.candidate / after - math.log(after / before)
    return terms


def _spread(differences: np.ndarray) -> float:
    return upper_sd(float(differences.std(ddof=1)), len(differences))


def _assumed(differences: np.ndarray, otherwise: float, *, both_sides: bool = False) -> float:
    """The value in advance, or the end of the pilot's interval nearest to it where that excludes it."""
    from scipy.special import stdtrit

    n, mean = len(differences), float(differences.mean())
    half = -float(stdtrit(n - 1, PILOT_LEVEL)) * float(differences.std(ddof=1)) / math.sqrt(n)
    if both_sides and mean + half < otherwise:
        return mean + half
    return max(otherwise, mean - half)
