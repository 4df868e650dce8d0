"""Does targeting solve the score equations, keep the outcome's range, and take residual confounding out?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.curve import specification_curve
from src.causal_engine.estimators.doubly_robust import fit_aipw, fit_tmle
from src.causal_engine.estimators.positivity import arm_weights
from src.causal_engine.estimators.targeting import fluctuated, recalibrated, score_basis, targeted
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, OverlapViolated

N = 2_000
AVERAGES = [Estimand.ATE, Estimand.ATT, Estimand.SATE, Estimand.SATT]


def simulate(seed: int = 4, *, binary: bool = False) -> tuple[pd.DataFrame, Nuisances]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 2))
    e = 1 / (1 + np.exp(-x[:, 0]))
    t = (rng.random(N) < e).astype(float)
    control = x[:, 0] + x[:, 1] ** 2
    treated = control + 1 + 0.5 * x[:, 1]
    if binary:
        control, treated = (1 / (1 + np.exp(-0.5 * mean)) for mean in (control, treated))
        y = (rng.random(N) < np.where(t == 1, treated, control)).astype(float)
    else:
        y = np.where(t == 1, treated, control) + rng.standard_normal(N)
    data = pd.DataFrame({"t": t, "y": y, "x1": x[:, 0], "x2": x[:, 1]})
    return data, Nuisances(e, control + e * (treated - control), control, treated, ())


def study(data: pd.DataFrame, estimand: Estimand = Estimand.ATE, **roles: object) -> Study:
    return prepare_study(data, CausalSpec("t", "y", ("x1", "x2"), estimand=estimand, **roles))  # type: ignore[arg-type]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("estimand", AVERAGES)
def test_weighted_residuals_of_either_arm_sum_to_zero(estimand: Estimand, binary: bool) -> None:
    data, nuisances = simulate(binary=binary)
    asked = study(data, estimand)
    updated = targeted(asked, nuisances, estimand)
    for weight, model in zip(
        arm_weights(asked.t, nuisances.propensity, estimand),
        (updated.outcome_treated, updated.outcome_control),
        strict=True,
    ):
        assert abs(weight @ (asked.y - model)) < 1e-6 * weight.sum()


@pytest.mark.parametrize("estimand", AVERAGES)
def test_the_estimate_is_the_mean_contrast_of_the_targeted_models(estimand: Estimand) -> None:
    data, nuisances = simulate()
    asked = study(data, estimand)
    updated = targeted(asked, nuisances, estimand)
    counted = asked.t if estimand.on_treated else np.ones(N)
    contrast = np.average(updated.outcome_treated - updated.outcome_control, weights=counted)
    assert fit_tmle(asked, nuisances).estimate.value == pytest.approx(contrast, abs=1e-6)


@pytest.mark.parametrize("estimand", [Estimand.ATE, Estimand.ATT])
def test_with_true_nuisances_it_agrees_with_aipw_to_a_fraction_of_the_error(estimand: Estimand) -> None:
    data, nuisances = simulate()
    asked = study(data, estimand)
    one, other = fit_tmle(asked, nuisances).estimate, fit_aipw(asked, nuisances).estimate
    assert abs(one.value - other.value) < 0.25 * other.std_error
    assert one.std_error == pytest.approx(other.std_error, rel=0.05)
    assert (one.estimator, other.estimator) == ("tmle", "aipw")


def test_outcome_models_biased_along_the_propensity_are_put_right() -> None:
    """An outcome model wrong by x₁², and weights wrong too: AIPW takes known models as they are, targeting corrects."""
    data, true = simulate(seed=9)
    off = 0.5 * data["x1"].to_numpy() ** 2
    flat = 1 / (1 + np.exp(-0.5 * data["x1"].to_numpy()))
    wrong = Nuisances(flat, true.outcome, true.outcome_control + off, true.outcome_treated, ())
    aipw, tmle = (fit(study(data), wrong).estimate for fit in (fit_aipw, fit_tmle))
    assert abs(tmle.value - 1.0) < 2 * tmle.std_error
    assert abs(tmle.value - 1.0) < 0.5 * abs(aipw.value - 1.0)


def test_predictions_stay_within_the_range_of_the_outcome() -> None:
    data, nuisances = simulate(binary=True)
    too_far = Nuisances(
        nuisances.propensity, None, nuisances.outcome_control - 0.6, nuisances.outcome_treated + 0.6, ()
    )
    updated = targeted(study(data), too_far, Estimand.ATE)
    for model in (updated.outcome_control, updated.outcome_treated):
        assert model.min() >= 0
        assert model.max() <= 1


def test_an_arm_without_any_event_is_left_next_to_none() -> None:
    y = np.array([0.0, 0.0, 1.0, 0.0])
    weight = np.array([1.0, 1.0, 0.0, 0.0])
    assert np.all(fluctuated(np.full(4, 0.3), y, weight) < 1e-9)


def test_recalibration_leaves_a_right_model_nearly_alone() -> None:
    data, nuisances = simulate()
    scores = score_basis(nuisances.propensity, nuisances.outcome_control, nuisances.outcome_treated)
    control = data["t"].to_numpy() == 0
    updated = recalibrated(nuisances.outcome_control, data["y"].to_numpy(), control, scores)
    inside = np.abs(nuisances.outcome_control) < 3
    assert np.sqrt(np.mean((updated - nuisances.outcome_control)[inside] ** 2)) < 0.15


def test_scores_that_do_not_vary_are_left_out() -> None:
    rng = np.random.default_rng(1)
    control = rng.standard_normal(50)
    assert score_basis(np.full(50, 0.5), control, control + 2.0).shape == (50, 1)
    assert score_basis(np.full(50, 0.5), np.zeros(50), np.zeros(50)).shape == (50, 0)


@pytest.mark.parametrize("factor", [1_000.0, 0.001])
def test_the_scale_of_the_outcome_does_not_matter(factor: float) -> None:
    data, _ = simulate()
    data = data.head(300)
    plain, scaled = (fit_tmle(study(rows)).estimate for rows in (data, data.assign(y=factor * data["y"])))
    assert scaled.value == pytest.approx(factor * plain.value, rel=1e-3)
    assert scaled.std_error == pytest.approx(factor * plain.std_error, rel=1e-3)


def test_the_specification_curve_fits_it_on_shared_nuisances() -> None:
    data, _ = simulate()
    estimates, failures = specification_curve(
        study(data.head(300), Estimand.SATT), Design.OBSERVATIONAL, control_sets=[("all", ("x1", "x2"))]
    )
    assert not failures
    assert [estimate.estimator for estimate in estimates] == ["tmle", "aipw", "ipw", "lin"]


def test_it_refuses_what_it_cannot_answer() -> None:
    data, nuisances = simulate()
    with pytest.raises(EstimationError, match="overlap-weighted"):
        fit_tmle(study(data, Estimand.ATO), nuisances)
    with pytest.raises(EstimationError, match="linear_dml"):
        fit_tmle(study(data.assign(t=data["x1"] + data["t"])), nuisances)
    extreme = Nuisances(
        np.where(data["x1"] > 0, 0.999, 0.5), None, nuisances.outcome_control, nuisances.outcome_treated, ()
    )
    with pytest.raises(OverlapViolated, match="overlap-weighted"):
        fit_tmle(study(data), extreme)
