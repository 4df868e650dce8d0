"""How strong must something unmeasured be to explain the estimate away, in words?"""

from __future__ import annotations

from src.causal_engine.results import Benchmark, EffectEstimate, SensitivityReport
from src.causal_engine.sensitivity.evalue import EValue, e_values_of
from src.causal_engine.sensitivity.partial import partialled_design
from src.causal_engine.sensitivity.robustness import (
    Scale,
    Strength,
    benchmark,
    measured_strengths,
    multiple_that_overturns,
    robustness_value,
    scale_of,
)
from src.causal_engine.spec import Design
from src.causal_engine.study import Study

BENCHMARKED = 10
LARGEST_MULTIPLE = 10.0
NO_PROOF = "Passing the refutation tests does not prove that nothing was left out."


def sensitivity_report(study: Study, estimate: EffectEstimate, design: Design) -> SensitivityReport:
    """Sensitivity of ``estimate`` to a hidden confounder.

    The robustness values and benchmarks use the linear working model of the study (within units on a
    panel) for what one unit of confounding is worth, and the estimate's own interval. They are
    None/empty for randomised, cutoff, instrument and front-door designs, which do not rest on measuring every
    confounder. ``fragile``: the interval excludes 0, and one as strong as some measured covariate
    would make it cover 0.
    """
    values = e_values_of(study, estimate)
    if design in (Design.RANDOMIZED, Design.INSTRUMENT, Design.FRONT_DOOR, Design.DISCONTINUITY):
        return SensitivityReport(
            values.point, values.limit, values.risk_ratio, None, None, (), False, _not_applicable(study, design)
        )
    partialled = partialled_design(study, design)
    scale, strengths = scale_of(partialled), measured_strengths(partialled)[:BENCHMARKED]
    point, limit = robustness_values(estimate, scale)
    benchmarks = _benchmarks(estimate, scale, strengths)
    detected = not estimate.ci.covers(0.0)
    fragile = detected and any(_explains(one, estimate) for one in benchmarks if one.multiple == 1.0)
    if detected:
        statement = f"{_in_multiples(study, estimate, scale, strengths)} {_in_numbers(values, limit)} {NO_PROOF}"
    else:
        statement = "The interval already covers no effect; there is nothing for a hidden confounder to explain away."
    return SensitivityReport(
        values.point, values.limit, values.risk_ratio, point, limit, benchmarks, fragile, statement
    )


def robustness_values(estimate: EffectEstimate, scale: Scale) -> tuple[float, float]:
    """RV at the estimate and at its interval: strengths that leave no effect, and no detectable effect."""
    half = 0.5 * (estimate.ci.upper - estimate.ci.lower)
    f, f_critical = abs(estimate.value) / scale.scale, half / scale.scale
    return robustness_value(f), robustness_value(f, f_critical)


def _benchmarks(estimate: EffectEstimate, scale: Scale, strengths: tuple[Strength, ...]) -> tuple[Benchmark, ...]:
    """Every measured covariate once, the strongest also two and three times where one so strong can exist."""
    wanted = [(strength, 1.0) for strength in strengths] + [(strengths[0], m) for m in (2.0, 3.0) if strengths]
    found = (benchmark(estimate, scale, strength, multiple) for strength, multiple in wanted)
    return tuple(one for one in found if one is not None and (one.multiple == 1.0 or one.r2_outcome < 1.0))


def _explains(one: Benchmark, estimate: EffectEstimate) -> bool:
    return one.adjusted_ci.covers(0.0) or one.adjusted_estimate * estimate.value < 0


def _in_multiples(study: Study, estimate: EffectEstimate, scale: Scale, strengths: tuple[Strength, ...]) -> str:
    if not strengths:
        return (
            "No measured confounder serves as a yardstick for how strong a hidden one would have to be to explain the "
            f"effect of {study.spec.treatment} away."
        )
    needed = [
        (multiple, strength.covariate)
        for strength in strengths
        if (multiple := multiple_that_overturns(estimate, scale, strength, LARGEST_MULTIPLE)) is not None
    ]
    if not needed:
        return (
            f"Even a hidden confounder {LARGEST_MULTIPLE:.0f} times as strong as {strengths[0].covariate}, the "
            f"strongest measured one, would not explain the effect of {study.spec.treatment} away."
        )
    multiple, covariate = min(needed)
    times = "less than a tenth" if multiple < 0.1 else f"{multiple:.1f} times"
    return (
        f"A hidden confounder {times} as strong as {covariate} would explain the effect of "
        f"{study.spec.treatment} away (the interval would reach zero)."
    )


def _in_numbers(values: EValue, robustness_limit: float) -> str:
    return (
        f"To do so it must raise both the chance of treatment and the outcome by a factor of {values.limit:.2f} beyond "
        f"what is adjusted for (E-value of the interval), or explain {robustness_limit:.1%} of what is left of both."
    )


def _not_applicable(study: Study, design: Design) -> str:
    treatment = study.spec.treatment
    reasons = {
        Design.RANDOMIZED: f"{treatment} was assigned at random, so hidden confounding is ruled out by design; "
        "sensitivity to it does not apply.",
        Design.INSTRUMENT: f"Hidden confounding of {treatment} is allowed for by the instrument; what cannot be "
        "checked is that the instrument works only through the treatment.",
        Design.DISCONTINUITY: f"Hidden confounding of {treatment} is allowed for at the cutoff; what cannot be checked "
        "is that nothing else changes there.",
        Design.FRONT_DOOR: f"Hidden confounding of {treatment} is allowed for; what cannot be checked is that the "
        "mediators carry the whole effect and are not confounded themselves.",
    }
    return f"{reasons[design]} {NO_PROOF}"
