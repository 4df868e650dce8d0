"""Is the right effect function picked, for the stated reason, and is every failure listed?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.energy_score.effect_data import EffectData, effect_data
from src.causal_engine.energy_score.effect_functions import EFFECT_FUNCTIONS, FOR_ANY_TREATMENT
from src.causal_engine.energy_score.selection import (
    ENSEMBLE,
    HETEROGENEITY_ERRORS,
    TIE_ERRORS,
    EstimatorSelector,
    SelectionResult,
    Strategy,
    average_effect,
)
from src.causal_engine.energy_score.stacking import stacked_effect
from src.causal_engine.estimators.doubly_robust import fit_aipw
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import FloatArray, prepare_study
from src.errors import EstimationError
from tests.effect_processes import COVARIATES, QUESTION

CHOOSING = (Strategy.BEST_LOSS, Strategy.BEST_ENERGY, Strategy.ENSEMBLE)


def varied(n: int, state: int, *, spread: float, continuous: bool = False) -> pd.DataFrame:
    """Confounded rows whose effect is 1 + spread·x₂."""
    rng = np.random.default_rng(state)
    x = rng.normal(size=(n, 5))
    e = 1 / (1 + np.exp(-x[:, 0]))
    t = e + rng.normal(size=n) if continuous else (rng.random(n) < e).astype(np.float64)
    y = x[:, 0] + t * (1 + spread * x[:, 2]) + rng.normal(size=n)
    return pd.DataFrame(x, columns=list(COVARIATES)).assign(t=t, y=y)


@pytest.fixture(scope="module")
def strong() -> EffectData:
    return effect_data(prepare_study(varied(380, 1, spread=2.0), QUESTION))


@pytest.fixture(scope="module")
def compared(strong: EffectData) -> dict[Strategy, SelectionResult]:
    return EstimatorSelector().compare_strategies(strong)


def truth(data: EffectData) -> FloatArray:
    return np.asarray(1 + 2 * data.x[:, 2])


def error(result: SelectionResult, data: EffectData) -> float:
    return float(np.sqrt(np.mean((result.effect - truth(data)) ** 2)))


@pytest.mark.parametrize("strategy", CHOOSING)
def test_strong_heterogeneity_is_found(
    strategy: Strategy, compared: dict[Strategy, SelectionResult], strong: EffectData
) -> None:
    result = compared[strategy]
    assert result.selected not in ("constant", "naive")
    assert error(result, strong) < 0.5 * float(truth(strong).std())


@pytest.mark.parametrize("strategy", CHOOSING)
def test_where_all_effects_are_equal_one_effect_for_everyone_is_kept(strategy: Strategy) -> None:
    study = prepare_study(varied(380, 2, spread=0.0), QUESTION)
    result = EstimatorSelector(strategy, draws=50).select(study)
    assert result.selected == "constant"


def test_baselines_and_every_learner_compete_with_both_losses_and_an_energy_score(
    compared: dict[Strategy, SelectionResult],
) -> None:
    result = compared[Strategy.BEST_LOSS]
    assert {each.name for each in result.results} == {*EFFECT_FUNCTIONS, ENSEMBLE}
    for each in result.results:
        assert each.energy is not None
        assert None not in (each.dr_loss, each.r_loss, each.excess, each.excess_error)
        assert dict(each.energy.variants).keys() == {"energy", "weighted_energy", "residualised_weighted_energy"}
    assert result.scores[result.selected] + (result.gap or 0.0) == pytest.approx(
        min(score for name, score in result.scores.items() if name != result.selected)
    )


@pytest.mark.parametrize("strategy", [Strategy.BEST_LOSS, Strategy.BEST_ENERGY])
def test_the_pick_is_the_simplest_within_one_standard_error_of_the_best(
    strategy: Strategy, compared: dict[Strategy, SelectionResult]
) -> None:
    result = compared[strategy]
    tied = [
        each.name
        for each in result.results
        if each.excess is not None and each.excess <= TIE_ERRORS * (each.excess_error or 0.0)
    ]
    assert tied[0] == result.selected
    assert all(each.excess_error for each in result.results if each.excess)


def test_two_equal_candidates_tie_and_the_one_named_first_is_taken(strong: EffectData) -> None:
    learner = EFFECT_FUNCTIONS["linear_dml"]
    for names in (("a", "b"), ("b", "a")):
        selector = EstimatorSelector(Strategy.BEST_LOSS, candidates=dict.fromkeys(names, learner))
        assert selector.select_on(strong).selected == names[0]


def test_a_failure_is_listed_under_its_own_name_and_the_others_go_on(strong: EffectData) -> None:
    def refuses(_: EffectData) -> FloatArray:
        raise EstimationError("no such luck")

    def diverges(data: EffectData) -> FloatArray:
        return np.full_like(data.y, np.inf)

    candidates = {"refuses": refuses, "diverges": diverges, "linear_dml": EFFECT_FUNCTIONS["linear_dml"]}
    result = EstimatorSelector(Strategy.FIRST_SUCCESS, candidates=candidates, draws=5).select_on(strong)
    assert result.selected == "linear_dml"
    assert result.candidate("refuses").error_message == "no such luck"
    assert "not finite" in str(result.candidate("diverges").error_message)
    assert result.candidate("refuses").effect is None
    with pytest.raises(EstimationError, match="refuses: no such luck"):
        EstimatorSelector(candidates={"refuses": refuses}).select_on(strong)


def test_first_success_fits_nothing_after_the_first_that_answers(strong: EffectData) -> None:
    def never(_: EffectData) -> FloatArray:
        raise AssertionError("fitted although another had answered")

    candidates = {"linear_dml": EFFECT_FUNCTIONS["linear_dml"], "never": never}
    result = EstimatorSelector(Strategy.FIRST_SUCCESS, candidates=candidates, draws=5).select_on(strong)
    assert result.selected == "linear_dml"


def test_a_bug_in_a_candidate_is_no_failure_of_the_estimator(strong: EffectData) -> None:
    def broken(_: EffectData) -> FloatArray:
        raise KeyError("typo")

    with pytest.raises(KeyError):
        EstimatorSelector(candidates={"broken": broken}).select_on(strong)


def test_the_mixture_recovers_the_parts_of_the_truth(strong: EffectData) -> None:
    parts = {"one": np.ones_like(strong.y), "slope": 4 * strong.x[:, 2] + 1, "noise": -5 * strong.x[:, 3]}
    mixed, weights = stacked_effect(strong, parts)
    assert weights["one"] == pytest.approx(0.5, abs=0.1)
    assert weights["slope"] == pytest.approx(0.5, abs=0.1)
    assert weights["noise"] == pytest.approx(0.0, abs=0.05)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert float(np.sqrt(np.mean((mixed - truth(strong)) ** 2))) < 0.4


def test_the_average_effect_is_the_doubly_robust_one_whatever_was_selected(
    compared: dict[Strategy, SelectionResult], strong: EffectData
) -> None:
    study = prepare_study(varied(380, 1, spread=2.0), QUESTION)
    # Without learners the nuisances count as known, and nothing is added for having estimated them.
    expected = fit_aipw(study, replace(strong.nuisances, learners=())).estimate
    found = average_effect(strong)
    assert (found.value, found.std_error) == pytest.approx((expected.value, expected.std_error))
    assert {result.average for result in compared.values()} == {found}
    assert compared[Strategy.ENSEMBLE].candidate("naive").average != found


def test_a_continuous_treatment_is_ranked_by_the_learners_that_need_no_arms() -> None:
    frame = varied(380, 3, spread=2.0, continuous=True)
    result = EstimatorSelector(Strategy.BEST_LOSS).select(frame, QUESTION)
    assert {each.name for each in result.results} == {*FOR_ANY_TREATMENT, ENSEMBLE}
    assert result.selected not in ("constant", "naive")
    assert result.average.ci.covers(1.0)


@pytest.mark.parametrize(
    ("outcome_scale", "covariate_scale"), [(1_000.0, 1.0), (1.0, 0.001)], ids=["outcome x1000", "covariate x0.001"]
)
def test_units_change_neither_the_pick_nor_the_order(
    outcome_scale: float, covariate_scale: float, compared: dict[Strategy, SelectionResult]
) -> None:
    frame = varied(380, 1, spread=2.0)
    frame = frame.assign(y=frame["y"] * outcome_scale, x2=frame["x2"] * covariate_scale)
    rescaled = EstimatorSelector().compare_strategies(effect_data(prepare_study(frame, QUESTION)), CHOOSING)
    for strategy, result in rescaled.items():
        before = compared[strategy]
        assert result.selected == before.selected
        assert sorted(result.scores, key=result.scores.__getitem__) == sorted(
            before.scores, key=before.scores.__getitem__
        )


@pytest.mark.slow
def test_units_do_not_matter_to_boosted_trees_either() -> None:
    frame = varied(1_200, 4, spread=1.0)
    plain = EstimatorSelector(draws=20).select(frame, QUESTION)
    scaled = frame.assign(y=frame["y"] * 1_000, x2=frame["x2"] * 0.001)
    found = EstimatorSelector(draws=20).select(scaled, QUESTION)
    assert found.selected == plain.selected
    assert found.effect == pytest.approx(1_000 * plain.effect, rel=1e-3, abs=1.0)


def test_the_order_of_rows_does_not_change_the_choice(compared: dict[Strategy, SelectionResult]) -> None:
    frame = varied(380, 1, spread=2.0)
    order = np.random.default_rng(0).permutation(len(frame))
    found = EstimatorSelector().compare_strategies(effect_data(prepare_study(frame.iloc[order], QUESTION)), CHOOSING)
    for strategy, result in found.items():
        assert result.selected == compared[strategy].selected
        assert result.effect == pytest.approx(compared[strategy].effect[order], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EstimatorSelector("best_los"), "best_loss"),
        (lambda: EstimatorSelector().select(varied(100, 1, spread=1.0)), "pass the CausalSpec"),
        (
            lambda: EstimatorSelector().select(varied(100, 1, spread=1.0), CausalSpec("t", "y")),
            "told apart by covariates",
        ),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_to_do(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(EstimationError, match=message):
        call()


@pytest.mark.parametrize(
    "name", ["constant", "naive", "linear_dml", "s_learner", "x_learner", "dr_learner", "r_learner"]
)
def test_effect_functions_never_see_the_outcomes_they_are_judged_on(name: str, strong: EffectData) -> None:
    """Held-out outcomes that change, too little for another learner to win, move no prediction of their own fold."""
    held = np.flatnonzero(strong.folds == 0)
    y = strong.y.copy()
    y[held] += 0.01 * np.random.default_rng(1).normal(size=len(held))
    before, after = (EFFECT_FUNCTIONS[name](data) for data in (strong, replace(strong, y=y)))
    assert after[held] == pytest.approx(before[held], abs=1e-12)
    assert np.abs(after - before).max() > 1e-6


def test_heterogeneity_needs_more_than_a_tie() -> None:
    assert HETEROGENEITY_ERRORS > TIE_ERRORS
