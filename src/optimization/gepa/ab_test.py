"""Which of two versions of a prompt is better? Looked at a few times only, with bounds that keep the error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean, variance
from typing import Any, Literal

from src.domain.improvement import ChangeKind
from src.optimization.gates.sequential import obrien_fleming_bounds
from src.optimization.gepa.configuration import GepaConfig
from src.storage.canaries import Arm, Canary, CanaryRepository, Winner

LOOKS = (0.25, 0.5, 0.75, 1.0)
Decision = Literal["continue", "decided", "undecided"]


@dataclass(frozen=True, slots=True)
class ABAnalysis:
    """What a look showed. ``difference`` is treatment minus control, of the units' mean scores; z against its bound.

    ``looked`` is False where no planned look was due: then nothing was compared. ``undecided``: the test has ended
    without a winner.
    """

    decision: Decision
    winner: Winner | None
    reason: str
    looked: bool
    n_control: int
    n_treatment: int
    information: float
    difference: float | None = None
    z: float | None = None
    bound: float | None = None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "decision": self.decision,
            "winner": self.winner,
            "reason": self.reason,
            "n_control": self.n_control,
            "n_treatment": self.n_treatment,
            "information": self.information,
            "difference": self.difference,
            "z": self.z,
            "bound": self.bound,
        }


class GEPAABTest:
    """A comparison of the prompt in use (control) with a candidate (treatment), kept in the database.

    Sessions are divided, so a session counts once, with its mean score. ``analyze`` compares only at 25, 50, 75 and
    100 % of the target: two-sided O'Brien–Fleming bounds (Lan–DeMets spending) at what was really observed. A winner
    needs ``min_per_arm`` sessions in each arm, ``min_hours`` and a z beyond the bound.
    """

    def __init__(self, repository: CanaryRepository, test: Canary) -> None:
        self._repository = repository
        self.test = test

    @classmethod
    async def start(
        cls,
        repository: CanaryRepository,
        config: GepaConfig,
        *,
        component: str,
        control: int,
        treatment: int,
        at: datetime | None = None,
    ) -> GEPAABTest:
        """Divide the component's sessions from now on, as ``ab_test`` of the configuration says.

        Raises ContractViolation while another test of the component runs.
        """
        settings = config.ab_test
        test = await repository.start(
            component=component,
            kind=ChangeKind.PROMPT,
            control=control,
            treatment=treatment,
            split=settings.split,
            target_samples=settings.target_samples,
            min_per_arm=settings.min_per_arm,
            alpha=settings.alpha,
            min_hours=settings.min_hours,
            max_hours=settings.max_hours,
            at=at,
        )
        return cls(repository, test)

    def assign_variant(self, unit_id: str) -> Arm:
        """The arm of a unit, the same in every process: SHA-256 of "test:unit" modulo 10 000 below the share."""
        return self.test.variant_of(unit_id)

    async def record_observation(
        self, unit_id: str, score: float, *, latency_ms: float | None = None, trace_id: str | None = None
    ) -> bool:
        """Keep the score of an answer of a unit, in the unit's own arm; False where it is kept already."""
        return await self._repository.record(
            self.test.canary_id,
            unit_id,
            variant=self.assign_variant(unit_id),
            score=score,
            latency_ms=latency_ms,
            trace_id=trace_id,
        )

    async def analyze(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ABAnalysis:
        """Take the look that is due, if one is, keep it, and end the test where it decides or the time is over.

        Of two processes that look at once one takes the look; the other sees what came of it.
        """
        self.test = test = await self._repository.get(self.test.canary_id)
        observed = await self._repository.observations(test.canary_id)
        control, treatment = observed.unit_means("control"), observed.unit_means("treatment")
        at = now()
        found = analyse(control, treatment, test, hours=(at - test.started_at) / timedelta(hours=1))
        ended: Winner | None = None if found.decision == "continue" else found.winner or "none"
        if found.looked:
            look, number = {**found.document(), "at": at.isoformat()}, len(test.looks) + 1
            if not await self._repository.add_look(test.canary_id, number, look, winner=ended, at=at):
                return await self.analyze(now)
        elif ended is not None and test.running:
            await self._repository.end(test.canary_id, winner=ended, at=at)
        return found


def analyse(control: Sequence[float], treatment: Sequence[float], test: Canary, *, hours: float) -> ABAnalysis:
    """Pure: what a look at these units' means shows ``hours`` after the test began."""
    n_control, n_treatment = len(control), len(treatment)
    information = min(1.0, (n_control + n_treatment) / test.target_samples)
    over = hours >= test.max_hours
    if not test.running:
        winner: Winner = test.winner or "none"
        return ABAnalysis("decided", winner, "the test has ended", False, n_control, n_treatment, information)

    def without_look(decision: Decision, reason: str) -> ABAnalysis:
        return ABAnalysis(decision, None, reason, False, n_control, n_treatment, information)

    if min(n_control, n_treatment) < max(2, test.min_per_arm):
        few = f"{n_control} and {n_treatment} sessions, {test.min_per_arm} are needed in each arm"
        return without_look("undecided" if over else "continue", few)
    if hours < test.min_hours:
        return without_look("continue", f"{hours:.1f} of at least {test.min_hours:g} hours have passed")
    taken = [float(look["information"]) for look in test.looks]
    if not over and not look_due(information, taken):
        return without_look("continue", f"no look is planned at {information:.0%} of the target")
    return _looked(control, treatment, test, information, taken, over=over)


def look_due(information: float, taken: Sequence[float]) -> bool:
    """Whether a planned share of the target was reached since the last look."""
    last = max(taken, default=0.0)
    return any(last < planned <= information for planned in LOOKS)


def _looked(
    control: Sequence[float],
    treatment: Sequence[float],
    test: Canary,
    information: float,
    taken: Sequence[float],
    *,
    over: bool,
) -> ABAnalysis:
    fractions = [*(one for one in taken if one < information), information]
    bound = obrien_fleming_bounds(fractions, test.alpha, two_sided=True)[-1]
    difference = fmean(treatment) - fmean(control)
    error = math.sqrt(variance(control) / len(control) + variance(treatment) / len(treatment))
    z = difference / error if error else math.copysign(math.inf, difference) if difference else 0.0
    facts = (True, len(control), len(treatment), information, difference, z if math.isfinite(z) else None, bound)
    if abs(z) > bound:
        winner: Winner = "treatment" if z > 0 else "control"
        return ABAnalysis("decided", winner, f"{winner} is better: |z| {abs(z):.2f} above {bound:.2f}", *facts)
    reason = f"|z| {abs(z):.2f} is within {bound:.2f}"
    if information >= 1 or over:
        return ABAnalysis("undecided", None, f"{reason}, and this was the last look", *facts)
    return ABAnalysis("continue", None, reason, *facts)
