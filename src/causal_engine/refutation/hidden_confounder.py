"""Would an unmeasured confounder of plausible strength explain the estimate away?"""

from __future__ import annotations

from src.causal_engine.refutation.subject import Subject
from src.causal_engine.results import RefutationTest
from src.causal_engine.sensitivity.evalue import e_values_of
from src.causal_engine.sensitivity.partial import partialled_design
from src.causal_engine.sensitivity.report import robustness_values
from src.causal_engine.sensitivity.robustness import measured_strengths, scale_of
from src.causal_engine.spec import CausalSpec, Design

NAME = "sensitivity_e_value"
WEIGHT = 0.20
THRESHOLD = 2.0
SHARE_OF_STRONGEST = 0.5


def sensitivity_e_value(subject: Subject) -> RefutationTest:
    """E-value of the interval's end nearest zero, at least 2.

    An E-value is a monotone function of the size of the effect, so a small true effect would always
    fail. The test also passes when the robustness value of the interval is at least half the lesser
    partial R² (with treatment, with outcome) of the strongest measured confounder: what is hidden
    would have to rival what is known. Applies to observational designs whose interval excludes 0.
    """
    design = design_of(subject.study.spec, subject.estimate.estimator)
    if design is not Design.OBSERVATIONAL:
        return _not_applicable(f"the design ({design.value.replace('_', ' ')}) does not rest on measured confounders")
    if subject.estimate.ci.covers(0.0):
        return _not_applicable("the interval covers no effect; there is nothing to explain away")
    values = e_values_of(subject.study, subject.estimate)
    detail = f"E-value of the interval {values.limit:.2f} (estimate {values.point:.2f})"
    partialled = partialled_design(subject.study, design)
    strengths = measured_strengths(partialled)
    rivals = False
    if strengths:
        strongest = strengths[0]
        _, limit = robustness_values(subject.estimate, scale_of(partialled))
        yardstick = SHARE_OF_STRONGEST * min(strongest.r2_treatment, strongest.r2_outcome)
        rivals = limit >= yardstick
        detail += (
            f"; robustness value of the interval {limit:.3f} {'≥' if rivals else '<'} {yardstick:.3f}, half the "
            f"partial R² of {strongest.covariate}, the strongest measured confounder (either is enough)"
        )
    passed = values.limit >= THRESHOLD or rivals
    return RefutationTest(NAME, True, WEIGHT, True, passed, values.limit, THRESHOLD, detail)


def design_of(spec: CausalSpec, estimator: str) -> Design:
    """The design an estimate rests on."""
    if spec.randomized:
        return Design.RANDOMIZED
    if estimator in ("rdd", "fuzzy_rdd"):
        return Design.DISCONTINUITY
    if estimator in ("iv_2sls", "anderson_rubin"):
        return Design.INSTRUMENT
    if estimator == "front_door":
        return Design.FRONT_DOOR
    return Design.PANEL if spec.is_panel else Design.OBSERVATIONAL


def _not_applicable(detail: str) -> RefutationTest:
    return RefutationTest(NAME, True, WEIGHT, False, None, None, THRESHOLD, detail)
