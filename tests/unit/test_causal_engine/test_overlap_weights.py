"""Does the overlap-weighted effect answer where overlap is weak, under its own name?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from src.causal_engine.conclusion import Evidence, conclude
from src.causal_engine.diagnostics.balance import balance_table
from src.causal_engine.diagnostics.overlap import overlap_report
from src.causal_engine.estimation import estimate_effect
from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.doubly_robust import fit_aipw
from src.causal_engine.estimators.learners import logistic_probabilities
from src.causal_engine.estimators.partial_linear import fit_linear_dml
from src.causal_engine.estimators.positivity import arm_weights
from src.causal_engine.estimators.registry import default_estimators
from src.causal_engine.estimators.weighting import fit_ipw
from src.causal_engine.identification.identify import identify
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, OverlapViolated

N = 300


def simulate(seed: int = 1, n: int = N, slope: float = 5.0) -> tuple[pd.DataFrame, Nuisances]:
    """P(t) = σ(slope·a): a third of the units hardly ever, or nearly always, treated; effect 1 + a²."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    e = 1 / (1 + np.exp(-slope * a))
    t = (rng.random(n) < e).astype(float)
    control, treated = a + b, a + b + 1 + a**2
    y = np.where(t == 1, treated, control) + rng.standard_normal(n)
    known = Nuisances(e, control + e * (treated - control), control, treated, ())
    return pd.DataFrame({"t": t, "y": y, "a": a, "b": b}), known


def study(data: pd.DataFrame, **changes: object) -> Study:
    roles = {"estimand": Estimand.ATO, **changes}
    return prepare_study(data, CausalSpec("t", "y", ("a", "b"), **roles))  # type: ignore[arg-type]


def true_effect(slope: float) -> float:
    """Mean of 1 + a² weighted by e(1 − e), over a fine grid of a standard normal a."""
    a = np.linspace(-6, 6, 20_001)
    e = 1 / (1 + np.exp(-slope * a))
    return float(np.average(1 + a**2, weights=e * (1 - e) * np.exp(-(a**2) / 2)))


def test_it_answers_where_the_average_over_all_is_refused() -> None:
    data, _ = simulate()
    with pytest.raises(OverlapViolated, match="overlap-weighted"):
        fit_aipw(study(data, estimand=Estimand.ATE))
    for fit in (fit_aipw, fit_ipw, fit_linear_dml):
        estimate = fit(study(data)).estimate
        assert estimate.estimand is Estimand.ATO
        assert estimate.n == N


def test_with_known_nuisances_it_is_the_residual_on_residual_slope() -> None:
    data, known = simulate()
    fitted = fit_aipw(study(data), known).estimate
    left_t, left_y = data["t"] - known.propensity, data["y"] - known.outcome
    assert fitted.value == pytest.approx((left_t * left_y).sum() / (left_t**2).sum(), rel=1e-12)
    assert fitted.value == pytest.approx(fit_linear_dml(study(data), known).estimate.value, rel=1e-12)


def test_weighting_is_the_contrast_of_means_by_the_chance_of_the_other_arm() -> None:
    data, _ = simulate()
    asked = study(data)
    e = logistic_probabilities(asked.x, asked.t)
    t, y = asked.t, asked.y
    by_hand = np.average(y[t == 1], weights=1 - e[t == 1]) - np.average(y[t == 0], weights=e[t == 0])
    assert fit_ipw(asked).estimate.value == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("estimand", [Estimand.ATO, Estimand.ATT])
def test_the_error_of_weighting_is_that_of_the_stacked_equations(estimand: Estimand) -> None:
    """Oracle: M-estimation of logistic coefficients and both weighted means, the bread by finite differences."""
    data, _ = simulate(slope=1.0)
    asked = study(data, estimand=estimand)
    x, t, y = sm.add_constant(asked.x), asked.t, asked.y
    beta = sm.Logit(t, x).fit(disp=0).params

    def equations(theta: np.ndarray) -> np.ndarray:
        e = 1 / (1 + np.exp(-x @ theta[:3]))
        weight = (1 - e, e) if estimand is Estimand.ATO else (np.ones(N), e / (1 - e))
        means = (t * weight[0] * (y - theta[3]), (1 - t) * weight[1] * (y - theta[4]))
        return np.column_stack([(t - e)[:, None] * x, *means])

    e = 1 / (1 + np.exp(-x @ beta))
    weight = (1 - e, e) if estimand is Estimand.ATO else (np.ones(N), e / (1 - e))
    means = [np.average(y[t == arm], weights=w[t == arm]) for arm, w in ((1, weight[0]), (0, weight[1]))]
    theta = np.array([*beta, *means])
    bread = np.column_stack(
        [(equations(theta + step) - equations(theta - step)).mean(axis=0) / 2e-5 for step in 1e-5 * np.eye(len(theta))]
    )
    influence = np.linalg.solve(bread, equations(theta).T)
    contrast = influence[3] - influence[4]
    estimate = fit_ipw(asked).estimate
    assert estimate.value == pytest.approx(means[0] - means[1], rel=1e-5)
    assert estimate.std_error == pytest.approx(np.sqrt((contrast**2).sum()) / N, rel=1e-3)


def test_the_truth_of_the_weighted_population_is_found() -> None:
    data, known = simulate(n=3_000, slope=2.0)
    for estimate in (fit_aipw(study(data), known).estimate, fit_ipw(study(data)).estimate):
        assert abs(estimate.value - true_effect(2.0)) < 3 * estimate.std_error
        # The average over all is 2: the two are told apart.
        assert abs(estimate.value - 2.0) > 3 * estimate.std_error


def test_overlap_weights_of_a_logistic_propensity_balance_the_means_exactly() -> None:
    data, _ = simulate()
    asked = study(data)
    rows = balance_table(asked, logistic_probabilities(asked.x, asked.t))
    assert max(abs(row.smd_weighted or 0.0) for row in rows) < 1e-3
    assert max(abs(row.smd_raw) for row in rows) > 0.5


def test_no_unit_carries_the_answer() -> None:
    data, known = simulate()
    asked, e = study(data), np.clip(known.propensity, 0.01, 0.99)
    largest = {
        estimand: max(float(weight.max() / weight.sum()) for weight in arm_weights(asked.t, e, estimand))
        for estimand in (Estimand.ATO, Estimand.ATE)
    }
    assert largest[Estimand.ATO] < 0.05
    assert largest[Estimand.ATE] > 2 * largest[Estimand.ATO]


def test_weak_overlap_is_reported_whatever_the_weights() -> None:
    data, known = simulate()
    assert overlap_report(study(data), known.propensity).share_outside > 0.1


def test_the_question_chooses_weighted_estimators_and_the_report_says_whose_effect_it_is() -> None:
    data, _ = simulate()
    asked = study(data)
    assert default_estimators(asked, Design.OBSERVATIONAL) == ("aipw", "ipw")
    identification = identify(asked.spec, list(data.columns), None)
    outcome, _ = estimate_effect(data, asked.spec, identification, specifications=False)
    conclusion = conclude(Evidence(asked.spec, identification, outcome))
    assert any("least predictable" in line for line in conclusion.limitations)
    assert any("ATO" in line for line in conclusion.findings)
    assert any("Weak overlap" in line for line in conclusion.warnings)


def test_trimming_keeps_its_own_name_and_does_not_touch_overlap_weights() -> None:
    data, known = simulate()
    trimmed = fit_aipw(study(data, estimand=Estimand.SATE, trim=True)).estimate
    assert trimmed.estimand is Estimand.ATE_TRIMMED
    assert trimmed.n_dropped > 0
    assert fit_aipw(study(data, trim=True), known).estimate.n_dropped == 0


def test_the_partially_linear_model_is_no_estimator_of_the_effect_on_the_treated() -> None:
    data, known = simulate()
    with pytest.raises(EstimationError, match="effect on the treated"):
        fit_linear_dml(study(data, estimand=Estimand.ATT), known)
