"""Regression adjustment, differences in means and the front door, against independent software."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from src.causal_engine.estimators.registry import ESTIMATORS, default_estimators, fit_estimator, get_estimator
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, StudyInvalid, TooFewRows

CONTROLS = ("age", "volume", "specialty")


def prescribers(n: int = 600, seed: int = 1, effect: float = 1.5) -> pd.DataFrame:
    """Confounded binary treatment, heteroscedastic linear outcome, 30 territories."""
    rng = np.random.default_rng(seed)
    age, volume = rng.normal(50, 10, n), rng.gamma(2.0, 3.0, n)
    specialty = rng.choice(["onc", "der", "pcp"], n)
    territory = rng.integers(0, 30, n)
    shock = rng.normal(0, 1, 30)[territory]
    visited = rng.random(n) < 1 / (1 + np.exp(-(0.05 * (age - 50) + 0.1 * (volume - 6) + 0.5 * (specialty == "onc"))))
    scripts = effect * visited + 0.1 * age + 0.4 * volume + 2 * (specialty == "onc") + shock
    scripts = scripts + rng.normal(0, 1, n) * (0.5 + 0.1 * volume)
    return pd.DataFrame(
        {
            "visited": visited.astype(int),
            "scripts": scripts,
            "age": age,
            "volume": volume,
            "specialty": specialty,
            "territory": territory,
        }
    )


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    settings_ = {"treatment": "visited", "outcome": "scripts", "confounders": CONTROLS, **changes}
    return prepare_study(frame, CausalSpec(**settings_))  # type: ignore[arg-type]


def dummies(frame: pd.DataFrame) -> np.ndarray:
    return np.column_stack(
        [frame.age, frame.volume, frame.specialty == "onc", frame.specialty == "pcp"],
    ).astype(float)


def test_ols_equals_statsmodels_with_hc3() -> None:
    frame = prescribers()
    design = np.column_stack([np.ones(len(frame)), frame.visited, dummies(frame)])
    oracle = sm.OLS(frame.scripts.to_numpy(), design).fit(cov_type="HC3", use_t=True)
    estimate = fit_estimator("ols", study_of(frame)).estimate
    assert estimate.value == pytest.approx(oracle.params[1], rel=1e-8)
    assert estimate.std_error == pytest.approx(oracle.bse[1], rel=1e-8)
    assert (estimate.ci.lower, estimate.ci.upper) == pytest.approx(tuple(oracle.conf_int()[1]), rel=1e-8)
    assert estimate.p_value == pytest.approx(oracle.pvalues[1], rel=1e-6)
    assert estimate.se_method == "HC3"
    assert estimate.adjusted_for == CONTROLS


def test_ols_clusters_like_statsmodels_when_a_cluster_key_is_named() -> None:
    frame = prescribers().assign(territory=lambda rows: np.arange(len(rows)) % 45)
    design = np.column_stack([np.ones(len(frame)), frame.visited, dummies(frame)])
    oracle = sm.OLS(frame.scripts.to_numpy(), design).fit(
        cov_type="cluster", cov_kwds={"groups": frame.territory.to_numpy()}, use_t=True
    )
    estimate = fit_estimator("ols", study_of(frame, cluster_key="territory")).estimate
    assert estimate.std_error == pytest.approx(oracle.bse[1], rel=1e-8)
    assert (estimate.ci.lower, estimate.ci.upper) == pytest.approx(tuple(oracle.conf_int()[1]), rel=1e-8)


def test_ols_ignores_a_repeated_control_instead_of_failing_on_it() -> None:
    frame = prescribers()
    frame["age_in_months"] = 12 * frame.age + 3
    plain = fit_estimator("ols", study_of(frame)).estimate
    repeated = fit_estimator("ols", study_of(frame, confounders=(*CONTROLS, "age_in_months"))).estimate
    assert repeated.value == pytest.approx(plain.value, rel=1e-8)


def test_ols_refuses_a_control_that_is_the_treatment_under_another_name() -> None:
    frame = prescribers()
    frame["seen"] = 1 - frame.visited
    with pytest.raises((StudyInvalid, EstimationError), match="visited"):
        fit_estimator("ols", study_of(frame, confounders=("age", "seen"), randomized=True))


def test_lin_equals_the_difference_of_two_regressions_at_the_mean_covariates() -> None:
    frame = prescribers()
    x, t, y = dummies(frame), frame.visited.to_numpy(), frame.scripts.to_numpy()
    fits = [sm.OLS(y[t == arm], sm.add_constant(x[t == arm])).fit() for arm in (0, 1)]
    for estimand, rows in ((Estimand.ATE, slice(None)), (Estimand.ATT, t == 1)):
        at = np.concatenate([[1.0], x[rows].mean(axis=0)])
        estimate = fit_estimator("lin", study_of(frame, estimand=estimand)).estimate
        assert estimate.value == pytest.approx(at @ fits[1].params - at @ fits[0].params, rel=1e-8)
        assert estimate.estimand is estimand


def test_lin_is_more_precise_than_the_difference_in_means_of_a_randomised_trial() -> None:
    frame = prescribers(n=2000)
    rng = np.random.default_rng(5)
    frame["scripts"] -= 1.5 * frame.visited
    frame["visited"] = rng.integers(0, 2, len(frame))
    frame["scripts"] += 1.5 * frame.visited
    study = study_of(frame, randomized=True)
    lin, plain = (fit_estimator(name, study).estimate for name in ("lin", "difference_in_means"))
    assert lin.std_error < 0.9 * plain.std_error
    assert lin.ci.covers(1.5)


def test_difference_in_means_equals_welch() -> None:
    frame = prescribers()
    treated, control = (frame.loc[frame.visited == arm, "scripts"] for arm in (1, 0))
    oracle = stats.ttest_ind(treated, control, equal_var=False)
    estimate = fit_estimator("difference_in_means", study_of(frame)).estimate
    assert estimate.value == pytest.approx(treated.mean() - control.mean(), rel=1e-10)
    assert estimate.p_value == pytest.approx(oracle.pvalue, rel=1e-8)
    low, high = oracle.confidence_interval(0.95)
    assert (estimate.ci.lower, estimate.ci.upper) == pytest.approx((low, high), rel=1e-8)
    assert estimate.adjusted_for == ()


def test_difference_in_means_within_segments_is_the_difference_in_each_segment() -> None:
    frame = prescribers(n=900)
    estimate = fit_estimator("difference_in_means", study_of(frame, effect_modifiers=("specialty",))).estimate
    expected = {
        name: group.loc[group.visited == 1, "scripts"].mean() - group.loc[group.visited == 0, "scripts"].mean()
        for name, group in frame.groupby("specialty")
    }
    assert {segment.segment: segment.value for segment in estimate.segments} == pytest.approx(expected, rel=1e-9)
    assert {segment.segment: segment.n for segment in estimate.segments} == frame.specialty.value_counts().to_dict()


@pytest.mark.parametrize("name", ["difference_in_means", "ols", "lin", "ipw", "aipw", "linear_dml"])
def test_the_influence_function_reproduces_the_standard_error(name: str) -> None:
    frame = prescribers(n=350)
    fitted = fit_estimator(name, study_of(frame))
    assert fitted.influence is not None
    assert fitted.influence.shape == (len(frame),)
    expected = np.sqrt(np.sum(fitted.influence**2)) / len(frame)
    assert fitted.estimate.std_error == pytest.approx(expected, rel=1e-6)
    # HC3 stretches single influences by 1/(1−h): their mean is zero up to order 1/n.
    assert abs(fitted.influence.mean()) < 0.05 * fitted.influence.std()


@pytest.mark.parametrize("name", ["difference_in_means", "ols", "lin", "ipw", "aipw", "linear_dml"])
@given(scale=st.sampled_from([-250.0, 0.001, 3.0]), shift=st.sampled_from([-1e4, 0.0, 7.0]))
@settings(max_examples=4, deadline=None, derandomize=True)
def test_effect_and_error_follow_the_units_of_the_outcome(name: str, scale: float, shift: float) -> None:
    frame = prescribers(n=300)
    before = fit_estimator(name, study_of(frame)).estimate
    frame["scripts"] = scale * frame["scripts"] + shift
    after = fit_estimator(name, study_of(frame)).estimate
    assert after.value == pytest.approx(scale * before.value, rel=1e-5)
    assert after.std_error == pytest.approx(abs(scale) * before.std_error, rel=1e-5)


@pytest.mark.parametrize("name", ["difference_in_means", "ols", "lin", "ipw", "aipw", "linear_dml"])
def test_neither_row_order_nor_units_of_a_control_matter(name: str) -> None:
    frame = prescribers(n=300)
    before = fit_estimator(name, study_of(frame)).estimate
    shuffled = frame.sample(frac=1.0, random_state=4).assign(volume=lambda rows: 1000 * rows.volume + 5)
    after = fit_estimator(name, study_of(shuffled)).estimate
    assert (after.value, after.std_error) == pytest.approx((before.value, before.std_error), rel=1e-7)


@pytest.mark.parametrize("name", ["difference_in_means", "lin", "ipw", "aipw"])
def test_estimators_of_two_arms_refuse_a_treatment_with_more_values(name: str) -> None:
    frame = prescribers()
    frame["visited"] = np.arange(len(frame)) % 7
    with pytest.raises(EstimationError, match="0/1"):
        fit_estimator(name, study_of(frame))


def test_cluster_robust_errors_refuse_a_handful_of_clusters() -> None:
    frame = prescribers()
    frame["territory"] = frame.territory % 4
    with pytest.raises(TooFewRows, match="4 clusters"):
        fit_estimator("ols", study_of(frame, cluster_key="territory"))


def test_an_unknown_estimator_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(EstimationError, match="'aipw'"):
        get_estimator("aipww")


def test_every_registered_estimator_reports_the_name_it_is_asked_for_by() -> None:
    assert {name: estimator.name for name, estimator in ESTIMATORS.items()} == {name: name for name in ESTIMATORS}


@pytest.mark.parametrize(
    ("design", "changes", "first"),
    [
        (Design.RANDOMIZED, {"randomized": True}, "difference_in_means"),
        (Design.OBSERVATIONAL, {}, "aipw"),
        (Design.OBSERVATIONAL, {"estimand": Estimand.ATT}, "aipw"),
        (Design.INSTRUMENT, {"confounders": ("age",), "instruments": ("volume",)}, "anderson_rubin"),
        (Design.FRONT_DOOR, {"confounders": (), "mediators": ("volume",)}, "front_door"),
    ],
)
def test_the_design_decides_which_estimator_answers(design: Design, changes: dict[str, object], first: str) -> None:
    names = default_estimators(study_of(prescribers(), **changes), design)
    assert names[0] == first
    assert set(names) <= set(ESTIMATORS)


def test_a_continuous_treatment_gets_estimators_that_can_take_it() -> None:
    frame = prescribers()
    frame["visited"] = frame.volume + np.arange(len(frame)) % 5
    study = study_of(frame, confounders=("age",))
    assert default_estimators(study, Design.OBSERVATIONAL) == ("linear_dml", "ols")


def mediated(n: int, seed: int) -> pd.DataFrame:
    """Hidden u drives t and y; t acts on y only through samples and e-mail: effect 2·.5 + (−1)·.3 = .7."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    visited = (hidden + rng.normal(size=n) > 0).astype(float)
    samples = 2 * visited + rng.normal(size=n)
    email = -1 * visited + 0.5 * samples + rng.normal(size=n) - samples * 0.5
    scripts = 0.5 * samples + 0.3 * email + 2 * hidden + rng.normal(size=n)
    return pd.DataFrame({"visited": visited, "samples": samples, "email": email, "scripts": scripts})


def test_the_front_door_recovers_an_effect_that_regression_misses() -> None:
    study = study_of(mediated(3000, 2), confounders=(), mediators=("samples", "email"))
    assert fit_estimator("front_door", study).estimate.ci.covers(0.7)
    assert not fit_estimator("ols", study).estimate.ci.covers(0.7)


def test_the_front_door_error_matches_the_spread_over_draws() -> None:
    estimates = [
        fit_estimator(
            "front_door", study_of(mediated(800, seed), confounders=(), mediators=("samples", "email"))
        ).estimate
        for seed in range(150)
    ]
    spread = np.std([estimate.value for estimate in estimates], ddof=1)
    assert np.mean([estimate.std_error for estimate in estimates]) == pytest.approx(spread, rel=0.15)


def test_the_front_door_needs_its_mediators_named() -> None:
    with pytest.raises(StudyInvalid, match="mediators"):
        fit_estimator("front_door", study_of(prescribers()))
