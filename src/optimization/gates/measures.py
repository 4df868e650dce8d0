"""Which measures does the gate compare, and how far may each fall back?

Scores are better when higher. Criteria of the rubric are in points and have one margin, all other metrics are in 0–1
and have another. Cost is in dollars where a price is known and not 0, else in tokens. A latency is only worse where a
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
    for unit, read in (("dollars", _dollars), ("tokens", _tokens)):
        column = pairs.column(read)
        if _used(column):
            yield Usage("cost", column, unit, 1 + settings.cost_margin)
            break
    column = pairs.column(lambda one: one.latency_ms)
    if _used(column):
        mean = float(column.baseline.mean()) if column.n else 0.0
        noticeable = 1 + NOTICEABLE_MS / mean if mean > 0 else 1.0
        yield Usage("latency", column, "ms", max(1 + settings.latency_margin, noticeable))


def lost_share(column: Column) -> float:
    """By how much of the answers the candidate could not be measured more often than the baseline."""
    return max(0, column.unmeasured_candidate - column.unmeasured_baseline) / max(1, column.answers)


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
