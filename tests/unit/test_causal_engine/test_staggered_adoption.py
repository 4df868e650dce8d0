"""Adoption at different dates: imputation and synthetic difference-in-differences against simulated truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.choice.validate import cautions
from src.causal_engine.diagnostics.panel import panel_diagnostics
from src.causal_engine.estimators.fixed_effects import within_regression
from src.causal_engine.estimators.panel_data import panel_of
from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.estimators.synthetic_did import refit_synthetic_did, simplex_weights
from src.causal_engine.refutation.refute import refute
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, TooFewRows


def staggered(units: int = 150, periods: int = 10, seed: int = 0, **shape: float) -> tuple[pd.DataFrame, float]:
    """A roll-out at periods 3, 5 and 7 whose effects grow with time and are larger for early adopters; its ATT.

    ``never`` is the share that never adopts, ``trend`` how adopters drift, ``gaps`` the share of untreated rows lost.
    """
    rng = np.random.default_rng(seed)
    first = np.where(rng.random(units) < shape.get("never", 0.3), 99, rng.choice([3, 5, 7], units))
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    since = month - first[unit]
    effect = np.where(since >= 0, 0.5 + 0.4 * since + 0.3 * (7 - first[unit]) + rng.normal(0, 0.5, units)[unit], 0.0)
    noise = rng.normal(size=(units, periods))
    for k in range(1, periods):
        noise[:, k] = 0.5 * noise[:, k - 1] + np.sqrt(0.75) * noise[:, k]
    adopter = first < 99
    level = rng.normal(size=units) + adopter
    outcome = level[unit] + 0.3 * month + np.sin(month) + shape.get("trend", 0.0) * month * adopter[unit]
    frame = pd.DataFrame(
        {"hcp": unit, "month": month, "tool": (since >= 0) * 1.0, "nrx": outcome + effect + noise.ravel()}
    )
    frame["effect"], frame["size"] = effect, level[unit]
    lost = (rng.random(len(frame)) < shape.get("gaps", 0.0)) & (frame.tool == 0)
    frame = frame[~lost].reset_index(drop=True)
    return frame, float(frame.effect[frame.tool == 1].mean())


def few_adopters(
    seed: int = 0, dates: tuple[int, ...] = (9,), effect: float = 1.0, selected: float = 1.0
) -> pd.DataFrame:
    """Twelve of sixty units adopt; units load differently on two common factors, by one of which they are selected."""
    rng = np.random.default_rng(seed)
    units, periods = 60, 14
    loads, factors = rng.normal(size=(units, 2)), np.cumsum(0.25 * rng.normal(size=(2, periods)), axis=1)
    first = np.full(units, 99)
    first[np.argsort(-selected * loads[:, 0] + rng.normal(0, 3, units))[:12]] = np.resize(dates, 12)
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    tool = (month >= first[unit]) * 1.0
    outcome = rng.normal(size=units)[unit] + (loads @ factors).ravel() + effect * tool + rng.normal(0, 0.6, len(unit))
    return pd.DataFrame({"hcp": unit, "month": month, "tool": tool, "nrx": outcome})


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    roles = {"treatment": "tool", "outcome": "nrx", "unit_key": "hcp", "time_key": "month", **changes}
    return prepare_study(frame, CausalSpec(**roles))  # type: ignore[arg-type]


@pytest.mark.parametrize("gaps", [0.0, 0.1], ids=["balanced", "gaps"])
def test_imputation_is_least_squares_on_untreated_rows_with_the_error_of_theorem_three(gaps: float) -> None:
    frame, _ = staggered(70, seed=3, gaps=gaps)
    estimate = fit_estimator("imputation", study_of(frame)).estimate
    dummies = pd.get_dummies(frame.hcp, dtype=float).to_numpy()
    x = np.column_stack([dummies, pd.get_dummies(frame.month, dtype=float).to_numpy()[:, 1:]])
    treated = (frame.tool == 1).to_numpy()
    x0, y = x[~treated], frame.nrx.to_numpy()
    w = treated / treated.sum()
    v = w.copy()
    v[~treated] = -x0 @ np.linalg.pinv(x0.T @ x0) @ x.T @ w
    effects = y - x @ np.linalg.lstsq(x0, y[~treated], rcond=None)[0]
    first = frame.hcp.map(frame[treated].groupby("hcp").month.min())
    groups = pd.Series(effects[treated]).groupby([first[treated].to_numpy(), frame.month[treated].to_numpy()])
    size, mean = groups.transform("size").to_numpy(), groups.transform("mean").to_numpy()
    left = effects.copy()
    left[treated] = (effects[treated] - mean) * size / (size - 1)
    per_unit = pd.Series(v * left).groupby(frame.hcp).sum()
    count = len(per_unit)
    assert estimate.value == pytest.approx(effects[treated].mean(), rel=1e-9)
    assert estimate.std_error == pytest.approx(np.sqrt(count / (count - 1) * (per_unit**2).sum()), rel=1e-6)
    assert estimate.estimand is Estimand.ATT
    assert "conservative" in estimate.se_method


def test_imputation_recovers_growing_effects_where_two_way_fixed_effects_do_not() -> None:
    errors, claimed, wrong, covered = [], [], [], []
    for seed in range(25):
        frame, truth = staggered(120, seed=seed)
        study = study_of(frame)
        estimate = fit_estimator("imputation", study).estimate
        plain, _, _ = within_regression(study, panel_of(study), study.t[:, None])
        errors.append(estimate.value - truth)
        claimed.append(estimate.std_error)
        covered.append(estimate.ci.covers(truth))
        wrong.append(plain.coefficients[0] - truth)
    assert abs(np.mean(errors)) < 0.1
    assert np.mean(covered) >= 0.84
    assert np.mean(claimed) == pytest.approx(np.std(errors), rel=0.4)
    assert np.mean(wrong) < -0.4


def test_the_profile_shows_the_effect_growing_and_no_leads_before() -> None:
    frame, _ = staggered(400, seed=1)
    profile = fit_estimator("imputation", study_of(frame)).estimate.profile
    assert profile is not None
    points = {point.at: point for point in profile.points}
    true = frame[frame.tool == 1].assign(since=frame.month - frame.groupby("hcp").month.transform("min"))
    first = frame[frame.tool == 1].groupby("hcp").month.min()
    true["since"] = true.month - true.hcp.map(first)
    by_lag = true.groupby("since").effect.mean()
    assert all(points[lag].ci.covers(by_lag[lag]) for lag in (0, 1, 2, 3, 4))
    assert points[-1.0].value == 0.0
    assert all(abs(points[lead].value) < 3 * points[lead].std_error for lead in (-2.0, -3.0))
    assert points[4.0].value > points[0.0].value + 1.0


@pytest.mark.parametrize(("trend", "noticed"), [(0.0, False), (0.4, True)])
def test_the_pre_trend_test_sees_untreated_rows_only_and_notices_drift(trend: float, noticed: bool) -> None:
    frame, _ = staggered(200, seed=4, trend=trend)
    found = panel_diagnostics(study_of(frame))
    changed = frame.assign(nrx=frame.nrx + 50.0 * frame.tool * frame.month)
    assert found.pre_trend_p_value is not None
    assert (found.pre_trend_p_value < 0.05) is noticed
    assert panel_diagnostics(study_of(changed)).pre_trend_p_value == pytest.approx(found.pre_trend_p_value, rel=1e-9)
    assert found.leads == ()
    assert "staggered" in found.pre_trend_note


def test_a_control_fixed_within_units_takes_up_trends_that_differ_with_it() -> None:
    frame, truth = staggered(300, seed=2)
    frame["nrx"] += 0.3 * frame["size"] * frame.month
    assert not fit_estimator("imputation", study_of(frame)).estimate.ci.covers(truth)
    adjusted = fit_estimator("imputation", study_of(frame, confounders=("size",))).estimate
    assert adjusted.ci.covers(truth)
    assert "size" in adjusted.adjusted_for


def test_periods_in_which_all_have_adopted_are_left_out_and_counted() -> None:
    frame, _ = staggered(150, never=0.0)
    estimate = fit_estimator("imputation", study_of(frame)).estimate
    assert estimate.n_dropped == int((frame.month >= 7).sum())
    assert estimate.diagnostic("n_treated_rows") == int(((frame.tool == 1) & (frame.month < 7)).sum())


def test_units_treated_from_their_first_period_on_have_no_say() -> None:
    frame, _ = staggered(150, seed=5)
    always = frame[frame.hcp < 20].assign(hcp=lambda rows: rows.hcp + 1000, tool=1.0)
    plain = fit_estimator("imputation", study_of(frame)).estimate
    joined = fit_estimator("imputation", study_of(pd.concat([frame, always], ignore_index=True))).estimate
    assert joined.value == pytest.approx(plain.value, rel=1e-9)
    assert joined.n_dropped == len(always)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (few_adopters(dates=(7, 10)), TooFewRows, "12 adopting units"),
        (staggered()[0].assign(tool=lambda rows: rows.tool * (rows.month != 8)), EstimationError, "switched off"),
        (staggered()[0].assign(tool=lambda rows: rows.tool * (1.0 + rows.hcp % 2)), EstimationError, "not 0/1"),
    ],
    ids=["few adopters", "reversed", "dose"],
)
def test_imputation_refuses(frame: pd.DataFrame, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit_estimator("imputation", study_of(frame))


@pytest.mark.parametrize(
    ("frame", "expected"), [(staggered()[0], "imputation"), (few_adopters(dates=(7, 10)), "synthetic_did")]
)
def test_staggered_panels_are_never_answered_by_two_way_fixed_effects(frame: pd.DataFrame, expected: str) -> None:
    names = default_estimators(study_of(frame), Design.PANEL)
    assert names[0] == expected
    assert not {"twfe", "did"} & set(names)


def test_the_placebo_draws_adoption_dates_anew_and_passes() -> None:
    frame, _ = staggered(90, seed=6)
    study = study_of(frame)
    report = refute(study, fit_estimator("imputation", study), random_state=1)
    assert report.test("placebo_treatment").passed
    assert "redrawing which units adopt" in report.test("placebo_treatment").detail


@pytest.mark.parametrize("penalty", [0.0, 3.0])
def test_simplex_weights_are_the_best_convex_combination(penalty: float) -> None:
    rng = np.random.default_rng(2)
    columns, target = rng.normal(size=(12, 6)), rng.normal(size=12)

    def loss(w: np.ndarray) -> float:
        left = columns @ w - target
        return float(((left - left.mean()) ** 2).sum() + penalty * w @ w)

    found = simplex_weights(columns, target, penalty)
    others = rng.dirichlet(np.full(6, 0.5), 5_000)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1.0)
    assert loss(found) <= min(map(loss, others)) + 1e-9


@pytest.mark.parametrize("donors", [41, 400])
def test_with_many_donors_no_weight_could_be_moved_to_a_better_place(donors: int) -> None:
    rng = np.random.default_rng(2)
    columns, target, penalty = rng.normal(size=(8, donors)), rng.normal(size=8), 5.0
    found = simplex_weights(columns, target, penalty)
    left = (columns - columns.mean(axis=0)) - (target - target.mean())[:, None]
    slope = left.T @ (left @ found) + penalty * found
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1.0)
    assert slope @ found - slope.min() <= 1e-5 * (slope @ found)


def test_synthetic_did_is_the_weighted_double_difference_of_the_paper() -> None:
    frame = few_adopters()
    wide = frame.pivot(index="hcp", columns="month", values="nrx").to_numpy()
    treated = frame.groupby("hcp").tool.max().to_numpy() == 1
    before, after = wide[:, :9], wide[:, 9:]
    noise = np.diff(before[~treated], axis=1).std(ddof=1)
    zeta = (12 * 5) ** 0.25 * noise
    units = simplex_weights(before[~treated].T, before[treated].mean(axis=0), zeta**2 * 9)
    times = simplex_weights(before[~treated], after[~treated].mean(axis=1), (1e-6 * noise) ** 2 * 48)
    change = after.mean(axis=1) - before @ times
    expected = change[treated].mean() - units @ change[~treated]
    assert refit_synthetic_did(study_of(frame)).estimate.value == pytest.approx(expected, rel=1e-8)


def test_synthetic_did_of_twelve_adopters_says_that_its_error_comes_from_placebos() -> None:
    frame = few_adopters(seed=1)
    estimate = fit_estimator("synthetic_did", study_of(frame)).estimate
    assert "placebo: 12 never-treated units" in estimate.se_method
    assert estimate.ci.covers(1.0)
    assert estimate.diagnostic("permutation_p") == pytest.approx(1 / 201)
    nothing = fit_estimator("synthetic_did", study_of(few_adopters(seed=1, effect=0.0))).estimate
    assert nothing.diagnostic("permutation_p") > 0.05  # type: ignore[operator]


def test_synthetic_did_averages_adoption_dates_by_their_treated_unit_periods() -> None:
    frame = few_adopters(seed=2, dates=(6, 9))
    first = frame[frame.tool == 1].groupby("hcp").month.min()
    parts = []
    for date in (6, 9):
        others = first.index[first != date]
        parts.append(refit_synthetic_did(study_of(frame[~frame.hcp.isin(others)])).estimate.value)
    sizes = np.array([6 * 8, 6 * 5])
    both = refit_synthetic_did(study_of(frame)).estimate
    assert both.value == pytest.approx(sizes @ parts / sizes.sum(), rel=1e-8)
    assert both.diagnostic("n_adoption_dates") == 2


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda frame: frame[(frame.hcp % 3 > 0) | (frame.month != 2)], EstimationError, "balanced"),
        (lambda frame: frame[frame.month >= 6], TooFewRows, "3 periods before"),
        (
            lambda frame: frame[(frame.hcp < 12) | (frame.groupby("hcp").tool.transform("max") == 1)],
            TooFewRows,
            "never",
        ),
    ],
    ids=["gaps", "short", "nobody to compare"],
)
def test_synthetic_did_refuses(spoil: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit_estimator("synthetic_did", study_of(spoil(few_adopters()).reset_index(drop=True)))  # type: ignore[operator]


def test_before_few_adopters_a_clean_past_is_left_alone_and_a_drifting_one_is_not() -> None:
    def chance(seed: int, drift: float) -> float:
        frame = few_adopters(seed, selected=0.0)
        adopter = frame.groupby("hcp").tool.transform("max")
        found = panel_diagnostics(study_of(frame.assign(nrx=frame.nrx + drift * frame.month * adopter)))
        assert "dealing the adoption dates" in found.pre_trend_note
        assert found.pre_trend_p_value is not None
        return found.pre_trend_p_value

    assert sum(chance(seed, 0.0) < 0.05 for seed in range(10)) <= 2
    assert sum(chance(seed, 0.3) < 0.05 for seed in range(4)) == 4


def test_synthetic_did_says_on_what_its_interval_rests() -> None:
    frame = few_adopters(dates=(7, 10)).assign(region=lambda d: d.hcp % 10)
    study = study_of(frame, cluster_key="region")
    said = " ".join(cautions(study, Design.PANEL, refit_synthetic_did(study)))
    assert "too narrow" in said
    assert "if units of a 'region' move together" in said


def test_outcomes_that_stand_still_before_adoption_give_no_pre_trend_test() -> None:
    frame, _ = staggered(80)
    found = panel_diagnostics(study_of(frame.assign(nrx=frame.tool)))
    assert found.pre_trend_p_value is None


def test_fewer_than_eleven_adopters_are_not_counted_aloud() -> None:
    frame = few_adopters()
    frame["tool"] = frame.tool.where(frame.groupby("hcp").tool.transform("max").cumsum() < 90, 0.0)
    estimate = fit_estimator("synthetic_did", study_of(frame)).estimate
    assert (estimate.n_treated or 0) < 11
    assert estimate.se_method.startswith("placebo: fewer than 11 never-treated units")
