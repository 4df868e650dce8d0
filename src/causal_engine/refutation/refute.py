"""Can the estimate be broken on its own data?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.refutation import discontinuity
from src.causal_engine.refutation.common_cause import random_common_cause
from src.causal_engine.refutation.gate import decide, score_of
from src.causal_engine.refutation.hidden_confounder import sensitivity_e_value
from src.causal_engine.refutation.linear_form import linear_form
from src.causal_engine.refutation.negative_control import negative_control_outcome
from src.causal_engine.refutation.placebo import placebo_treatment
from src.causal_engine.refutation.resampling import bootstrap
from src.causal_engine.refutation.subject import Refit, Subject, same_estimator
from src.causal_engine.refutation.subset import data_subset
from src.causal_engine.results import RefutationReport
from src.causal_engine.study import Study


def refute(
    study: Study,
    fitted: FittedEffect,
    *,
    random_state: int,
    negative_controls: Sequence[str] = (),
    time_budget_s: float | None = None,
    refit: Refit | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RefutationReport:
    """Try to break ``fitted`` by re-estimating on ``study`` with the same estimator.

    Tests: placebo treatment, random common cause, data subset, bootstrap, E-value, and the effect on
    each negative control (those given and those of the study); at a cutoff the tests of that design
    instead of the first five. Each test has its own generator seeded from ``random_state``, so the
    report is the same in every process. ``time_budget_s`` stops early after the minimum of draws, which
    are counted in each test; leave it None where the report must repeat bit for bit. ``refit`` replaces
    the registered estimator of that name.

    Passing is no evidence that nothing was left out: no re-estimation sees an omitted cause.
    """
    subject = Subject(
        study,
        fitted,
        refit or same_estimator(fitted),
        linear_form(study, fitted.estimate) if refit is None else None,
        None if time_budget_s is None else clock() + time_budget_s,
        clock,
    )
    controls = tuple(dict.fromkeys((*study.spec.negative_controls, *negative_controls)))
    streams = [np.random.default_rng([random_state, position]) for position in range(4)]
    if fitted.estimate.estimator in discontinuity.ESTIMATORS:
        tests = discontinuity.discontinuity_tests(subject)
        tests += tuple(negative_control_outcome(subject, control, len(controls)) for control in controls)
        gate, reasons = decide(tests, fitted.estimate)
        return RefutationReport(tests, score_of(tests), gate, reasons, random_state)
    tests = (
        placebo_treatment(subject, streams[0]),
        random_common_cause(subject, streams[1]),
        data_subset(subject, streams[2]),
        bootstrap(subject, streams[3]),
        sensitivity_e_value(subject),
        *(negative_control_outcome(subject, control, len(controls)) for control in controls),
    )
    gate, reasons = decide(tests, fitted.estimate)
    return RefutationReport(tests, score_of(tests), gate, reasons, random_state)
