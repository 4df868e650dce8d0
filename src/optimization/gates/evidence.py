"""What do the scores of both variants show, and where do they fall short?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from zlib import crc32

from src.domain.improvement import ChangeKind
from src.optimization.configuration import GateSettings
from src.optimization.gates.measures import Metric, Usage, evades, metrics_of, target_of, usages_of
from src.optimization.gates.paired import PairedResult, RatioResult, compare, compare_ratio
from src.optimization.gates.pairs import Column, Pairs
from src.optimization.gates.plan import gains_of

# A gain of exactly the least counts, whatever the sum of its decimal places says.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A condition that does not hold; ``certain`` when more questions are not expected to change that."""

    reason: str
    certain: bool = True


@dataclass(slots=True)
class Evidence:
    """What the scores show."""

    target: PairedResult | None = None
    metrics: dict[str, PairedResult] = field(default_factory=dict)
    usages: dict[str, RatioResult] = field(default_factory=dict)
    shortfalls: list[Shortfall] = field(default_factory=list)


def refusals(pairs: Pairs, settings: GateSettings) -> Iterator[str]:
    """What no number of questions mends."""
    found: dict[str, list[str]] = {}
    for item_id, problem in pairs.new_problems():
        found.setdefault(problem, []).append(item_id)
    for problem, items in found.items():
        yield f"{problem} (answers that had none of this kind before: {len(items)}, the first of them {items[0]})"
    columns: list[tuple[str, Column]] = [("the target", target_of(pairs))]
    columns += [(one.name, one.column) for one in metrics_of(pairs, settings)]
    columns += [(one.name, one.column) for one in usages_of(pairs, settings)]
    for name, column in columns:
        if evades(column):
            yield (
                f"{name} could not be measured on {column.unmeasured_candidate} of {column.answers} answers of the "
                f"candidate, on {column.unmeasured_baseline} of what is in use"
            )


def too_long(length: RatioResult | None) -> Iterator[str]:
    if length is not None and length.ratio > length.limit:
        yield f"the text is {length.ratio:.2f} times as long as the one in use; at most {length.limit:.2f} is allowed"


def gather(pairs: Pairs, kind: ChangeKind, settings: GateSettings, level: float, random_state: int) -> Evidence:
    """All bounds and the conditions that do not hold. The seed of a measure hangs on its name, not on its place."""
    shown = Evidence()
    gains, draws = gains_of(kind, settings), settings.bootstrap_draws
    shown.target = compare(
        target_of(pairs), level=level, limit=0.0, draws=draws, random_state=_seed("target", random_state)
    )
    shown.shortfalls += _target_shortfalls(shown.target, gains.least, gains.expected)
    for metric in metrics_of(pairs, settings):
        if metric.column.n >= 2:
            seed = _seed(metric.name, random_state)
            result = compare(metric.column, level=level, limit=-metric.margin, draws=draws, random_state=seed)
            shown.metrics[metric.name] = result
            shown.shortfalls += _metric_shortfalls(metric, result)
    for usage in usages_of(pairs, settings):
        if usage.column.n >= 2:
            shown.shortfalls += _usage_shortfalls(usage, shown, level, draws, _seed(usage.name, random_state))
    return shown


def _seed(name: str, random_state: int) -> int:
    return crc32(f"{random_state}:{name}".encode())


def _target_shortfalls(target: PairedResult, least: float, expected: float) -> Iterator[Shortfall]:
    if target.low > 0 and target.difference >= least - _ROUNDING:
        return
    gain = f"the target gained {target.difference:.3f} (at least {target.low:.3f}, at most {target.high:.3f})"
    if target.high < expected:
        yield Shortfall(f"{gain}; the expected {expected} is ruled out")
    elif target.difference < least - _ROUNDING:
        yield Shortfall(f"{gain}; {least} are demanded", certain=False)
    else:
        yield Shortfall(f"{gain}; the lower bound must be above 0", certain=False)


def _metric_shortfalls(metric: Metric, result: PairedResult) -> Iterator[Shortfall]:
    lost = f"{metric.name} changed by {result.difference:.3f} (at worst {result.low:.3f})"
    if metric.sparse:
        if result.difference <= -metric.margin and result.high < 0:
            yield Shortfall(f"{lost}; it may lose {metric.margin}")
    elif result.low <= -metric.margin:
        yield Shortfall(f"{lost}; it may lose {metric.margin}", certain=result.difference <= -metric.margin)


def _usage_shortfalls(usage: Usage, shown: Evidence, level: float, draws: int, seed: int) -> Iterator[Shortfall]:
    column = usage.column
    if column.baseline.max() <= 0:
        yield Shortfall(f"{usage.name}: what is in use needs no {usage.unit}, the candidate does")
        return
    if column.candidate.max() <= 0:
        return
    result = compare_ratio(column, level=level, limit=usage.limit, unit=usage.unit, draws=draws, random_state=seed)
    shown.usages[usage.name] = result
    if result.high > usage.limit:
        times = f"{usage.name} ({usage.unit}) is {result.ratio:.2f} times what it was (at worst {result.high:.2f})"
        yield Shortfall(f"{times}; {usage.limit:.2f} is allowed", certain=result.ratio > usage.limit)
