"""Does a jump at the cutoff stay when the fit looks closer, wider, or elsewhere?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr

from src.causal_engine.diagnostics.density import density_test
from src.causal_engine.diagnostics.discontinuity import covariate_jumps
from src.causal_engine.estimators.discontinuity import Cut, Jump, cut_of, jump_at, jump_uncertainty, switch_direction
from src.causal_engine.estimators.inference import p_value
from src.causal_engine.estimators.local_polynomial import Bandwidths
from src.causal_engine.refutation.subject import Subject
from src.causal_engine.results import RefutationTest
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError

ESTIMATORS = ("rdd", "fuzzy_rdd")
LEVEL = 0.005
MULTIPLES = (0.5, 0.75, 1.5, 2.0)
DONUT = 0.1
Outcome = tuple[float, str]


def discontinuity_tests(subject: Subject) -> tuple[RefutationTest, ...]:
    """The attempts to refute a regression discontinuity.

    Placebo cutoffs (a jump where nothing changes), continuity of the covariates and of the density of
    the running variable at the true one, other bandwidths, and leaving out the units nearest to it.
    Each fails below .5 %, divided by the number of comparisons it makes.
    """
    study = subject.study
    cut = cut_of(study)
    jump = jump_at(cut, _columns(study))
    return (
        _test("placebo_cutoffs", 0.25, True, list(_placebos(study, cut)), "no cutoff with 30 units either side"),
        _test("covariate_continuity", 0.20, True, list(_covariates(study, cut)), "no covariate is named"),
        _test(
            "density_continuity",
            0.20,
            True,
            list(_density(study)),
            "too few units, or distinct values, near the cutoff",
        ),
        _test("bandwidth", 0.20, False, list(_bandwidths(study, cut, jump)), "no other bandwidth can be fitted"),
        _test("donut", 0.15, False, list(_donut(study, cut, jump)), "too few units remain"),
    )


def _test(name: str, weight: float, critical: bool, found: list[Outcome], otherwise: str) -> RefutationTest:
    if not found:
        return RefutationTest(name, critical, weight, False, None, None, None, otherwise)
    threshold = LEVEL / len(found)
    least = min(p for p, _ in found)
    said = "; ".join(words for _, words in found)
    return RefutationTest(name, critical, weight, True, least >= threshold, least, threshold, said, len(found))


def _columns(study: Study) -> FloatArray:
    """Outcome alone where treatment switches for everybody, else outcome and treatment."""
    return study.y[:, None] if switch_direction(study) else np.column_stack([study.y, study.t])


def _effect(jump: Jump) -> tuple[float, FloatArray]:
    if len(jump.value) == 1:
        return float(jump.value[0]), jump.influence[:, 0]
    value = float(jump.value[0] / jump.value[1])
    return value, (jump.influence[:, 0] - value * jump.influence[:, 1]) / float(jump.value[1])


def _placebos(study: Study, cut: Cut) -> Iterator[Outcome]:
    """Jumps of the outcome at the median of either side, on the units of that side only."""
    at = float(study.spec.cutoff or 0.0)
    for side in (cut.left, cut.right):
        rows = np.zeros(study.n, dtype=np.bool_)
        rows[side.rows] = True
        cutoff = at + float(np.median(side.x)) * cut.scale
        try:
            placebo = cut_of(study, cutoff, rows)
            jump = jump_at(placebo, study.y[:, None])
            error = jump_uncertainty(jump.influence[:, 0], placebo)
        except EstimationError:
            continue  # too few units or values beside this cutoff: it is no test
        if error.std_error > 0:
            p = p_value(float(jump.value[0]), error)
            yield p, f"at {cutoff:.4g}: {float(jump.value[0]):.3g} (p = {p:.3g})"


def _covariates(study: Study, cut: Cut) -> Iterator[Outcome]:
    for one in covariate_jumps(study, cut):
        yield one.p_value, f"{one.covariate} jumps by {one.value:.3g} (p = {one.p_value:.3g})"


def _density(study: Study) -> Iterator[Outcome]:
    values = study.frame[str(study.spec.running_variable)].to_numpy(dtype=np.float64)
    found = density_test(values - float(study.spec.cutoff or 0.0))
    if found is not None:
        yield found.p_value, f"density {found.left:.3g} left and {found.right:.3g} right (p = {found.p_value:.3g})"


def _bandwidths(study: Study, cut: Cut, main: Jump) -> Iterator[Outcome]:
    for multiple in MULTIPLES:
        widths = Bandwidths(multiple * main.widths.main, multiple * main.widths.bias)
        if min(int((np.abs(side.x) < widths.main).sum()) for side in (cut.left, cut.right)) < 10:
            continue
        yield _difference(f"{multiple:g} × bandwidth", jump_at(cut, _columns(study), widths), main, cut)


def _donut(study: Study, cut: Cut, main: Jump) -> Iterator[Outcome]:
    distance = study.frame[str(study.spec.running_variable)].to_numpy(dtype=np.float64) - float(
        study.spec.cutoff or 0.0
    )
    outside = np.abs(distance) > DONUT * main.widths.main * cut.scale
    try:
        rest = cut_of(study, rows=outside)
    except EstimationError:
        return
    ratio = cut.scale / rest.scale
    widths = Bandwidths(main.widths.main * ratio, main.widths.bias * ratio)
    yield _difference(
        f"without the units within {DONUT:.0%} of the bandwidth", jump_at(rest, _columns(study), widths), main, cut
    )


def _difference(said: str, other: Jump, main: Jump, cut: Cut) -> Outcome:
    """Hausman-like: both answers estimate the same, so their difference has an error of its own."""
    (there, influence_there), (here, influence_here) = _effect(other), _effect(main)
    error = jump_uncertainty(influence_there - influence_here, cut).std_error
    p = 2.0 * float(ndtr(-abs(there - here) / error)) if error > 0 else 1.0
    return p, f"{said}: {there:.3g} (p of the difference {p:.3g})"
