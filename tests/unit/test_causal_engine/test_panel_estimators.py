"""Panel estimators against linearmodels and hand-made differences; refusals of adoption patterns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from linearmodels.panel import PanelOLS

from src.causal_engine.estimators.panel_data import Panel, adoption_of, calendar_steps, demean, panel_of, shifted
from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, StudyInvalid, TooFewRows

MONTHS = pd.date_range("2024-01-01", periods=12, freq="MS", tz="UTC")


def calls_panel(units: int = 80, periods: int = 8, seed: int = 0, missing: float = 0.0) -> pd.DataFrame:
    """Counts of calls that track the unit's level; effect .7 per call at once, .3 two periods later."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 2, units)
    calls = rng.poisson(np.exp(0.5 + 0.2 * level)[:, None], (units, periods + 2)).astype(float)
    samples = rng.normal(size=(units, periods)) + 0.3 * calls[:, 2:]
    noise = rng.normal(size=(units, periods)) * (1 + 0.3 * np.abs(level))[:, None]
    scripts = 3 * level[:, None] + 0.7 * calls[:, 2:] + 0.3 * calls[:, :-2] + 0.5 * samples + noise
    scripts = scripts + np.sin(np.arange(periods))[None, :]
    frame = pd.DataFrame(
        {
            "hcp": np.repeat([f"hcp_{i}" for i in range(units)], periods),
            "month": np.tile(np.arange(periods), units),
            "calls": calls[:, 2:].ravel(),
            "samples": samples.ravel(),
            "scripts": scripts.ravel(),
            "region": np.repeat(np.arange(units) % 10, periods),
        }
    )
    return frame[rng.random(len(frame)) >= missing].reset_index(drop=True)


def rollout(units: int = 120, periods: int = 6, start: int = 3, seed: int = 0, effect: float = 1.0) -> pd.DataFrame:
    """Half of the units adopt for good at ``start``; adopters have a higher level."""
    rng = np.random.default_rng(seed)
    adopter = np.arange(units) % 2
    month = np.tile(np.arange(periods), units)
    unit = np.repeat(np.arange(units), periods)
    tool = (adopter[unit] == 1) & (month >= start)
    size = rng.normal(size=units)
    y = 2 * adopter[unit] + rng.normal(size=units)[unit] + 0.3 * month + effect * tool + rng.normal(size=len(unit))
    return pd.DataFrame({"hcp": unit, "month": month, "calls": tool.astype(int), "scripts": y, "size": size[unit]})


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    roles = {"treatment": "calls", "outcome": "scripts", "unit_key": "hcp", "time_key": "month", **changes}
    return prepare_study(frame, CausalSpec(**roles))  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", [0.0, 0.25], ids=["balanced", "unbalanced"])
def test_twfe_equals_linearmodels_clustered_by_unit(missing: float) -> None:
    frame = calls_panel(missing=missing)
    indexed = frame.set_index(["hcp", "month"])
    oracle = PanelOLS(indexed.scripts, indexed[["calls", "samples"]], entity_effects=True, time_effects=True).fit(
        cov_type="clustered",
        cluster_entity=True,
        debiased=False,
        group_debias=False,
        auto_df=False,
        count_effects=False,
    )
    estimate = fit_estimator("twfe", study_of(frame, confounders=("samples",))).estimate
    n, groups, parameters = len(frame), frame.hcp.nunique(), 2 + frame.month.nunique()
    factor = groups / (groups - 1) * (n - 1) / (n - parameters)
    assert estimate.value == pytest.approx(oracle.params["calls"], rel=1e-8)
    assert estimate.std_error == pytest.approx(oracle.std_errors["calls"] * np.sqrt(factor), rel=1e-8)
    assert estimate.estimand is Estimand.WITHIN
    assert estimate.adjusted_for == ("hcp", "month", "samples")


def test_twfe_clusters_on_a_coarser_key_when_named() -> None:
    frame = calls_panel(units=160).assign(region=lambda rows: rows.hcp.str[4:].astype(int) % 40)
    indexed = frame.set_index(["hcp", "month"])
    oracle = PanelOLS(indexed.scripts, indexed[["calls"]], entity_effects=True, time_effects=True).fit(
        cov_type="clustered",
        clusters=indexed[["region"]],
        debiased=False,
        group_debias=False,
        auto_df=False,
        count_effects=False,
    )
    factor = 40 / 39 * (len(frame) - 1) / (len(frame) - 1 - frame.month.nunique())
    estimate = fit_estimator("twfe", study_of(frame, cluster_key="region")).estimate
    assert estimate.std_error == pytest.approx(oracle.std_errors["calls"] * np.sqrt(factor), rel=1e-8)


def test_twfe_removes_the_unit_level_that_fools_the_pooled_regression() -> None:
    study = study_of(calls_panel(), confounders=("samples",))
    assert fit_estimator("twfe", study).estimate.ci.covers(0.7)
    assert fit_estimator("ols", study).estimate.ci.lower > 1.0


def test_twfe_uses_the_treatment_of_the_lag_asked_for() -> None:
    study = study_of(calls_panel(units=200), confounders=("samples",), lag=2)
    estimate = fit_estimator("twfe", study).estimate
    assert estimate.ci.covers(0.3)
    assert estimate.n_dropped == 2 * 200


def test_controls_constant_within_units_change_nothing() -> None:
    frame = calls_panel()
    plain = fit_estimator("twfe", study_of(frame)).estimate
    with_constant = fit_estimator("twfe", study_of(frame, confounders=("region",))).estimate
    assert with_constant.value == pytest.approx(plain.value, rel=1e-10)
    assert "region" not in with_constant.adjusted_for


def test_a_treatment_fixed_within_units_is_refused() -> None:
    frame = calls_panel()
    frame["calls"] = frame.groupby("hcp").calls.transform("first")
    with pytest.raises(EstimationError, match="does not vary within units"):
        fit_estimator("twfe", study_of(frame))


def test_the_distributed_lag_separates_the_lags() -> None:
    estimate = fit_estimator("distributed_lag", study_of(calls_panel(600), confounders=("samples",), lag=2)).estimate
    assert estimate.estimand is Estimand.LAG
    assert estimate.ci.covers(0.3)
    assert estimate.diagnostic("lag_0") == pytest.approx(0.7, abs=0.1)
    assert estimate.diagnostic("lag_1") == pytest.approx(0.0, abs=0.1)


def test_the_distributed_lag_equals_linearmodels_on_hand_made_lags() -> None:
    frame = calls_panel(60, 8)
    for lag in range(1, 5):
        frame[f"lag{lag}"] = frame.groupby("hcp").calls.shift(lag)
    indexed = frame.dropna().set_index(["hcp", "month"])
    columns = ["calls", "lag1", "lag2", "lag3", "lag4"]
    oracle = PanelOLS(indexed.scripts, indexed[columns], entity_effects=True, time_effects=True).fit()
    estimate = fit_estimator("distributed_lag", study_of(frame, lag=1)).estimate
    assert estimate.value == pytest.approx(oracle.params["lag1"], rel=1e-8)


def test_a_lag_longer_than_the_panel_carries_is_refused() -> None:
    with pytest.raises(EstimationError, match="needs at least 10 periods"):
        fit_estimator("distributed_lag", study_of(calls_panel(), lag=5))


def test_a_lag_is_a_lag_in_time_not_in_rows() -> None:
    panel = Panel(np.array([0, 0, 0, 1, 1, 1]), calendar_steps(pd.Series([1, 2, 4, 1, 2, 3])))
    calls = np.array([1.0, 2, 3, 4, 5, 6])
    assert shifted(calls, panel, -1) == pytest.approx([np.nan, 1, np.nan, np.nan, 4, 5], nan_ok=True)
    assert shifted(calls, panel, 1) == pytest.approx([2, np.nan, np.nan, 5, 6, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([2022, 2024, 2023], [0, 2, 1]),
        ([10, 40, 20], [0, 3, 1]),
        (["2024-01", "2024-04", "2024-02"], [0, 3, 1]),
        ([MONTHS[0], MONTHS[3], MONTHS[2]], [0, 3, 2]),
        (["2024-01-01", "2024-01-15", "2024-01-08"], [0, 2, 1]),
        ([202411, 202501, 202412], [0, 2, 1]),
        ([MONTHS[0], MONTHS[0] + pd.Timedelta(days=14), MONTHS[0] + pd.Timedelta(days=7)], [0, 2, 1]),
        (["P1", "P3", "P2"], [0, 2, 1]),
    ],
)
def test_periods_are_calendar_steps(labels: list[object], expected: list[int]) -> None:
    assert calendar_steps(pd.Series(labels)).tolist() == expected


def test_demeaning_an_unbalanced_panel_leaves_no_unit_or_period_means() -> None:
    frame = calls_panel(missing=0.4)
    within = demean(frame[["scripts", "calls"]].to_numpy(), panel_of(study_of(frame)))
    for key in ("hcp", "month"):
        assert np.abs(pd.DataFrame(within).groupby(frame[key]).mean().to_numpy()).max() < 1e-9


def test_did_is_the_difference_of_mean_changes_with_its_error() -> None:
    frame = rollout()
    after = frame.month >= 3
    change = frame[after].groupby("hcp").scripts.mean() - frame[~after].groupby("hcp").scripts.mean()
    adopter = frame.groupby("hcp").calls.max()
    oracle = sm.OLS(change.to_numpy(), sm.add_constant(adopter.to_numpy(dtype=float))).fit(cov_type="HC3", use_t=True)
    estimate = fit_estimator("did", study_of(frame)).estimate
    assert (estimate.value, estimate.std_error) == pytest.approx((oracle.params[1], oracle.bse[1]), rel=1e-9)
    assert estimate.estimand is Estimand.ATT
    assert estimate.ci.covers(1.0)
    assert estimate.value == pytest.approx(fit_estimator("twfe", study_of(frame)).estimate.value, rel=1e-9)


def test_controls_of_did_explain_different_trends() -> None:
    frame = rollout(units=400)
    frame["size"] += 1.0 * (frame.hcp % 2)
    frame["scripts"] += frame["size"] * frame.month
    assert not fit_estimator("did", study_of(frame)).estimate.ci.covers(1.0)
    assert fit_estimator("did", study_of(frame, confounders=("size",))).estimate.ci.covers(1.0)


def test_controls_of_did_are_taken_from_before_adoption() -> None:
    frame = rollout()
    spoiled = frame.assign(size=np.where(frame.month >= 3, frame.scripts, frame["size"]))
    clean, other = (fit_estimator("did", study_of(data, confounders=("size",))).estimate for data in (frame, spoiled))
    assert other.value == pytest.approx(clean.value, rel=1e-12)


def test_lagged_outcome_is_the_regression_on_the_outcome_before() -> None:
    frame = rollout(periods=2, start=1)
    wide = frame.pivot(index="hcp", columns="month", values="scripts")
    design = sm.add_constant(np.column_stack([frame.groupby("hcp").calls.max(), wide[0]]).astype(float))
    oracle = sm.OLS(wide[1].to_numpy(), design).fit(cov_type="HC3")
    estimate = fit_estimator("lagged_outcome", study_of(frame)).estimate
    assert (estimate.value, estimate.std_error) == pytest.approx((oracle.params[1], oracle.bse[1]), rel=1e-9)


def test_units_seen_only_before_or_only_after_are_counted_as_dropped() -> None:
    frame = rollout()
    frame = frame[~((frame.hcp == 5) & (frame.month >= 3))]
    estimate = fit_estimator("did", study_of(frame)).estimate
    assert estimate.n_dropped == 3
    assert estimate.diagnostic("n_units") == 119


@pytest.mark.parametrize("name", ["did", "lagged_outcome", "twfe"])
def test_staggered_adoption_is_refused_instead_of_averaged_with_negative_weights(name: str) -> None:
    frame = rollout()
    frame.loc[(frame.hcp % 4 == 1) & (frame.month == 2), "calls"] = 1
    with pytest.raises(EstimationError, match="2 different times"):
        fit_estimator(name, study_of(frame))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.assign(calls=frame.calls * (frame.month != 5)), "switched off"),
        (lambda frame: frame.assign(calls=np.where(frame.hcp % 2, 1, 0)), "before: leave those units out"),
        (lambda frame: frame.assign(calls=(frame.month >= 3).astype(int)), "every unit adopts"),
        (lambda frame: frame.assign(calls=frame.month + frame.hcp % 3), "not 0/1"),
    ],
    ids=["reversed", "always treated", "universal", "dose"],
)
def test_did_refuses_what_is_not_one_lasting_adoption(spoil: object, message: str) -> None:
    with pytest.raises(EstimationError, match=message):
        fit_estimator("did", study_of(spoil(rollout())))  # type: ignore[operator]


def test_did_refuses_few_adopting_units_however_many_rows_they_have() -> None:
    with pytest.raises(TooFewRows, match="12 adopting"):
        fit_estimator("did", study_of(rollout(units=24, periods=30)))


def test_a_panel_estimator_needs_unit_and_time() -> None:
    with pytest.raises(StudyInvalid, match="unit and the time"):
        fit_estimator("twfe", study_of(rollout(), unit_key=None, time_key=None))


def test_adoption_is_described() -> None:
    study = study_of(rollout())
    adoption = adoption_of(study, panel_of(study))
    assert adoption is not None
    assert (adoption.absorbing, adoption.common, adoption.staggered) == (True, True, False)
    assert adoption.dates.tolist() == [3]
    dose = study_of(calls_panel())
    assert adoption_of(dose, panel_of(dose)) is None


@pytest.mark.parametrize(
    ("frame", "changes", "first"),
    [
        (rollout(), {}, "did"),
        (calls_panel(), {}, "twfe"),
        (calls_panel(), {"lag": 2}, "distributed_lag"),
    ],
)
def test_the_shape_of_treatment_over_time_decides_the_panel_estimator(
    frame: pd.DataFrame, changes: dict[str, object], first: str
) -> None:
    assert default_estimators(study_of(frame, **changes), Design.PANEL)[0] == first
