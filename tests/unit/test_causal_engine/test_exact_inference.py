"""Exact inference for small trials against enumeration, Fisher's test and simulated truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from src.causal_engine.estimation import estimate_effect
from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.identification import identify
from src.causal_engine.refutation.refute import refute
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, TooFewRows


def trial(treated: int = 7, control: int = 8, effect: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """A completely randomised trial with a constant effect."""
    rng = np.random.default_rng(seed)
    arm = rng.permutation(np.arange(treated + control) < treated) * 1.0
    frame = pd.DataFrame({"called": arm, "scripts": rng.normal(size=len(arm)) + effect * arm})
    return frame.assign(age=rng.normal(size=len(arm)))


def response(seed: int, treated: int = 12, control: int = 10) -> tuple[pd.DataFrame, float]:
    """A trial with a 0/1 outcome and the mean effect on its own units."""
    rng = np.random.default_rng(seed)
    without = rng.random(treated + control) < 0.3
    having = without | (rng.random(treated + control) < 0.5)
    arm = rng.permutation(np.arange(treated + control) < treated)
    frame = pd.DataFrame({"called": arm * 1.0, "scripts": np.where(arm, having, without) * 1.0})
    return frame, float(having.mean() - without.mean())


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    roles = {"treatment": "called", "outcome": "scripts", "randomized": True, **changes}
    return prepare_study(frame, CausalSpec(**roles))  # type: ignore[arg-type]


def permutation_p(frame: pd.DataFrame, effect: float = 0.0) -> float:
    left = frame.scripts - effect * frame.called
    arms = (left[frame.called == 1], left[frame.called == 0])
    found = stats.permutation_test(
        arms, lambda a, b: abs(a.mean() - b.mean()), n_resamples=np.inf, alternative="greater"
    )
    return float(found.pvalue)


def test_the_p_value_is_the_share_of_all_assignments_and_the_interval_inverts_it() -> None:
    frame = trial()
    estimate = fit_estimator("exact", study_of(frame)).estimate
    assert "all 6,435 assignments" in estimate.se_method
    assert estimate.p_value == pytest.approx(permutation_p(frame))
    for end, inwards in ((estimate.ci.lower, 1), (estimate.ci.upper, -1)):
        assert permutation_p(frame, end + inwards * 1e-6) > 0.05
        assert permutation_p(frame, end - inwards * 1e-6) <= 0.05 + 1e-3
    assert estimate.estimand is Estimand.SATE


def test_a_small_trial_covers_its_effect() -> None:
    estimates = [fit_estimator("exact", study_of(trial(effect=0.7, seed=seed))).estimate for seed in range(40)]
    assert np.mean([estimate.ci.covers(0.7) for estimate in estimates]) >= 0.88
    assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(0.7, abs=0.25)


def test_without_an_effect_rejections_are_as_rare_as_promised() -> None:
    chances = [fit_estimator("exact", study_of(trial(6, 6, 0.0, seed))).estimate.p_value for seed in range(100)]
    assert np.mean(np.array(chances) <= 0.05) <= 0.11


def test_a_binary_outcome_has_fishers_p_value_and_limits_that_cover_whatever_the_effects() -> None:
    covered = []
    for seed in range(15):
        frame, truth = response(seed)
        estimate = fit_estimator("exact", study_of(frame)).estimate
        covered.append(estimate.ci.covers(truth))
    assert np.mean(covered) >= 0.95
    frame, _ = response(3, 7, 7)
    table = pd.crosstab(frame.called, frame.scripts)
    estimate = fit_estimator("exact", study_of(frame)).estimate
    assert estimate.p_value == pytest.approx(stats.fisher_exact(table).pvalue, abs=1e-9)
    assert "hypergeometric" in estimate.se_method


def test_treatment_by_whole_clusters_is_exchanged_by_whole_clusters() -> None:
    rng = np.random.default_rng(2)
    territory = np.repeat(np.arange(12), 6)
    arm = rng.permutation(np.arange(12) < 6) * 1.0
    scripts = arm[territory] + 2 * rng.normal(size=12)[territory] + rng.normal(size=72)
    frame = pd.DataFrame({"called": arm[territory], "scripts": scripts, "territory": territory})
    estimate = fit_estimator("exact", study_of(frame, cluster_key="territory")).estimate
    means = frame.groupby("territory")[["called", "scripts"]].mean()
    assert "whole clusters exchanged, all 924" in estimate.se_method
    assert estimate.p_value == pytest.approx(permutation_p(means))
    assert estimate.std_error > fit_estimator("exact", study_of(frame)).estimate.std_error


def test_treatment_drawn_within_blocks_is_exchanged_within_blocks() -> None:
    rng = np.random.default_rng(3)
    block = np.repeat(np.arange(8), 4)
    arm = np.concatenate([rng.permutation([1.0, 1.0, 0.0, 0.0]) for _ in range(8)])
    scripts = 10.0 * block + arm + 0.5 * rng.normal(size=32)
    frame = pd.DataFrame({"called": arm, "scripts": scripts, "block": block})
    within = fit_estimator("exact", study_of(frame, cluster_key="block")).estimate
    assert "within blocks" in within.se_method
    assert within.ci.covers(1.0)
    assert within.ci.upper - within.ci.lower < 2.0
    assert within.p_value < 0.01


def test_a_randomised_study_of_twenty_rows_is_answered_and_tested() -> None:
    frame = trial(10, 10, effect=2.0)
    spec = CausalSpec("called", "scripts", confounders=("age",), randomized=True)
    outcome, fitted = estimate_effect(frame, spec, identify(spec, list(frame.columns), None))
    assert outcome.primary is not None
    assert outcome.primary.estimator == "exact"
    assert outcome.primary.ci.lower > 0
    assert fitted.fitted is not None
    report = refute(fitted.study, fitted.fitted, random_state=1)
    assert report.test("placebo_treatment").passed


def test_the_default_changes_to_exact_only_below_thirty_an_arm() -> None:
    assert default_estimators(study_of(trial(29, 40)), Design.RANDOMIZED)[0] == "exact"
    assert default_estimators(study_of(trial(30, 40)), Design.RANDOMIZED)[0] == "difference_in_means"


@pytest.mark.parametrize(
    ("frame", "changes", "message"),
    [
        (trial(10, 10), {"randomized": False}, "at least 30"),
        (trial(10, 10), {"estimator": "ols"}, "at least 30"),
        (trial(4, 10), {}, "at least 5"),
    ],
    ids=["observational", "another estimator", "four treated"],
)
def test_few_rows_are_refused_wherever_exact_inference_does_not_answer(
    frame: pd.DataFrame, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(TooFewRows, match=message):
        study_of(frame, **changes)


@pytest.mark.parametrize(
    ("frame", "changes", "error", "message"),
    [
        (trial(40, 40), {"randomized": False}, EstimationError, "assigned at random"),
        (trial(40, 40).assign(site=lambda rows: rows.called), {"cluster_key": "site"}, TooFewRows, "in one cluster"),
        (
            trial(40, 40).assign(site=lambda rows: np.where(rows.index < 5, 100 + rows.index, rows.index % 4)),
            {"cluster_key": "site"},
            EstimationError,
            "one arm only",
        ),
    ],
    ids=["not randomised", "two clusters", "mixed"],
)
def test_exact_refuses(frame: pd.DataFrame, changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit_estimator("exact", study_of(frame, **changes))


def test_large_trials_are_referred_to_the_difference_in_means() -> None:
    with pytest.raises(EstimationError, match="at most 2,000; with 2,400 rows"):
        fit_estimator("exact", study_of(trial(1200, 1200), estimator="exact"))
