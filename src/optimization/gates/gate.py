"""May a candidate go on to answer people's questions?

It passes when, on questions its maker never saw, all of these hold:

- enough different questions: as many as the power calculation asks for (``plan``), else "insufficient";
- the target's mean gain is at least the least gain and its lower bound is above 0;
- no other metric's lower bound is at or below minus its margin; cost and latency have upper bounds within theirs;
- the text is not longer than allowed, nothing happened that must never happen, and the candidate could be measured as
  often as what is in use.

Not losing more than a margin is shown by a bound, not by a mean: a mean may lie inside by chance. All bounds are at
the same level and all must hold, so none of them needs a correction for the others: a candidate that is no better, or
worse by a margin in anything, passes with at most that probability (intersection–union test, Berger 1982). The price
is the number of questions, which the power calculation therefore computes for all conditions together.

A test that shows neither is repeated with more questions, a few times. Look k has the level alpha / 2^k, so that the
error of all looks together stays below alpha; the last one rejects what it does not pass. Sooner rejected is what is
seen to fall back by more than a margin, or has no longer a chance of the expected gain.

A metric measured on less than half of the questions cannot carry a bound; it stops a candidate only when it fell by
more than its margin and the whole interval is below 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from src.domain.improvement import ChangeKind, ItemScores
from src.optimization.configuration import GateSettings
from src.optimization.gates.evidence import Evidence, gather, refusals, too_long
from src.optimization.gates.measures import target_of
from src.optimization.gates.paired import PairedResult, RatioResult, compare_length
from src.optimization.gates.pairs import pair_up
from src.optimization.gates.plan import alpha_of, plan_test

Outcome = Literal["pass", "reject", "insufficient"]


@dataclass(frozen=True, slots=True)
class Pilot:
    """Both variants on the same validation items, from which the needed number of test questions is computed."""

    baseline: Sequence[ItemScores]
    candidate: Sequence[ItemScores]


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What the test says. ``n`` counts different questions; ``n_needed`` is None where no number would do.

    ``looked`` says whether the scores were compared: only such a verdict uses up a look (and its share of alpha).
    Where nothing was compared, target, cost and latency are None and metrics is empty.
    insufficient: try again with at least ``n_needed`` questions, and with the next look when ``looked``.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    target: PairedResult | None
    metrics: Mapping[str, PairedResult]
    cost: RatioResult | None
    latency: RatioResult | None
    length: RatioResult | None
    n: int
    n_needed: int | None
    look: int
    alpha_used: float
    looked: bool

    def document(self) -> dict[str, Any]:
        """For JSON: the ledger, the record of the action."""
        results = {"target": self.target, "cost": self.cost, "latency": self.latency, "length": self.length}
        return {
            "outcome": self.outcome,
            "reasons": list(self.reasons),
            **{name: one.document() if one else None for name, one in results.items()},
            "metrics": {name: one.document() for name, one in self.metrics.items()},
            "n": self.n,
            "n_needed": self.n_needed,
            "look": self.look,
            "alpha_used": self.alpha_used,
            "looked": self.looked,
        }


def questions_needed(
    pilot: Pilot,
    *,
    kind: ChangeKind,
    settings: GateSettings,
    look: int = 1,
    previous_n: int = 0,
    questions: Mapping[str, str] | None = None,
) -> int | None:
    """How many different test questions a look needs; None where no number does. To be asked before paying for it.

    A pilot of fewer than five questions says nothing about the spread: the answer is then the least number of all.
    """
    pairs = pair_up(pilot.baseline, pilot.candidate, questions)
    return plan_test(pairs, None, kind=kind, settings=settings, look=look, previous_n=previous_n).questions


def decide(
    baseline: Sequence[ItemScores],
    candidate: Sequence[ItemScores],
    *,
    kind: ChangeKind,
    settings: GateSettings,
    pilot: Pilot | None = None,
    look: int = 1,
    previous_n: int = 0,
    baseline_length: int | None = None,
    candidate_length: int | None = None,
    questions: Mapping[str, str] | None = None,
    random_state: int = 0,
) -> GateVerdict:
    """Compare both on the test items.

    look: 1 for the first; ``previous_n``: questions of the look before. questions: item id → question asked, of the
    test's and the pilot's items; items of the same question count as one. Lengths in characters.
    Raises ValueError when the items of both are not the same.
    """
    if look < 1:
        raise ValueError(f"the first look is 1, not {look}")
    pairs = pair_up(baseline, candidate, questions)
    earlier = pair_up(pilot.baseline, pilot.candidate, questions) if pilot else None
    length = _length(baseline_length, candidate_length, settings)
    plans = partial(plan_test, earlier, pairs, kind=kind, settings=settings)
    needed = plans(look=look, previous_n=previous_n)
    n, level = target_of(pairs).n, alpha_of(look, settings)
    verdict = partial(_verdict, n=n, look=look, level=level, length=length)
    if look > settings.max_looks:
        return verdict("reject", [f"the test items were looked at {settings.max_looks} times already"], None, None)
    refused = [*refusals(pairs, settings), *too_long(length)]
    if not refused and needed.questions is None:
        return verdict("reject", [_hopeless(needed.obstacles)], None, None)
    if not refused and needed.questions is not None and n < needed.questions:
        reason = f"insufficient evidence: {n} different test questions, {needed.questions} are needed"
        return verdict("insufficient", [reason], needed.questions, None)
    evidence = gather(pairs, kind, settings, level, random_state) if n >= 2 else None
    if refused or evidence is None:
        return verdict("reject", refused, needed.questions, evidence)
    outcome, reasons = _outcome(evidence, look, settings)
    if outcome == "insufficient":
        needed = plans(look=look + 1, previous_n=n)
    return verdict(outcome, reasons, needed.questions, evidence)


def _outcome(evidence: Evidence, look: int, settings: GateSettings) -> tuple[Outcome, list[str]]:
    reasons = [one.reason for one in evidence.shortfalls]
    if not reasons:
        return "pass", []
    if any(one.certain for one in evidence.shortfalls):
        return "reject", reasons
    if look == settings.max_looks:
        return "reject", [*reasons, f"look {look} was the last one"]
    return "insufficient", reasons


def _verdict(
    outcome: Outcome,
    reasons: Sequence[str],
    needed: int | None,
    evidence: Evidence | None,
    *,
    n: int,
    look: int,
    level: float,
    length: RatioResult | None,
) -> GateVerdict:
    usages = evidence.usages if evidence else {}
    return GateVerdict(
        outcome=outcome,
        reasons=tuple(reasons),
        target=evidence.target if evidence else None,
        metrics=evidence.metrics if evidence else {},
        cost=usages.get("cost"),
        latency=usages.get("latency"),
        length=length,
        n=n,
        n_needed=needed,
        look=look,
        alpha_used=level,
        looked=evidence is not None,
    )


def _length(baseline: int | None, candidate: int | None, settings: GateSettings) -> RatioResult | None:
    if not baseline or candidate is None:
        return None
    return compare_length(baseline, candidate, limit=1 + settings.length_margin)


def _hopeless(obstacles: Sequence[str]) -> str:
    if obstacles:
        return f"the validation items show more loss than is allowed in: {', '.join(obstacles)}"
    return "no number of questions would show the expected gain: the scores vary too much"
