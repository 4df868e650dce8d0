"""What do the refutation tests allow to be said?"""

from __future__ import annotations

from collections.abc import Sequence

from src.causal_engine.refutation import placebo
from src.causal_engine.results import EffectEstimate, Gate, RefutationTest

PROCEED_FROM, REVIEW_FROM = 0.70, 0.50


def score_of(tests: Sequence[RefutationTest]) -> float | None:
    """Weight of the tests passed over the weight of those that apply; None when none applies."""
    applicable = sum(test.weight for test in tests if test.applicable)
    if applicable == 0:
        return None
    return sum(test.weight for test in tests if test.applicable and test.passed) / applicable


def decide(tests: Sequence[RefutationTest], estimate: EffectEstimate) -> tuple[Gate, tuple[str, ...]]:
    """The gate and what led to it.

    A failed placebo blocks: such an estimator finds effects where there are none. Otherwise an
    interval that covers 0 is "no effect". Of the other critical tests one failure caps at review and
    two block (all negative controls together count as one); the score decides the rest.
    """
    failed = [test for test in tests if test.applicable and not test.passed]
    reasons = tuple(f"{test.name} failed: {test.detail}" for test in failed)
    if any(test.name == placebo.NAME for test in failed):
        return Gate.BLOCK, reasons
    if estimate.ci.covers(0.0):
        return Gate.NO_EFFECT, ("the 95 % interval covers 0: no effect detected", *reasons)
    critical = {test.name.split(":")[0] for test in failed if test.critical}
    score = score_of(tests)
    if len(critical) >= 2 or (score is not None and score < REVIEW_FROM):
        return Gate.BLOCK, reasons
    if critical or score is None or score < PROCEED_FROM:
        return Gate.REVIEW, reasons or ("no refutation test applies to this estimate",)
    return Gate.PROCEED, reasons
