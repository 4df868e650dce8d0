"""Are the answers since a change as good as those before it?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, variance
from typing import Any, Literal

from src.domain.improvement import ChangeKind
from src.optimization.configuration import SafetySettings

MeasuredOutcome = Literal["wait", "confirmed", "roll_back"]

_LEVEL = 0.95
# A drop of exactly the limit counts, whatever the sum of its decimal places says.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Measurement:
    """``outcome_delta``: mean since minus mean before, with its 95 % interval (Welch).

    The delta is None while one side is empty, the interval while one side has fewer than two.
    """

    outcome: MeasuredOutcome
    reason: str
    n_before: int
    n_after: int
    outcome_delta: float | None
    low: float | None
    high: float | None

    @property
    def improved(self) -> bool:
        """Whether the mean rose."""
        return self.outcome_delta is not None and self.outcome_delta > 0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "improved": self.improved}


def measure(
    before: Sequence[float],
    after: Sequence[float],
    *,
    hours: float,
    settings: SafetySettings,
    kind: ChangeKind = ChangeKind.PROMPT,
) -> Measurement:
    """Compare the scores of evaluated answers before and since the activation, ``hours`` ago.

    Rolled back: the mean dropped by the limit, with few answers within the window, with as many as a confirmation
    needs at any time. Confirmed: after the burn-in, with enough answers, without such a drop. Otherwise it waits.
    Raises ValueError for a score that is not finite.
    """
    if not all(map(math.isfinite, [*before, *after])):
        raise ValueError("scores must be finite; what could not be measured is left out")
    if not before or not after:
        side = "before" if not before else "since"
        return Measurement("wait", f"no answers {side} the change", len(before), len(after), None, None, None)
    delta = fmean(after) - fmean(before)
    outcome, reason = _outcome(delta, len(after), hours, settings, kind)
    return Measurement(outcome, reason, len(before), len(after), delta, *_interval(before, after, delta))


def _outcome(
    delta: float, n: int, hours: float, settings: SafetySettings, kind: ChangeKind
) -> tuple[MeasuredOutcome, str]:
    limit = settings.retrieval_rollback_drop if kind is ChangeKind.RETRIEVAL else settings.rollback_drop
    ripe = hours >= settings.burn_in_hours and n >= settings.min_measure_samples
    early = hours <= settings.rollback_window_hours and n >= settings.min_rollback_samples
    changed = f"the mean of {n} answers since the change differs by {delta:+.3f}"
    if -delta >= limit - _ROUNDING and (early or ripe):
        return "roll_back", f"{changed}: a drop of {limit} is undone"
    if ripe:
        return "confirmed", changed
    needed = f"{settings.min_measure_samples} answers and {settings.burn_in_hours:g} hours"
    return "wait", f"{changed}; {needed} are needed, there are {n} and {hours:.1f}"


def _interval(before: Sequence[float], after: Sequence[float], delta: float) -> tuple[float | None, float | None]:
    from scipy.special import stdtrit

    if min(len(before), len(after)) < 2:
        return None, None
    errors = [variance(values) / len(values) for values in (before, after)]
    if (total := sum(errors)) == 0:
        return delta, delta
    sizes = (len(before), len(after))
    freedom = total**2 / sum(error**2 / (n - 1) for error, n in zip(errors, sizes, strict=True))
    half = float(stdtrit(freedom, (1 + _LEVEL) / 2)) * math.sqrt(total)
    return delta - half, delta + half
