"""Does the estimator find an effect of a treatment that cannot have one?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from src.causal_engine.refutation.linear_form import DRAWN
from src.causal_engine.refutation.permutation import Scheme, permuted_rows, permuted_treatment, scheme_of
from src.causal_engine.refutation.subject import Refits, Subject
from src.causal_engine.results import RefutationTest
from src.causal_engine.study import FloatArray, Study

NAME = "placebo_treatment"
WEIGHT = 0.25
DRAWS_CLOSED, DRAWS_REFITTED, LEAST_REFITTED = 100, 20, 10


def placebo_treatment(subject: Subject, rng: np.random.Generator) -> RefutationTest:
    """Exchange the treatment between units and estimate again.

    Passes when 0 lies within the central 95 % of the placebo effects and their mean is at most
    max(.2·|effect|, 1 standard error). Propensities are estimated anew for each placebo. With an
    instrument, treatment and instrument move together, so that the first stage stays as strong.
    """
    scheme = scheme_of(subject.study, subject.estimate.estimator)
    refits = _effects(subject, scheme, rng)
    if not refits.usable:
        return _result(False, None, subject.tolerance, f"the placebo could not be estimated{refits.note}", 0)
    mean = float(refits.effects.mean())
    lower, upper = (float(end) for end in np.quantile(refits.effects, [0.025, 0.975]))
    passed = lower <= 0.0 <= upper and abs(mean) <= subject.tolerance
    moved = "treatment and instrument exchanged together" if subject.study.spec.instruments else "treatment exchanged"
    detail = (
        f"{moved} {scheme.value}: mean placebo effect {mean:.3g}, central 95 % [{lower:.3g}, {upper:.3g}]{refits.note}"
    )
    return _result(passed, mean, subject.tolerance, detail, len(refits.effects))


def _result(passed: bool, statistic: float | None, threshold: float, detail: str, draws: int) -> RefutationTest:
    return RefutationTest(NAME, True, WEIGHT, True, passed, statistic, threshold, detail, draws)


def _effects(subject: Subject, scheme: Scheme, rng: np.random.Generator) -> Refits:
    if subject.form is None:
        studies = (_placebo_study(subject, scheme, rng) for _ in range(DRAWS_REFITTED))
        return subject.refit_all(studies, at_least=LEAST_REFITTED)
    if subject.form.z is not None:
        orders = (permuted_rows(subject.study, scheme, rng) for _ in range(DRAWS_CLOSED))
        return Refits(np.array([subject.form.with_permutation(order) for order in orders]))
    return Refits(np.concatenate(list(_closed(subject, scheme, rng))))


def _closed(subject: Subject, scheme: Scheme, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Closed-form placebo effects, in blocks that fit in memory."""
    form = subject.form
    assert form is not None
    size = max(1, DRAWN // form.n)
    for start in range(0, DRAWS_CLOSED, size):
        draws = range(start, min(start + size, DRAWS_CLOSED))
        yield form.with_treatment(np.stack([permuted_treatment(subject.study, scheme, rng) for _ in draws]))


def _placebo_study(subject: Subject, scheme: Scheme, rng: np.random.Generator) -> Study:
    study = subject.study
    if not study.spec.instruments:
        treatment = permuted_treatment(study, scheme, rng)
        return study.with_frame(study.frame.assign(**{study.spec.treatment: treatment}))
    order = permuted_rows(study, scheme, rng)
    together = [study.spec.treatment, *study.spec.instruments]
    return study.with_frame(study.frame.assign(**{name: study.frame[name].to_numpy()[order] for name in together}))
