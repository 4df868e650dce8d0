"""Is confounding that both nuisance models leave in taken out, and nothing else changed?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators import doubly_robust, second_order
from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.dictionary import dictionary_of
from src.causal_engine.estimators.doubly_robust import fit_aipw, precision_lost, scores
from src.causal_engine.estimators.second_order import corrected
from src.causal_engine.spec import CausalSpec, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError

N = 2_000
COARSE = (("propensity", "constant"), ("outcome_control", "constant"), ("outcome_treated", "constant"))


def study(seed: int = 2, n: int = N, estimand: Estimand = Estimand.ATE, **roles: object) -> Study:
    """Confounding by sin 2a, b² and a·b; an effect of 1 for everybody."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.standard_normal((3, n))
    shape = np.sin(2 * a) + 0.5 * (b**2 - 1) + 0.5 * a * b
    t = (rng.random(n) < 1 / (1 + np.exp(-0.8 * shape))).astype(float)
    frame = pd.DataFrame({"t": t, "y": shape + t + rng.standard_normal(n), "a": a, "b": b, "c": c})
    return prepare_study(
        frame.assign(site=np.arange(n) // 4), CausalSpec("t", "y", ("a", "b", "c"), estimand=estimand, **roles)
    )


def coarse(asked: Study) -> Nuisances:
    """Nuisances that know nothing of the covariates."""
    t, y = asked.t, asked.y
    control, treated = (np.full(asked.n, y[t == arm].mean()) for arm in (0.0, 1.0))
    e = np.full(asked.n, t.mean())
    return Nuisances(e, control + e * (treated - control), control, treated, COARSE)


def value(asked: Study, nuisances: Nuisances) -> float:
    numerator, denominator = scores(asked, nuisances, asked.spec.estimand)
    return float(numerator.sum() / denominator.sum())


@pytest.mark.parametrize("estimand", [Estimand.ATE, Estimand.ATT, Estimand.ATO, Estimand.SATE, Estimand.SATT])
def test_confounding_that_both_models_missed_is_taken_out(estimand: Estimand) -> None:
    asked = study(estimand=estimand)
    before = value(asked, coarse(asked)) - 1.0
    after = value(asked, corrected(asked, coarse(asked), estimand)) - 1.0
    assert before > 0.4
    assert abs(after) < 0.15


@pytest.mark.parametrize("roles", [{}, {"cluster_key": "site"}])
def test_noise_alone_moves_the_estimate_by_less_than_its_error(roles: dict[str, object]) -> None:
    asked = study(**roles)
    rng = np.random.default_rng(0)
    pure = asked.with_frame(asked.frame.assign(y=rng.standard_normal(N)))
    known = Nuisances(coarse(asked).propensity, None, np.zeros(N), np.zeros(N), COARSE)
    moved = value(pure, corrected(pure, known, Estimand.ATE)) - value(pure, known)
    assert 0 < abs(moved) < 2 / np.sqrt(N)


def test_a_row_does_not_see_its_own_outcome() -> None:
    asked = study(n=400)
    nuisances = coarse(asked)
    row = int(np.flatnonzero(asked.t == 0)[0])
    shifted = asked.frame["y"].to_numpy().copy()
    shifted[row] += 100.0
    other = asked.with_frame(asked.frame.assign(y=shifted))
    plain, moved = (corrected(each, nuisances, Estimand.ATE).outcome_control for each in (asked, other))
    assert moved[row] == pytest.approx(plain[row], abs=1e-6)
    assert np.abs(moved - plain).max() > 0.1


def test_a_row_does_not_see_the_outcomes_of_its_cluster() -> None:
    asked = study(n=400, cluster_key="site")
    nuisances = coarse(asked)
    sites = asked.frame["site"].to_numpy()
    inside = sites == sites[asked.t == 0][0]
    other = asked.with_frame(asked.frame.assign(y=asked.y + 100.0 * inside))
    plain, moved = (corrected(each, nuisances, Estimand.ATE).outcome_control for each in (asked, other))
    assert moved[inside] == pytest.approx(plain[inside], abs=1e-6)
    assert np.abs(moved - plain).max() > 0.1


def test_it_equals_least_squares_refitted_without_each_row() -> None:
    asked = study(n=150)
    updated = corrected(asked, coarse(asked), Estimand.ATE)
    chosen = second_order._most_unlike(
        dictionary_of(asked.x),
        asked.x,
        dict(zip((1.0, 0.0), second_order._pulls(asked, coarse(asked), Estimand.ATE), strict=True)),
    )
    arm = asked.t == 1
    design = chosen[1.0].first(int(arm.sum()) // second_order.ROWS_PER_TERM).design(asked.x)
    penalty = np.diag(np.append(1e-9, np.ones(design.shape[1] - 1)))
    for row in (int(np.flatnonzero(arm)[3]), int(np.flatnonzero(~arm)[3])):
        used = arm & (np.arange(asked.n) != row)
        left = asked.y[used] - coarse(asked).outcome_treated[used]
        slopes = np.linalg.solve(design[used].T @ design[used] + penalty, design[used].T @ left)
        expected = coarse(asked).outcome_treated[row] + design[row] @ slopes
        assert updated.outcome_treated[row] == pytest.approx(expected, abs=1e-8)


def test_rows_in_another_order_or_other_portions_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = study(n=500, cluster_key="site")
    whole = corrected(asked, coarse(asked), Estimand.ATE).outcome_control
    monkeypatch.setattr(second_order, "_CHUNK", 70)
    order = np.random.default_rng(1).permutation(500)
    shuffled = asked.with_frame(asked.frame.iloc[order].reset_index(drop=True))
    again = corrected(shuffled, coarse(shuffled), Estimand.ATE).outcome_control
    assert again == pytest.approx(whole[order], abs=1e-8)


def test_known_nuisances_are_taken_as_they_are() -> None:
    asked = study()
    known = Nuisances(*(getattr(coarse(asked), name) for name in _FIELDS), learners=())
    assert fit_aipw(asked, known).estimate.value == pytest.approx(value(asked, known))


_FIELDS = ("propensity", "outcome", "outcome_control", "outcome_treated")


def test_without_covariates_nothing_is_corrected() -> None:
    asked = study(n=100).with_spec(confounders=())
    nuisances = coarse(asked)
    assert corrected(asked, nuisances, Estimand.ATE) is nuisances


def test_few_rows_allow_few_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = second_order._Terms.first
    monkeypatch.setattr(second_order._Terms, "first", lambda self, count: seen.append(count) or whole(self, count))
    asked = study(n=300)
    corrected(asked, coarse(asked), Estimand.ATE)
    assert seen == [int(arm) // second_order.ROWS_PER_TERM for arm in ((asked.t == 0).sum(), asked.t.sum())]


def test_a_model_per_arm_is_needed() -> None:
    asked = study(n=100)
    with pytest.raises(EstimationError, match="0/1"):
        corrected(asked, Nuisances(asked.t, asked.y, None, None, ()), Estimand.ATE)


def test_a_column_of_few_values_gets_no_curve_and_a_constant_one_no_product() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.standard_normal(200), rng.integers(0, 2, 200), np.full(200, 3.0)])
    found = dictionary_of(x)
    assert set(found.bends[:, 0]) == {0}
    assert found.pairs.tolist() == [[0, 1]]
    terms = found.terms(x, np.arange(found.size))
    assert terms.shape == (200, found.size)
    assert np.isfinite(terms).all()


def test_a_curve_is_straight_beyond_its_knots() -> None:
    found = dictionary_of(np.random.default_rng(0).standard_normal((500, 1)))
    far = np.array([[5.0], [6.0], [7.0]])
    bends = found.terms(far, np.arange(1, found.size))
    assert bends[2] - bends[1] == pytest.approx(bends[1] - bends[0], rel=1e-9)


def test_what_learning_from_a_part_of_the_rows_costs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_aipw(study(n=600)).estimate
    assert precision_lost(whole) == ()
    monkeypatch.setattr(doubly_robust, "MAX_TRAINING", 100)
    estimate = fit_aipw(study(n=600)).estimate
    (told,) = precision_lost(estimate)
    assert "100 of 600 rows" in told
    assert estimate.diagnostic("std_error_given_models") < estimate.std_error


def test_more_rows_get_finer_curves() -> None:
    x = np.random.default_rng(0).standard_normal((320_000, 1))
    few, many = dictionary_of(x[:5_000]), dictionary_of(x)
    assert (len(few.knots[0]), len(many.knots[0])) == (8, 16)
    assert many.high[0] > few.high[0]


def test_far_more_rows_than_are_compared_are_corrected_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = study()
    monkeypatch.setattr(second_order, "MOST_COMPARED", 500)
    assert abs(value(asked, corrected(asked, coarse(asked), Estimand.ATE)) - 1.0) < 0.15


def test_moments_are_those_of_the_functions_written_out() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)) * [1.0, 10.0, 0.1]
    found, weights = dictionary_of(x), rng.standard_normal((2, 200))
    terms = found.terms(x, np.arange(found.size))
    sums, squares = found.moments(x, weights)
    assert sums == pytest.approx(weights @ terms, rel=1e-9, abs=1e-9)
    assert squares == pytest.approx((terms**2).sum(axis=0), rel=1e-9)
    assert found.terms(x, np.array([found.size - 1, 0, 5])) == pytest.approx(terms[:, [found.size - 1, 0, 5]])
