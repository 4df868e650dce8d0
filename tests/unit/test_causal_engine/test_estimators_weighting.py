"""Weighting and doubly robust estimation: oracles, refusals, segments, trimming."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.doubly_robust import fit_aipw
from src.causal_engine.estimators.partial_linear import fit_linear_dml
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.spec import CausalSpec, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import OverlapViolated, TooFewRows


def simulate(n: int, seed: int, slope: float = 1.0) -> tuple[pd.DataFrame, Nuisances]:
    """Effect 1 at x₁ < 0 and 2 above, with the true nuisances."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    propensity = 1 / (1 + np.exp(-slope * (x[:, 0] + 0.5 * x[:, 1])))
    t = (rng.random(n) < propensity).astype(float)
    high = x[:, 0] > 0
    control = x[:, 0] + x[:, 1]
    treated = control + 1 + high
    y = np.where(t == 1, treated, control) + rng.normal(size=n)
    frame = pd.DataFrame(
        {"t": t, "y": y, "x1": x[:, 0], "x2": x[:, 1], "decile": np.where(high, "high", "low"), "unit": np.arange(n)}
    )
    return frame, Nuisances(propensity, control + propensity * (1 + high), control, treated, ())


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    return prepare_study(
        frame, CausalSpec(**{"treatment": "t", "outcome": "y", "confounders": ("x1", "x2"), **changes})
    )  # type: ignore[arg-type]


def test_aipw_with_known_nuisances_is_the_textbook_formula() -> None:
    frame, known = simulate(500, 3)
    t, y, e = frame.t.to_numpy(), frame.y.to_numpy(), np.clip(known.propensity, 0.01, 0.99)
    m0, m1 = known.outcome_control, known.outcome_treated
    scores = m1 + t * (y - m1) / e - m0 - (1 - t) * (y - m0) / (1 - e)
    estimate = fit_aipw(study_of(frame), known).estimate
    assert estimate.value == pytest.approx(scores.mean(), rel=1e-12)
    assert estimate.std_error == pytest.approx(scores.std() / np.sqrt(len(t)), rel=1e-12)


def test_aipw_for_the_treated_with_known_nuisances_is_the_textbook_formula() -> None:
    frame, known = simulate(500, 3)
    t, y, e, m0 = frame.t.to_numpy(), frame.y.to_numpy(), known.propensity, known.outcome_control
    share = t.mean()
    parts = (t * (y - m0) - (1 - t) * e / (1 - e) * (y - m0)) / share
    estimate = fit_aipw(study_of(frame, estimand=Estimand.ATT), known).estimate
    assert estimate.estimand is Estimand.ATT
    assert estimate.value == pytest.approx(parts.mean(), rel=1e-9)
    influence = parts - t / share * parts.mean()
    assert estimate.std_error == pytest.approx(np.sqrt(np.mean(influence**2) / len(t)), rel=1e-9)


@pytest.mark.parametrize("estimand", [Estimand.ATE, Estimand.ATT])
@pytest.mark.parametrize("broken", ["propensity", "outcome"])
def test_aipw_survives_one_wrong_nuisance(broken: str, estimand: Estimand) -> None:
    frame, known = simulate(20_000, 4)
    wrong = (
        replace(known, propensity=np.full(len(frame), 0.5))
        if broken == "propensity"
        else replace(known, outcome_control=np.zeros(len(frame)), outcome_treated=np.zeros(len(frame)))
    )
    high = (frame.decile == "high").to_numpy()
    truth = 1 + (high if estimand is Estimand.ATE else high[frame.t == 1]).mean()
    estimate = fit_aipw(study_of(frame, estimand=estimand), wrong).estimate
    assert abs(estimate.value - truth) < 4 * estimate.std_error
    both = replace(wrong, propensity=np.full(len(frame), 0.5), outcome_control=np.zeros(len(frame)))
    both = replace(both, outcome_treated=np.zeros(len(frame)))
    assert abs(fit_aipw(study_of(frame, estimand=estimand), both).estimate.value - truth) > 0.5


def test_linear_dml_with_known_nuisances_is_residual_on_residual() -> None:
    frame, known = simulate(500, 5)
    t, y = frame.t - known.propensity, frame.y - known.outcome
    oracle = sm.OLS(y.to_numpy(), t.to_numpy()).fit(cov_type="HC0")
    estimate = fit_linear_dml(study_of(frame), known).estimate
    assert (estimate.value, estimate.std_error) == pytest.approx((oracle.params[0], oracle.bse[0]), rel=1e-10)


def test_linear_dml_recovers_a_dose_effect_under_nonlinear_confounding_where_ols_does_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, 3000)
    dose = x**2 + rng.normal(size=3000)
    frame = pd.DataFrame({"t": dose, "y": 0.5 * dose + 2 * x**2 + rng.normal(size=3000), "x1": x, "x2": 0 * x})
    study = study_of(frame, confounders=("x1",))
    assert fit_estimator("linear_dml", study).estimate.value == pytest.approx(0.5, abs=0.1)
    assert fit_estimator("ols", study).estimate.value > 1.0


def test_ipw_equals_the_stacked_estimating_equations() -> None:
    """Independent oracle: sandwich of the stacked logistic and weighted-mean equations, numerically differentiated."""
    frame, _ = simulate(800, 6)
    t, y = frame.t.to_numpy(), frame.y.to_numpy()
    x = sm.add_constant(frame[["x1", "x2"]].to_numpy())
    logit = sm.Logit(t, x).fit(disp=0, tol=1e-12)

    def moments(theta: np.ndarray) -> np.ndarray:
        e = 1 / (1 + np.exp(-x @ theta[:3]))
        return np.column_stack([x * (t - e)[:, None], t / e * (y - theta[3]), (1 - t) / (1 - e) * (y - theta[4])])

    e = logit.predict(x)
    means = [np.average(y, weights=t / e), np.average(y, weights=(1 - t) / (1 - e))]
    theta = np.concatenate([logit.params, means])
    steps = 1e-5 * np.eye(5)
    slope = np.column_stack([(moments(theta + h).mean(0) - moments(theta - h).mean(0)) / 2e-5 for h in steps])
    inverse = np.linalg.inv(slope)
    covariance = inverse @ (moments(theta).T @ moments(theta) / len(t)) @ inverse.T / len(t)
    contrast = np.array([0, 0, 0, 1, -1])
    estimate = fit_estimator("ipw", study_of(frame)).estimate
    assert estimate.value == pytest.approx(means[0] - means[1], rel=1e-4)
    # Projection uses outer products where the oracle uses the derivative: equal up to sampling.
    assert estimate.std_error == pytest.approx(float(np.sqrt(contrast @ covariance @ contrast)), rel=0.03)


def test_the_ipw_error_gains_from_estimating_the_propensity() -> None:
    values, errors = [], []
    for seed in range(120):
        estimate = fit_estimator("ipw", study_of(simulate(600, seed, slope=0.7)[0])).estimate
        values.append(estimate.value)
        errors.append(estimate.std_error)
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.15)


@pytest.mark.parametrize("name", ["aipw", "ipw", "ols", "lin", "linear_dml"])
def test_arms_without_overlap_are_refused_and_comparable_ones_are_not(name: str) -> None:
    with pytest.raises(OverlapViolated, match="outside"):
        fit_estimator(name, study_of(simulate(1000, 7, slope=8.0)[0]))
    assert fit_estimator(name, study_of(simulate(1000, 7)[0])).estimate.n_dropped == 0


@pytest.mark.parametrize("name", ["aipw", "ipw", "ols", "lin", "linear_dml"])
def test_trimming_answers_for_the_comparable_units_and_says_so(name: str) -> None:
    frame, _ = simulate(3000, 8, slope=4.0)
    fitted = fit_estimator(name, study_of(frame, trim=True))
    estimate = fitted.estimate
    assert estimate.estimand is Estimand.ATE_TRIMMED
    assert estimate.n_dropped > 300
    assert estimate.n + estimate.n_dropped == len(frame)
    assert fitted.influence is not None
    assert fitted.influence.shape == (len(frame),)
    assert np.sqrt(np.sum(fitted.influence**2)) / len(frame) == pytest.approx(estimate.std_error, rel=1e-6)
    assert 0.9 < estimate.value < 2.1


def test_treated_units_without_any_counterpart_are_refused_for_the_att() -> None:
    frame, known = simulate(1000, 9)
    certain = np.where(frame.decile == "high", 0.999, 0.5)
    with pytest.raises(OverlapViolated, match="treated units"):
        fit_aipw(study_of(frame, estimand=Estimand.ATT), replace(known, propensity=certain))
    # Untreated units that could not have been treated do not matter to the treated.
    hopeless = np.where((frame.decile == "low") & (frame.t == 0), 0.001, 0.5)
    fit_aipw(study_of(frame, estimand=Estimand.ATT), replace(known, propensity=hopeless))


def test_trimming_down_to_a_handful_is_refused() -> None:
    frame, known = simulate(400, 10)
    almost_all = np.where(np.arange(400) < 30, 0.5, 0.999)
    with pytest.raises(TooFewRows, match="comparable rows"):
        fit_aipw(study_of(frame, trim=True), replace(known, propensity=almost_all))


def test_segment_effects_are_found_where_they_differ() -> None:
    frame, _ = simulate(4000, 11)
    study = study_of(frame, effect_modifiers=("decile",))
    segments = {segment.segment: segment for segment in fit_estimator("aipw", study).estimate.segments}
    assert segments["low"].ci.covers(1.0)
    assert segments["high"].ci.covers(2.0)
    assert not segments["low"].ci.covers(segments["high"].value)
    assert segments["low"].n + segments["high"].n == len(frame)


def test_small_segments_and_continuous_modifiers_are_not_reported() -> None:
    frame, _ = simulate(600, 12)
    frame["decile"] = np.where(np.arange(600) < 28, "rare", "usual")
    study = study_of(frame, effect_modifiers=("decile", "x2"))
    assert [segment.segment for segment in fit_estimator("aipw", study).estimate.segments] == ["usual"]


def test_repeating_every_row_under_its_unit_does_not_buy_precision() -> None:
    frame, _ = simulate(400, 13)
    repeated = pd.concat([frame] * 5, ignore_index=True)
    once = fit_aipw(study_of(frame), widen=False).estimate
    pretended = fit_aipw(study_of(repeated), widen=False).estimate
    clustered = fit_aipw(study_of(repeated, cluster_key="unit"), widen=False).estimate
    assert clustered.std_error == pytest.approx(once.std_error, rel=0.10)
    assert pretended.std_error < 0.6 * once.std_error


def test_a_binary_outcome_gives_a_risk_difference() -> None:
    rng = np.random.default_rng(14)
    frame, _ = simulate(4000, 14)
    risk = 0.2 + 0.2 * frame.t + 0.3 * (frame.x1 > 0)
    frame["y"] = (rng.random(len(frame)) < risk).astype(int)
    assert fit_estimator("aipw", study_of(frame)).estimate.ci.covers(0.2)


def test_two_fits_agree_bit_for_bit() -> None:
    study = study_of(simulate(900, 15)[0])
    first, second = (fit_estimator("aipw", study).estimate for _ in range(2))
    assert first == second
