"""E-values, robustness values and benchmark bounds equal published ones, and the report draws the right conclusion."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.results import EffectEstimate, Interval
from src.causal_engine.sensitivity.evalue import e_value, e_value_of_limit, e_values_of
from src.causal_engine.sensitivity.partial import partialled_design
from src.causal_engine.sensitivity.report import sensitivity_report
from src.causal_engine.sensitivity.robustness import (
    Scale,
    Strength,
    benchmark,
    bias_factor,
    measured_strengths,
    multiple_that_overturns,
    robustness_of_t,
    robustness_value,
    scale_of,
)
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study


def estimate_of(value: float, std_error: float, df: int = 10_000) -> EffectEstimate:
    from scipy.stats import t

    half = float(t.ppf(0.975, df)) * std_error
    ci = Interval(value - half, value + half)
    return EffectEstimate("ols", Estimand.ATE, value, std_error, "HC3", ci, 0.01, df, None, 0, ("x",))


def study_of(n: int = 2_000, *, effect: float = 0.25, seed: int = 1, binary_outcome: bool = False) -> Study:
    rng = np.random.default_rng(seed)
    severity, noise = rng.normal(size=n), rng.normal(size=n)
    treatment = (rng.random(n) < 1 / (1 + np.exp(-0.8 * severity))).astype(float)
    outcome = effect * treatment + 0.7 * severity + rng.normal(size=n)
    if binary_outcome:
        outcome = (rng.random(n) < 0.2 + 0.2 * treatment).astype(float)
    frame = pd.DataFrame({"t": treatment, "y": outcome, "severity": severity, "noise": noise})
    return prepare_study(frame, CausalSpec("t", "y", confounders=("severity", "noise")))


@pytest.mark.parametrize(("ratio", "expected"), [(3.9, 7.26), (1.8, 3.0), (1.0, 1.0), (0.80, 1.81)])
def test_e_value_equals_published_examples(ratio: float, expected: float) -> None:
    assert e_value(ratio) == pytest.approx(expected, abs=0.005)


@given(st.floats(1e-3, 1e3))
def test_e_value_is_the_same_for_a_ratio_and_its_inverse_and_at_least_one(ratio: float) -> None:
    assert e_value(ratio) == pytest.approx(e_value(1 / ratio))
    assert e_value(ratio) >= max(ratio, 1 / ratio) >= 1


@pytest.mark.parametrize(
    ("lower", "upper", "expected"), [(1.8, 8.7, 3.0), (0.9, 1.2, 1.0), (0.5, 0.8, 1.81), (1.0, 2.0, 1.0)]
)
def test_e_value_of_an_interval_is_that_of_the_end_nearest_one(lower: float, upper: float, expected: float) -> None:
    assert e_value_of_limit(lower, upper) == pytest.approx(expected, abs=0.005)


def test_risk_ratio_of_a_binary_outcome_is_taken_at_the_untreated_risk() -> None:
    study = study_of(4_000, binary_outcome=True)
    base = study.y[study.t == 0].mean()
    found = e_values_of(study, estimate_of(0.2, 0.01))
    assert found.risk_ratio == pytest.approx((base + 0.2) / base)
    assert found.point == pytest.approx(e_value((base + 0.2) / base))


def test_risk_of_a_large_negative_effect_stays_positive() -> None:
    found = e_values_of(study_of(400, binary_outcome=True), estimate_of(-0.9, 0.01))
    assert 0 < found.risk_ratio < 0.05


def test_risk_ratio_of_a_continuous_outcome_uses_its_standard_deviation() -> None:
    study = study_of()
    found = e_values_of(study, estimate_of(0.25, 0.01))
    assert found.risk_ratio == pytest.approx(exp(0.91 * 0.25 / study.y.std(ddof=1)))


def test_e_values_do_not_depend_on_units() -> None:
    rng = np.random.default_rng(3)
    dose = rng.normal(size=500)
    frame = pd.DataFrame({"t": dose, "y": 0.4 * dose + rng.normal(size=500)})
    first = prepare_study(frame, CausalSpec("t", "y"))
    other = prepare_study(frame.assign(t=frame.t * 1000, y=frame.y * 7), CausalSpec("t", "y"))
    found = [e_values_of(study, fit_estimator("ols", study).estimate) for study in (first, other)]
    assert found[0].limit == pytest.approx(found[1].limit)


def test_interval_that_covers_no_effect_has_e_value_one() -> None:
    assert e_values_of(study_of(), estimate_of(0.1, 0.1)).limit == 1.0


def test_robustness_values_equal_the_darfur_example() -> None:
    assert robustness_of_t(4.18445, 783) == pytest.approx(0.139, abs=5e-4)
    assert robustness_of_t(4.18445, 783, alpha=0.05) == pytest.approx(0.076, abs=5e-4)


@pytest.mark.parametrize(
    ("multiple", "r2_treatment", "r2_outcome", "value", "lower", "upper"),
    [
        (1, 0.00916, 0.1246, 0.0752, 0.0323, 0.1182),
        (2, 0.0183, 0.2493, 0.0529, 0.0130, 0.0929),
        (3, 0.0275, 0.3741, 0.0304, -0.0063, 0.0670),
    ],
)
def test_benchmark_bounds_equal_the_darfur_example(
    multiple: int, r2_treatment: float, r2_outcome: float, value: float, lower: float, upper: float
) -> None:
    found = benchmark(
        estimate_of(0.09731582, 0.02325654, 783),
        Scale(0.02325654 * sqrt(783), 783),
        Strength("female", 0.009077, 0.10900),
        multiple,
    )
    assert found is not None
    assert (found.r2_treatment, found.r2_outcome) == pytest.approx((r2_treatment, r2_outcome), rel=3e-3)
    assert found.adjusted_estimate == pytest.approx(value, abs=2e-4)
    assert (found.adjusted_ci.lower, found.adjusted_ci.upper) == pytest.approx((lower, upper), abs=3e-4)


@given(f=st.floats(0.001, 5), critical=st.floats(0, 2))
def test_confounder_of_robustness_value_strength_removes_the_effect(f: float, critical: float) -> None:
    strength = robustness_value(f)
    assert bias_factor(strength, strength) == pytest.approx(f, rel=1e-6)
    assert 0 <= robustness_value(f, critical) <= strength < 1


def test_strengths_and_scale_equal_those_of_regressions() -> None:
    import statsmodels.api as sm

    study = study_of()
    design = partialled_design(study, Design.OBSERVATIONAL)
    full = sm.OLS(study.y, sm.add_constant(np.column_stack([study.t, study.x]))).fit()
    assert scale_of(design).df == full.df_resid
    assert scale_of(design).scale == pytest.approx(full.bse[1] * sqrt(full.df_resid))
    treatment = sm.OLS(study.t, sm.add_constant(study.x)).fit()
    severity = next(one for one in measured_strengths(design) if one.covariate == "severity")
    assert severity.r2_outcome == pytest.approx(full.tvalues[2] ** 2 / (full.tvalues[2] ** 2 + full.df_resid))
    t_value = treatment.tvalues[1]
    assert severity.r2_treatment == pytest.approx(t_value**2 / (t_value**2 + treatment.df_resid))
    assert measured_strengths(design)[0].covariate == "severity"


def test_bound_removes_an_omitted_confounder_as_strong_as_a_measured_one() -> None:
    rng = np.random.default_rng(5)
    n = 40_000
    known, hidden = rng.normal(size=n), rng.normal(size=n)
    dose = 0.5 * known + 0.5 * hidden + rng.normal(size=n)
    frame = pd.DataFrame({"t": dose, "y": 0.3 * dose + 0.5 * known + 0.5 * hidden + rng.normal(size=n), "known": known})
    study = prepare_study(frame, CausalSpec("t", "y", confounders=("known",)))
    report = sensitivity_report(study, fit_estimator("ols", study).estimate, Design.OBSERVATIONAL)
    assert report.benchmarks[0].adjusted_estimate == pytest.approx(0.3, abs=0.03)


def test_multiple_that_overturns_is_where_the_interval_reaches_zero() -> None:
    estimate, scale, strength = estimate_of(0.3, 0.02), Scale(1.0, 10_000), Strength("x", 0.02, 0.05)
    multiple = multiple_that_overturns(estimate, scale, strength, 50.0)
    assert multiple is not None
    at = benchmark(estimate, scale, strength, multiple)
    assert at is not None
    assert at.adjusted_ci.lower == pytest.approx(0.0, abs=1e-6)
    assert multiple_that_overturns(estimate, scale, strength, multiple * 0.9) is None


@pytest.mark.parametrize(("effect", "fragile"), [(0.15, True), (3.0, False)])
def test_fragile_is_what_one_more_of_a_measured_confounder_would_undo(effect: float, fragile: bool) -> None:
    study = study_of(effect=effect)
    report = sensitivity_report(study, fit_estimator("ols", study).estimate, Design.OBSERVATIONAL)
    assert report.fragile is fragile
    assert "as strong as severity" in report.statement
    assert "does not prove" in report.statement


def test_no_detected_effect_has_nothing_to_explain_away() -> None:
    study = study_of(effect=0.0, seed=2)
    report = sensitivity_report(study, fit_estimator("ols", study).estimate, Design.OBSERVATIONAL)
    assert (report.e_value_limit, report.robustness_value_alpha, report.fragile) == (1.0, 0.0, False)
    assert "already covers" in report.statement


@pytest.mark.parametrize("design", [Design.RANDOMIZED, Design.INSTRUMENT, Design.FRONT_DOOR])
def test_designs_that_do_not_rest_on_measured_confounders_say_so(design: Design) -> None:
    study = study_of()
    report = sensitivity_report(study, fit_estimator("ols", study).estimate, design)
    assert (report.robustness_value, report.benchmarks, report.fragile) == (None, (), False)
    assert "t was assigned at random" in report.statement or "allowed for" in report.statement


def test_without_a_measured_confounder_there_is_no_yardstick() -> None:
    study = study_of().with_spec(confounders=())
    report = sensitivity_report(study, fit_estimator("ols", study).estimate, Design.OBSERVATIONAL)
    assert report.benchmarks == ()
    assert "yardstick" in report.statement


def test_panel_strengths_ignore_what_stays_the_same_within_units() -> None:
    rng = np.random.default_rng(8)
    units, periods = 80, 12
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    fixed, moving = np.repeat(rng.normal(size=units), periods), rng.normal(size=units * periods)
    dose = fixed + moving + rng.normal(size=len(unit))
    outcome = 0.5 * dose + 3 * fixed + moving + rng.normal(size=len(unit))
    frame = pd.DataFrame({"t": dose, "y": outcome, "u": unit, "m": month, "fixed": fixed, "moving": moving})
    spec = CausalSpec("t", "y", confounders=("fixed", "moving"), unit_key="u", time_key="m")
    strengths = {
        one.covariate: one for one in measured_strengths(partialled_design(prepare_study(frame, spec), Design.PANEL))
    }
    assert strengths["fixed"].r2_outcome == pytest.approx(0.0, abs=1e-6)
    assert strengths["moving"].r2_outcome > 0.2
