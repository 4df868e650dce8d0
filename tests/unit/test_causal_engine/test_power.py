"""Minimum detectable effects against simulation and the textbook formula."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.power import NormalIndPower

from src.causal_engine.diagnostics.power import anticipated_std_error, power_report
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import Study, prepare_study
from src.errors import StudyInvalid


def trial(n: int, seed: int = 0, effect: float = 0.0, **changes: object) -> Study:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = np.arange(n) % 2
    y = effect * t + 2 * x + rng.normal(size=n)
    territory = np.arange(n) // 10
    frame = pd.DataFrame({"t": t, "y": y, "x": x, "territory": territory})
    return prepare_study(frame, CausalSpec(**{"treatment": "t", "outcome": "y", "randomized": True, **changes}))  # type: ignore[arg-type]


def test_the_detectable_effect_equals_the_textbook_formula() -> None:
    study = trial(1000)
    oracle = NormalIndPower().solve_power(nobs1=500, alpha=0.05, power=0.8, ratio=1.0)
    report = power_report(study, None)
    assert report.minimum_detectable_effect == pytest.approx(oracle * study.y.std(), rel=0.01)
    assert report.smallest_effect_of_interest == pytest.approx(0.2 * study.y.std(ddof=1))
    assert "0.2 standard deviations" in report.smallest_effect_source


def test_an_effect_of_that_size_is_found_four_times_in_five() -> None:
    size = power_report(trial(400), None).minimum_detectable_effect
    found = [
        fit_estimator("difference_in_means", trial(400, seed, effect=size)).estimate.p_value < 0.05
        for seed in range(300)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)


def test_controls_that_explain_the_outcome_buy_power() -> None:
    assert anticipated_std_error(trial(1000, confounders=("x",))) < 0.55 * anticipated_std_error(trial(1000))


def test_clustered_assignment_costs_power() -> None:
    rng = np.random.default_rng(0)
    territory = np.repeat(np.arange(60), 20)
    shared = rng.normal(size=60)[territory]
    frame = pd.DataFrame({"t": territory % 2, "y": shared + rng.normal(size=1200), "territory": territory})
    loose = power_report(prepare_study(frame, CausalSpec("t", "y")), None)
    tied = power_report(prepare_study(frame, CausalSpec("t", "y", cluster_key="territory")), None)
    assert tied.minimum_detectable_effect > 2 * loose.minimum_detectable_effect
    assert tied.n_clusters == 60
    assert loose.n_clusters is None


def test_n_needed_makes_the_design_adequate() -> None:
    small = power_report(trial(100), None)
    assert not small.adequate
    assert power_report(trial(int(1.15 * small.n_needed)), None).adequate
    assert power_report(trial(2000), None).adequate


def test_a_named_minimum_effect_is_used_and_zero_is_refused() -> None:
    report = power_report(trial(500, minimum_effect=-0.9), 0.1)
    assert report.smallest_effect_of_interest == 0.9
    assert report.minimum_detectable_effect == pytest.approx(0.28016, rel=1e-4)
    with pytest.raises(StudyInvalid, match="must not be 0"):
        power_report(trial(500, minimum_effect=0.0), 0.1)


def test_the_effect_of_interest_of_a_dose_is_per_unit() -> None:
    rng = np.random.default_rng(1)
    dose = rng.poisson(4, 800)
    frame = pd.DataFrame({"t": dose, "y": rng.normal(size=800)})
    one, ten = (
        power_report(prepare_study(frame.assign(t=factor * dose), CausalSpec("t", "y")), None) for factor in (1, 10)
    )
    assert one.smallest_effect_of_interest == pytest.approx(10 * ten.smallest_effect_of_interest)
    assert one.minimum_detectable_effect == pytest.approx(10 * ten.minimum_detectable_effect)
    assert "per standard deviation of the treatment" in one.smallest_effect_source


def test_a_panel_is_judged_by_what_varies_within_units() -> None:
    rng = np.random.default_rng(2)
    unit, month = np.repeat(np.arange(100), 6), np.tile(np.arange(6), 100)
    level = 10 * rng.normal(size=100)[unit]
    frame = pd.DataFrame({"t": rng.poisson(3, 600), "y": level + rng.normal(size=600), "unit": unit, "month": month})
    panel = prepare_study(frame, CausalSpec("t", "y", unit_key="unit", time_key="month"))
    estimate = fit_estimator("twfe", panel).estimate
    assert anticipated_std_error(panel) == pytest.approx(estimate.std_error, rel=0.1)
