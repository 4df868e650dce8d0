"""When has a canary shown enough, and what does it show?

Sessions are assigned at random, so the mean of a session is one observation, and the arms are compared by Welch's
test. There are four planned looks. At each, two one-sided tests are made, both with bounds of O'Brien–Fleming type by
the spending function of Lan and DeMets (1983, equation 6), so that each errs with at most alpha over all looks:

- is the canary worse? Then it ends.
- is it at most ``margin`` worse? Then it is promoted, after the least time and with enough sessions.

What has not shown the second at the last look ends too. The last look is the one at the target, or at the latest hour
with what there is; it spends what is left of alpha. Looks need not be taken at the planned shares exactly: bounds are
computed for the shares at which they were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from src.domain.improvement import ChangeKind
from src.optimization.configuration import CanarySettings

if TYPE_CHECKING:
    import numpy as np

LOOKS = (0.25, 0.5, 0.75, 1.0)

CanaryOutcome = Literal["continue", "promote", "roll_back"]

_NORMAL = NormalDist()
_FARTHEST = 8.0
_POINTS = 601
# Looks with nothing new in between are treated as if there were this much, or their difference had no distribution.
_LEAST_GROWTH = 1.002


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """``difference`` is treatment minus control; ``information``: share of the target, to be kept with the look.

    ``bound`` is z of this look, ``low`` and ``high`` the repeated confidence bounds that go with it (None where an arm
    has fewer than two sessions). ``final``: there is no look after this one.
    """

    outcome: CanaryOutcome
    reason: str
    n_control: int
    n_treatment: int
    information: float
    difference: float | None
    low: float | None
    high: float | None
    bound: float
    final: bool

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def obrien_fleming_bounds(fractions: Sequence[float], alpha: float, two_sided: bool = True) -> tuple[float, ...]:
    """z at each look, with Lan–DeMets spending of O'Brien–Fleming type.

    ``fractions`` of the information, rising, above 0 and at most 1 (ValueError). Two-sided: |z| is compared, alpha is
    for both sides together. Where a fraction spends next to nothing the bound is 8.
    """
    side = alpha / 2 if two_sided else alpha
    return _bounds(tuple(fractions), tuple(_spent(one, side) for one in fractions), two_sided)


def look_due(
    n_control: int, n_treatment: int, settings: CanarySettings, done_looks: Sequence[float], hours: float
) -> bool:
    """Whether a planned look is to be taken now.

    Sessions per arm; ``done_looks``: ``information`` of the looks taken, in order; hours since the canary began. The
    look at the target waits for the least time; before that only the earlier ones are taken.
    """
    if _final(n_control, n_treatment, settings, hours):
        return True
    information = _information(n_control, n_treatment, settings)
    last = done_looks[-1] if done_looks else 0.0
    return any(last < planned <= information for planned in LOOKS[:-1])


def analyse(
    control: Sequence[float],
    treatment: Sequence[float],
    *,
    looks_done: Sequence[float],
    settings: CanarySettings,
    hours: float,
    kind: ChangeKind = ChangeKind.PROMPT,
) -> CanaryVerdict:
    """Take a look: one score per session, hours since the canary began. Call it only when a look is due.

    Raises ValueError for a score that is not finite.
    """
    if not all(map(math.isfinite, [*control, *treatment])):
        raise ValueError("scores of a canary must be finite; what could not be measured is left out")
    n_control, n_treatment = len(control), len(treatment)
    final = _final(n_control, n_treatment, settings, hours)
    information = _information(n_control, n_treatment, settings)
    bound = _bound_now(looks_done, information, settings.alpha, final)
    contrast = _contrast(control, treatment, bound)
    eligible = min(n_control, n_treatment) >= settings.min_items_per_arm and hours >= settings.min_hours
    margin = settings.retrieval_margin if kind is ChangeKind.RETRIEVAL else settings.margin
    outcome, reason = _outcome(contrast, margin, eligible, final, settings)
    difference, low, high = contrast or (None, None, None)
    return CanaryVerdict(
        outcome, reason, n_control, n_treatment, information, difference, low, high, bound, outcome != "continue"
    )


def _outcome(
    contrast: tuple[float, float, float] | None, margin: float, eligible: bool, final: bool, settings: CanarySettings
) -> tuple[CanaryOutcome, str]:
    if contrast is not None:
        difference, low, high = contrast
        shown = f"the canary differs by {difference:.3f} (from {low:.3f} to {high:.3f})"
        if low > -margin and eligible:
            return "promote", f"{shown}: it is not worse by {margin}"
        # A loss that is certainly smaller than the margin is what the margin allows: it is no reason to end early.
        if high < 0 and low <= -margin:
            return "roll_back", f"{shown}: it is worse"
        if final and eligible:
            return "roll_back", f"{shown}: at the last look it may still be worse by {margin}"
        if not final:
            return "continue", shown
    if final:
        needed = f"{settings.min_items_per_arm} sessions in each arm are needed after {settings.max_hours:g} hours"
        return "roll_back", f"too few sessions to show anything: {needed}"
    return "continue", "too few sessions to compare"


def _contrast(control: Sequence[float], treatment: Sequence[float], bound: float) -> tuple[float, float, float] | None:
    """Difference of means with Welch's interval at the nominal level of the bound."""
    from scipy.special import stdtrit

    if min(len(control), len(treatment)) < 2:
        return None
    means, errors = zip(*(_mean_and_error(values) for values in (control, treatment)), strict=True)
    difference, variance = means[1] - means[0], errors[0] + errors[1]
    if variance == 0:
        return difference, difference, difference
    freedom = variance**2 / sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, (control, treatment), strict=True)
    )
    half = -float(stdtrit(freedom, _NORMAL.cdf(-bound))) * math.sqrt(variance)
    return difference, difference - half, difference + half


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its variance; that of equal values is exactly 0."""
    n, mean = len(values), math.fsum(values) / len(values)
    if min(values) == max(values):
        return values[0], 0.0
    return mean, math.fsum((one - mean) ** 2 for one in values) / (n - 1) / n


def _information(n_control: int, n_treatment: int, settings: CanarySettings) -> float:
    """Of the smaller arm: with a constant share of the sessions the information grows in proportion to it."""
    return min(n_control, n_treatment) / settings.target_items


def _final(n_control: int, n_treatment: int, settings: CanarySettings, hours: float) -> bool:
    reached = _information(n_control, n_treatment, settings) >= LOOKS[-1]
    return hours >= settings.max_hours or (reached and hours >= settings.min_hours)


def _bound_now(looks_done: Sequence[float], information: float, alpha: float, final: bool) -> float:
    """The bound of this look, given at which shares the earlier ones were taken."""
    shares: list[float] = []
    spent: list[float] = []
    for place, share in enumerate((*looks_done, information)):
        last = place == len(looks_done)
        shares.append(max(share, shares[-1] * _LEAST_GROWTH if shares else 1e-6))
        # Beyond the target but before the least time: something is kept for the last look.
        now = alpha if last and final else _spent(share if share < LOOKS[-1] else LOOKS[-2], alpha)
        spent.append(max([now, *spent[-1:]]))
    return _bounds(tuple(shares), tuple(spent), two_sided=False)[-1]


def _spent(fraction: float, alpha: float) -> float:
    """One-sided alpha spent up to a fraction of the information."""
    if fraction <= 0:
        return 0.0
    return 2 * _NORMAL.cdf(_NORMAL.inv_cdf(alpha / 2) / math.sqrt(min(fraction, 1.0)))


@lru_cache(maxsize=256)
def _bounds(information: tuple[float, ...], spent: tuple[float, ...], two_sided: bool) -> tuple[float, ...]:
    """Bounds whose probabilities of being crossed first at each look are the increments of ``spent``.

    Recursive numerical integration (Armitage, McPherson and Rowe 1969) of the density of the sum of scores on the
    region in which the trial goes on.
    """
    import numpy as np

    if any(later <= earlier for earlier, later in zip((0.0, *information), information, strict=False)):
        raise ValueError(f"fractions of the information must rise from above 0: {list(information)}")
    bounds: list[float] = []
    grid, weights = np.zeros(1), np.ones(1)
    for now, before, total, was in zip(information, (0.0, *information), spent, (0.0, *spent), strict=False):
        scale = math.sqrt(now - before)
        bound = _solve(grid, weights, scale, math.sqrt(now), total - was)
        bounds.append(bound)
        low = (-bound if two_sided else -_FARTHEST) * math.sqrt(now)
        places = np.linspace(low, bound * math.sqrt(now), _POINTS)
        density = np.exp(-0.5 * ((places[:, None] - grid) / scale) ** 2) @ weights / (scale * math.sqrt(2 * math.pi))
        step = np.full(_POINTS, places[1] - places[0])
        step[[0, -1]] /= 2
        grid, weights = places, density * step
    return tuple(bounds)


def _solve(grid: np.ndarray, weights: np.ndarray, scale: float, root: float, increment: float) -> float:
    """z whose probability of being exceeded now, not before, is the increment; by bisection."""
    from scipy.special import ndtr

    low, high = -_FARTHEST, _FARTHEST
    for _ in range(60):
        middle = (low + high) / 2
        crossed = float(weights @ ndtr((grid - middle * root) / scale))
        low, high = (middle, high) if crossed > increment else (low, middle)
    return (low + high) / 2
