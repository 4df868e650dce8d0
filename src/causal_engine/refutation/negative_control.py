"""Does the treatment seem to affect an outcome that it cannot affect?"""

from __future__ import annotations

from dataclasses import replace

from src.causal_engine.refutation.subject import Subject
from src.causal_engine.results import RefutationTest
from src.causal_engine.study import prepare_study
from src.errors import EstimationError

NAME = "negative_control_outcome"
LEVEL = 0.05


def negative_control_outcome(subject: Subject, control: str, n_controls: int) -> RefutationTest:
    """Estimate the effect on ``control`` in place of the outcome (Lipsitch, Tchetgen Tchetgen & Cohen 2010).

    Passes when it is not significant at 5 % divided by the number of controls; an effect that cannot
    be estimated fails. Raises StudyInvalid
    when the control is not an analysable outcome, UnknownColumn when the study does not hold it.
    """
    study = subject.study
    others = tuple(name for name in study.spec.negative_controls if name != control)
    spec = replace(study.spec, outcome=control, negative_controls=others, treated_value=None, control_value=None)
    controlled = prepare_study(study.frame, spec)
    name, threshold = f"{NAME}:{control}", LEVEL / n_controls
    try:
        estimate = subject.refit(controlled).estimate
    except EstimationError as error:
        detail = f"the effect on {control} could not be estimated ({error})"
        return RefutationTest(name, True, 0.0, True, False, None, threshold, detail)
    detail = (
        f"effect on {control}, which {study.spec.treatment} cannot have: {estimate.value:.3g} "
        f"[{estimate.ci.lower:.3g}, {estimate.ci.upper:.3g}], p = {estimate.p_value:.2g}"
    )
    passed = estimate.p_value >= threshold
    return RefutationTest(name, True, 0.0, True, passed, estimate.p_value, threshold, detail, 1)
