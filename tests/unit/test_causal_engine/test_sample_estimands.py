"""Is the effect on the units in the data estimated, named and bounded as such?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.app.report.sections.answer import ESTIMANDS
from src.causal_engine.conclusion import Evidence, conclude
from src.causal_engine.estimation import estimate_effect
from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.contrast import fit_difference_in_means
from src.causal_engine.estimators.doubly_robust import fit_aipw, fit_tmle
from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.estimators.splitting import nuisance_uncertainty
from src.causal_engine.identification.identify import identify
from src.causal_engine.refutation.linear_form import linear_form
from src.causal_engine.refutation.subject import same_estimator
from src.causal_engine.results import EffectEstimate
from src.causal_engine.serialise import from_json, to_json
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study

N = 300


def frame(seed: int = 1, n: int = N, spread: float = 3.0) -> pd.DataFrame:
    """Linear confounding and an effect 1 + spread·b, b standard normal: units differ a lot."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    t = (rng.random(n) < 1 / (1 + np.exp(-0.7 * a))).astype(float)
    y = a + b + t * (1 + spread * b) + rng.standard_normal(n)
    return pd.DataFrame({"t": t, "y": y, "a": a, "b": b, "group": np.where(b > 0, "high", "low")})


def study(estimand: Estimand, data: pd.DataFrame | None = None, **roles: object) -> Study:
    spec = CausalSpec("t", "y", ("a", "b"), estimand=estimand, **roles)  # type: ignore[arg-type]
    return prepare_study(frame() if data is None else data, spec)


def known(data: pd.DataFrame, spread: float = 3.0) -> Nuisances:
    """The true nuisances of ``frame``; no learner estimated them."""
    a, b = data["a"].to_numpy(), data["b"].to_numpy()
    e, control = 1 / (1 + np.exp(-0.7 * a)), a + b
    treated = control + 1 + spread * b
    return Nuisances(e, control + e * (treated - control), control, treated, ())


@pytest.mark.parametrize("fit", [fit_aipw, fit_tmle])
@pytest.mark.parametrize(("sample", "population"), [(Estimand.SATE, Estimand.ATE), (Estimand.SATT, Estimand.ATT)])
def test_the_sample_has_the_populations_estimate_and_a_narrower_interval(fit, sample, population) -> None:
    on_sample, on_population = (fit(study(estimand)).estimate for estimand in (sample, population))
    assert (on_sample.estimand, on_population.estimand) == (sample, population)
    assert on_sample.value == pytest.approx(on_population.value, rel=1e-12)
    # Effects with sd 3 over 300 units: their sampling is most of the population's uncertainty.
    assert on_sample.std_error < 0.8 * on_population.std_error
    assert "given the units" in on_sample.se_method


def test_the_variance_given_the_units_is_that_of_the_weighted_residuals() -> None:
    data = frame()
    nuisances = known(data)
    fitted = fit_aipw(study(Estimand.SATE, data), nuisances)
    t, y, e = data["t"], data["y"], nuisances.propensity
    residuals = np.where(t == 1, (y - nuisances.outcome_treated) / e, -(y - nuisances.outcome_control) / (1 - e))
    assert fitted.estimate.std_error == pytest.approx(np.sqrt((residuals**2).sum()) / N, rel=1e-9)
    treated = fit_aipw(study(Estimand.SATT, data), nuisances).estimate
    weights = np.where(t == 1, 1.0, e / (1 - e))
    left = weights * np.where(t == 1, y - nuisances.outcome_treated, y - nuisances.outcome_control)
    assert treated.std_error == pytest.approx(np.sqrt((left**2).sum()) / t.sum(), rel=1e-9)


def test_the_influence_adds_up_to_the_standard_error() -> None:
    fitted = fit_tmle(study(Estimand.SATT))
    assert fitted.influence is not None
    assert np.sqrt((fitted.influence**2).sum()) / N == pytest.approx(fitted.estimate.std_error, rel=1e-9)


@pytest.mark.parametrize("estimand", [Estimand.SATE, Estimand.ATE])
def test_estimated_nuisances_widen_the_interval_and_known_ones_do_not(estimand) -> None:
    asked = study(estimand)
    wide = fit_tmle(asked)
    assert wide.nuisances is not None
    without = fit_tmle(asked, replace(wide.nuisances, learners=())).estimate
    assert wide.estimate.value == without.value
    assert wide.estimate.std_error > without.std_error
    assert fit_tmle(asked, wide.nuisances, widen=False).estimate.std_error == without.std_error


def test_the_nuisance_uncertainty_is_five_thirds_of_how_far_halves_move_the_answer() -> None:
    asked = study(Estimand.SATE)
    nuisances = replace(known(frame()), learners=tuple((name, "linear") for name in _NAMES))
    answers = iter([1.3, 0.6])
    expected = 5 / 3 * np.sqrt((0.3**2 + 0.4**2) / 2)
    assert nuisance_uncertainty(asked, nuisances, 1.0, lambda _, __: next(answers)) == pytest.approx(expected)


_NAMES = ("propensity", "outcome_control", "outcome_treated")


def test_the_halves_depend_on_the_rows_and_not_on_their_order() -> None:
    data = frame()
    shuffled = data.sample(frac=1.0, random_state=3).reset_index(drop=True)
    one, other = (fit_tmle(study(Estimand.SATT, rows)).estimate for rows in (data, shuffled))
    assert one.std_error == pytest.approx(other.std_error, rel=1e-9)


@pytest.mark.parametrize(
    ("estimand", "first"), [(Estimand.SATE, "tmle"), (Estimand.SATT, "tmle"), (Estimand.ATE, "aipw")]
)
def test_the_targeted_estimator_answers_first_for_the_sample(estimand: Estimand, first: str) -> None:
    assert default_estimators(study(estimand), Design.OBSERVATIONAL)[0] == first


@pytest.mark.parametrize(("columns", "first"), [(4, "aipw"), (40, "ols")])
def test_with_few_rows_a_column_least_squares_answers_first(columns: int, first: str) -> None:
    rng = np.random.default_rng(5)
    names = [f"x{j}" for j in range(columns)]
    data = frame().assign(**{name: rng.standard_normal(N) for name in names})
    asked = prepare_study(data, CausalSpec("t", "y", tuple(names)))
    assert default_estimators(asked, Design.OBSERVATIONAL)[0] == first


@pytest.mark.parametrize(
    ("estimator", "asked", "named"),
    [
        ("ipw", Estimand.SATE, Estimand.ATE),
        ("ipw", Estimand.SATT, Estimand.ATT),
        ("lin", Estimand.SATT, Estimand.ATT),
        ("ols", Estimand.SATE, Estimand.ATE),
    ],
)
def test_an_estimator_of_population_effects_says_so(estimator: str, asked: Estimand, named: Estimand) -> None:
    estimate = fit_estimator(estimator, study(asked)).estimate
    assert estimate.estimand is named
    assert estimate.value == fit_estimator(estimator, study(named)).estimate.value


def test_the_closed_form_of_lin_is_over_the_treated_for_satt_too() -> None:
    asked = study(Estimand.SATT)
    estimate = fit_estimator("lin", asked).estimate
    form = linear_form(asked, estimate)
    assert form is not None
    assert form.value() == pytest.approx(estimate.value)


def test_a_randomised_comparison_of_means_may_be_read_for_the_sample() -> None:
    asked = study(Estimand.SATE, randomized=True)
    assert fit_difference_in_means(asked).estimate.estimand is Estimand.SATE
    assert fit_difference_in_means(asked.with_spec(estimand=Estimand.SATT)).estimate.estimand is Estimand.ATT


def test_segments_of_the_sample_are_narrower_than_those_of_the_population() -> None:
    data = frame()
    segments = [
        fit_aipw(study(estimand, data, effect_modifiers=("group",))).estimate.segments
        for estimand in (Estimand.SATE, Estimand.ATE)
    ]
    assert [s.segment for s in segments[0]] == ["high", "low"]
    assert all(own.std_error < other.std_error for own, other in zip(*segments, strict=True))


def test_refits_keep_estimand_and_estimator() -> None:
    fitted = fit_tmle(study(Estimand.SATT))
    again = same_estimator(fitted)(study(Estimand.SATT, frame(seed=2))).estimate
    assert (again.estimator, again.estimand) == ("tmle", Estimand.SATT)


def test_the_report_says_whom_the_interval_is_about() -> None:
    data = frame()
    spec = CausalSpec("t", "y", ("a", "b"), estimand=Estimand.SATT)
    identification = identify(spec, list(data.columns), None)
    outcome, _ = estimate_effect(data, spec, identification, specifications=False)
    conclusion = conclude(Evidence(spec, identification, outcome))
    assert any("treated units in the data" in line for line in conclusion.limitations)
    assert any("SATT" in line for line in conclusion.findings)
    assert outcome.primary is not None
    assert from_json(EffectEstimate, to_json(outcome.primary)) == outcome.primary


def test_every_estimand_has_its_words_in_the_report() -> None:
    assert set(ESTIMANDS) == set(Estimand)


def test_a_population_answer_to_a_question_about_the_sample_is_warned_of() -> None:
    data = frame()
    spec = CausalSpec("t", "y", ("a", "b"), estimand=Estimand.SATT, estimator="lin")
    identification = identify(spec, list(data.columns), None)
    outcome, _ = estimate_effect(data, spec, identification, specifications=False)
    warnings = conclude(Evidence(spec, identification, outcome)).warnings
    assert "The SATT was asked for; lin answers for the population instead (ATT)." in warnings
    as_asked = replace(spec, estimand=Estimand.ATT)
    assert not any("asked for" in line for line in conclude(Evidence(as_asked, identification, outcome)).warnings)
