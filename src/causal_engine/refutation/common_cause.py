"""Does the estimate move when a variable that has nothing to do with anything is adjusted for too?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.refutation.linear_form import DRAWN
from src.causal_engine.refutation.subject import Refits, Subject
from src.causal_engine.results import RefutationTest
from src.causal_engine.study import Study

NAME = "random_common_cause"
WEIGHT = 0.25
DRAWS, DRAWS_CROSS_FITTED = 20, 2
_UNADJUSTED = frozenset({"difference_in_means"})


def random_common_cause(subject: Subject, rng: np.random.Generator) -> RefutationTest:
    """Add an independent standard normal column to the adjustment set and estimate again.

    Passes when the mean change is at most max(.2·|effect|, 1 standard error). Not applicable to an
    estimator that adjusts for nothing.
    """
    if subject.estimate.estimator in _UNADJUSTED:
        detail = "the estimator adjusts for nothing, so one more covariate cannot change it"
        return RefutationTest(NAME, True, WEIGHT, False, None, None, None, detail)
    refits = _effects(subject, rng)
    if not refits.usable:
        detail = f"the effect could not be estimated with a random covariate{refits.note}"
        return RefutationTest(NAME, True, WEIGHT, True, False, None, subject.tolerance, detail)
    change = abs(float(refits.effects.mean()) - subject.estimate.value)
    detail = f"with a random covariate the effect moves by {change:.3g} on average{refits.note}"
    passed = change <= subject.tolerance
    return RefutationTest(NAME, True, WEIGHT, True, passed, change, subject.tolerance, detail, len(refits.effects))


def _effects(subject: Subject, rng: np.random.Generator) -> Refits:
    if subject.form is None:
        draws = DRAWS_CROSS_FITTED if subject.cross_fitted else DRAWS
        return subject.refit_all((_with_cause(subject.study, rng) for _ in range(draws)), at_least=1)
    size = max(1, DRAWN // subject.study.n)
    blocks = [min(size, DRAWS - start) for start in range(0, DRAWS, size)]
    return Refits(np.concatenate([subject.form.with_cause(rng.standard_normal((b, subject.study.n))) for b in blocks]))


def _with_cause(study: Study, rng: np.random.Generator) -> Study:
    name = "random cause"
    while name in study.frame.columns:
        name += "'"
    widened = study.with_frame(study.frame.assign(**{name: rng.standard_normal(study.n)}))
    return widened.with_spec(confounders=(*study.spec.confounders, name))
