"""What may be said about differences between effects, and what may not?"""

from __future__ import annotations

import math

from src.causal_engine.heterogeneity.report import Bounded, HeterogeneityReport
from src.causal_engine.wording import number, plain

NOT_SHOWN = (
    "Not finding differences is not finding that there are none; it is a reason to plan with one effect for everybody."
)


def heterogeneity_findings(report: HeterogeneityReport | None, *, causal: bool = True) -> tuple[str, ...]:
    """One or two sentences; that effects differ is said only where the tests found it.

    Without ``causal`` (the average is association only) differences are no effects either, and no rule is praised.
    """
    if report is None:
        return ()
    if report.refusal is not None:
        return (f"Effects of single units were not estimated: {report.refusal.rstrip('.')}.",)
    lines = [claim_sentence(report, causal=causal)]
    if not causal:
        return tuple(lines)
    best = report.policies[0] if report.policies else None
    everybody = report.policies[1] if len(report.policies) > 1 else None
    if report.found and best is not None and everybody is not None and everybody.rule_minus is not None:
        lines.append(
            f"Against “{everybody.name}”, “{best.name}” is {advantage(everybody.rule_minus)}{_in_money(report)}."
        )
    return tuple(lines)


def heterogeneity_limits(report: HeterogeneityReport | None) -> tuple[str, ...]:
    """What the numbers about single effects do not say."""
    if report is None or report.refusal is not None:
        return ()
    lines = [] if report.found else [NOT_SHOWN]
    lines.append(
        "Differences between effects rest on the same assumptions as the average effect; a group may differ "
        "because of what goes with it, not because of what defines it."
    )
    return (*lines, *report.notes)


def _in_money(report: HeterogeneityReport) -> str:
    return "" if report.cost_per_unit is None else ", in money, net of the cost of treatment"


def claim_sentence(report: HeterogeneityReport, *, causal: bool = True) -> str:
    """Whether effects (without ``causal``: adjusted contrasts) differ, with the numbers it is said on."""
    calibration = report.calibration
    if report.p_value is None:
        return "Whether effects differ between units was not tested."
    measured = "no difference was predicted"
    if calibration is not None:
        measured = f"calibration slope {bounds(calibration.slope)}, {chance(calibration.p_value)}"
    if report.segment_test is not None and report.modifiers_named:
        measured += f"; largest segment difference, {chance(report.segment_test.p_value)}"
        measured += f"; together {chance(report.p_value)}"
    if not causal:
        differ = "differs between units" if report.found else "was not found to differ between units"
        return f"The adjusted contrast {differ} ({measured}); like the average, this is association only."
    if report.found:
        return f"The estimated effects differ between units ({measured})."
    return f"No difference between the effects of units was found ({measured})."


def bounds(value: Bounded) -> str:
    """Value and 95 % limits."""
    return f"{number(value.value)} (95 % interval {number(value.lower)} to {number(value.upper)})"


def chance(p_value: float) -> str:
    """A p-value in words."""
    if not math.isfinite(p_value):
        return "p not available"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def advantage(difference: Bounded) -> str:
    """How a rule compares with another, no more certain than the interval."""
    if difference.lower > 0.0:
        return f"better by {bounds(difference)} per unit"
    if difference.upper < 0.0:
        return f"worse by {bounds(Bounded(-difference.value, -difference.upper, -difference.lower))} per unit"
    return f"not shown to be better ({bounds(difference)} per unit)"


def segment_words(column: str, segment: str) -> str:
    """A segment as a reader calls it."""
    return f"{plain(column)}: {segment}"
