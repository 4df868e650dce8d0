"""Lead, pre-trend and pooled-count diagnostics: silent on good panels, loud on bad ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from src.causal_engine.diagnostics.panel import panel_diagnostics, poisson_slope
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import Study, prepare_study


def targeted_panel(*, chased: bool, seed: int = 0, units: int = 150, periods: int = 10) -> pd.DataFrame:
    """Calls raise scripts by .5; when ``chased``, next month's calls also follow this month's scripts."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=units)
    scripts = np.zeros((units, periods))
    calls = rng.poisson(2.0, (units, periods)).astype(float)
    for month in range(periods):
        if chased and month:
            surprise = scripts[:, month - 1] - 0.5 * calls[:, month - 1] - level
            calls[:, month] = rng.poisson(np.exp(0.7 + 0.3 * surprise))
        scripts[:, month] = level + 0.5 * calls[:, month] + rng.normal(size=units)
    return pd.DataFrame(
        {
            "hcp": np.repeat(np.arange(units), periods),
            "month": np.tile(np.arange(periods), units),
            "calls": calls.ravel(),
            "scripts": scripts.ravel(),
        }
    )


def rollout(*, diverging: float = 0.0, staggered: bool = False, seed: int = 1, periods: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    units = 160
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    start = np.where(unit % 2 == 0, 99, np.where(staggered & (unit % 4 == 1), 5, 4))
    calls = (month >= start).astype(int)
    drift = diverging * month * (unit % 2)
    scripts = rng.normal(size=units)[unit] + 0.2 * month + calls + drift + rng.normal(size=len(unit))
    return pd.DataFrame({"hcp": unit, "month": month, "calls": calls, "scripts": scripts})


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    roles = {"treatment": "calls", "outcome": "scripts", "unit_key": "hcp", "time_key": "month", **changes}
    return prepare_study(frame, CausalSpec(**roles))  # type: ignore[arg-type]


def test_the_lead_is_silent_when_calls_do_not_follow_scripts() -> None:
    found = panel_diagnostics(study_of(targeted_panel(chased=False)))
    assert found.passed
    assert found.leads[0].passed
    assert (found.n_units, found.n_periods) == (150, 10)


def test_the_lead_fires_when_calls_follow_scripts() -> None:
    found = panel_diagnostics(study_of(targeted_panel(chased=True)))
    assert not found.leads[0].passed
    assert found.leads[0].p_value < 0.001
    assert not found.passed


def test_the_lead_test_keeps_its_level() -> None:
    fired = sum(
        not panel_diagnostics(study_of(targeted_panel(chased=False, seed=seed, units=60, periods=6))).passed
        for seed in range(120)
    )
    assert fired <= 13


def test_two_periods_carry_neither_lead_nor_pre_trend_test_and_the_note_says_so() -> None:
    frame = rollout()
    found = panel_diagnostics(study_of(frame[frame.month.isin([3, 4])]))
    assert found.leads == ()
    assert found.pre_trend_p_value is None
    assert "at least two periods before adoption" in found.pre_trend_note
    assert "no lead test" in found.pre_trend_note


@pytest.mark.parametrize("staggered", [False, True])
def test_parallel_trends_pass_and_diverging_ones_are_noticed(staggered: bool) -> None:
    parallel = panel_diagnostics(study_of(rollout(staggered=staggered)))
    diverging = panel_diagnostics(study_of(rollout(staggered=staggered, diverging=0.4)))
    assert parallel.pre_trend_p_value is not None
    assert parallel.pre_trend_p_value > 0.05
    assert diverging.pre_trend_p_value is not None
    assert diverging.pre_trend_p_value < 0.01
    assert not diverging.passed
    assert parallel.staggered is staggered


def test_the_pre_trend_test_keeps_its_level() -> None:
    values = [panel_diagnostics(study_of(rollout(seed=seed))).pre_trend_p_value for seed in range(100)]
    assert sum(value < 0.05 for value in values if value is not None) <= 11


def test_an_effect_that_grows_after_adoption_is_no_diverging_trend() -> None:
    frame = rollout()
    frame["scripts"] += frame.calls * (frame.month - 3) * 2.0
    assert (panel_diagnostics(study_of(frame)).pre_trend_p_value or 0) > 0.05


def counts(seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = targeted_panel(chased=False, seed=seed)
    frame["volume"] = rng.normal(size=150)[frame.hcp]
    frame["scripts"] = rng.poisson(np.exp(0.2 + 0.1 * frame.calls + 0.5 * frame.volume))
    return frame


@pytest.mark.parametrize("controls", [(), ("volume",)])
def test_the_pooled_count_model_equals_statsmodels(controls: tuple[str, ...]) -> None:
    frame = counts()
    design = sm.add_constant(frame[["calls", *controls]].to_numpy())
    oracle = sm.GLM(frame.scripts, design, family=sm.families.Poisson()).fit(
        cov_type="cluster", cov_kwds={"groups": frame.hcp.to_numpy()}, tol=1e-12
    )
    study = study_of(frame, confounders=controls)
    slope, error = poisson_slope(study)
    assert slope == pytest.approx(oracle.params.iloc[1], rel=1e-8)
    assert error == pytest.approx(oracle.bse.iloc[1], rel=1e-6)
    found = panel_diagnostics(study)
    assert found.pooled_elasticity == pytest.approx(slope * frame.calls.mean(), rel=1e-12)
    assert found.pooled_semi_elasticity == slope


def test_no_elasticity_is_reported_for_an_outcome_that_is_not_a_count() -> None:
    assert panel_diagnostics(study_of(targeted_panel(chased=False))).pooled_elasticity is None


def test_the_lag_profile_is_there_when_a_lag_is_asked_for() -> None:
    frame = targeted_panel(chased=False)
    assert panel_diagnostics(study_of(frame)).lag_profile == ()
    profile = panel_diagnostics(study_of(frame, lag=1)).lag_profile
    assert [lag for lag, _, _ in profile] == [0, 1, 2, 3, 4]
    assert profile[0][1] == pytest.approx(0.5, abs=0.1)
    assert abs(profile[1][1]) < 0.1


def test_the_share_of_treatment_variation_within_units_is_measured() -> None:
    frame = targeted_panel(chased=False)
    frame["calls"] += 10 * frame.hcp
    assert panel_diagnostics(study_of(frame)).treatment_varies_within < 0.01
    assert panel_diagnostics(study_of(targeted_panel(chased=False))).treatment_varies_within > 0.8


def test_a_handful_of_units_carries_no_test_and_the_note_says_which() -> None:
    frame = targeted_panel(chased=False, units=5, periods=20)
    frame["scripts"] = np.arange(len(frame)) % 4
    found = panel_diagnostics(study_of(frame))
    assert found.leads == ()
    assert found.pooled_elasticity is None
    assert "no lead test: there are 5 clusters" in found.pre_trend_note
    assert "no pooled count model: there are 5 clusters" in found.pre_trend_note
