"""Which measures does the gate compare, and how far may each fall back?

Scores are better when higher. Criteria of the rubric are in points and have one margin, all other metrics are in 0–1
and have another. Cost is in dollars where prices are known of as
many answers as tokens and are not all 0, else in tokens. A latency is only worse where a
person could notice: a tenth of a second more is always allowed (Nielsen 1993, "Usability Engineering", chapter 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from src.domain.improvement import ItemScores
from src.domain.rubric import CRITERIA
from src.optimization.configuration import GateSettings
from src.optimization.gates.pairs import Column, Pairs, Reading

NOTICEABLE_MS = 100.0
# Margins are many times what one answer in fifty, left out, can hide: 2 % of 4 points are less than any of them.
TOLERATED_LOSS = 0.02
MEASURED_SHARE = 0.5
# Fewer answers that could not be measured are a judge's mishap.
LEAST_LOST = 5


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``margin`` is the most that it may lose."""

    name: str
    column: Column
    margin: float

    @property
    def sparse(self) -> bool:
        """Measured on too few answers to carry a bound: context recall, say, where few have a reference."""
        return self.column.n < 2 or self.column.n < MEASURED_SHARE * self.column.questions


@dataclass(frozen=True, slots=True)
class Usage:
    """Cost or latency; ``limit`` is the largest allowed ratio of candidate to baseline."""

    name: str
    column: Column
    unit: str
    limit: float


def target_of(pairs: Pairs) -> Column:
    """What the change is to raise."""
    return pairs.column(lambda one: one.target)


def metrics_of(pairs: Pairs, settings: GateSettings) -> Iterator[Metric]:
    """Everything else that was scored, for either variant."""
    for name in pairs.metric_names:
        margin = settings.criterion_margin if name in CRITERIA else settings.metric_margin
        yield Metric(name, pairs.column(_metric(name)), margin)


def usages_of(pairs: Pairs, settings: GateSettings) -> Iterator[Usage]:
    """Cost and latency, as far as they were measured."""
    units = [(unit, pairs.column(read)) for unit, read in (("dollars", _dollars), ("tokens", _tokens))]
    if used := [(unit, column) for unit, column in units if _used(column)]:
        # Dollars of a few answers say nothing of the others where tokens are known of all.
        unit, column = max(used, key=lambda one: one[1].measured + one[1].unmeasured_candidate)
        yield Usage("cost", column, unit, 1 + settings.cost_margin)
    column = pairs.column(lambda one: one.latency_ms)
    if _used(column):
        mean = float(column.baseline.mean()) if column.n else 0.0
        noticeable = 1 + NOTICEABLE_MS / mean if mean > 0 else 1.0
        yield Usage("latency", column, "ms", max(1 + settings.latency_margin, noticeable))


def evades(column: Column) -> bool:
    """Whether the candidate could not be measured clearly more often than the baseline, or on other answers than it.

    What is lost on one side and found on the other leaves nothing to compare, so it does not make up for one another.
    """
    lost = column.unmeasured_candidate
    more_often = (lost - column.unmeasured_baseline) / max(1, column.answers) > TOLERATED_LOSS
    elsewhere = lost >= LEAST_LOST and lost > MEASURED_SHARE * (column.measured + lost)
    return more_often or elsewhere


def _used(column: Column) -> bool:
    """Whether there is anything to compare or to miss: not where both are unknown or nothing costs anything."""
    values = (column.baseline, column.candidate)
    return column.unmeasured_candidate > 0 or (column.n > 0 and any(one.max() > 0 for one in values))


def _metric(name: str) -> Reading:
    return lambda one: one.metrics.get(name)


def _dollars(one: ItemScores) -> float | None:
    return one.cost_dollars


def _tokens(one: ItemScores) -> float | None:
    return None if one.tokens is None else float(one.tokens)
