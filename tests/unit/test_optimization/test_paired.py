"""Are the bounds of a difference and of a ratio right, and is nothing counted that was not measured?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm, t

from src.domain.improvement import ItemScores
from src.optimization.gates.bootstrap import mean_bounds, ratio_bounds
from src.optimization.gates.paired import compare, compare_length, compare_ratio
from src.optimization.gates.pairs import pair_up

DRAWS = 2000


def scores(values: dict[str, float | None]) -> list[ItemScores]:
    return [ItemScores(name, value) for name, value in values.items()]


def bounds(values: np.ndarray, level: float = 0.025, draws: int = DRAWS, random_state: int = 1) -> tuple[float, float]:
    return mean_bounds(values, level=level, draws=draws, random_state=random_state)


def test_bounds_of_a_normal_sample_are_those_of_student() -> None:
    values = norm.ppf((np.arange(40) + 0.5) / 40)
    half = float(t.ppf(0.975, 39)) * values.std(ddof=1) / np.sqrt(40)
    assert bounds(values, draws=20_000) == pytest.approx((-half, half), rel=0.06)


def test_the_bound_on_the_skewed_side_is_that_of_bca_at_the_widened_level() -> None:
    n = 15
    values = np.random.default_rng(7).exponential(1.0, n)
    widened = float(norm.cdf(np.sqrt(n / (n - 1)) * t.ppf(0.025, n - 1)))
    oracle = scipy_bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * widened, n_resamples=20_000, rng=np.random.default_rng(7)
    ).confidence_interval
    low, high = bounds(values, draws=20_000)
    student = float(t.ppf(0.975, n - 1)) * values.std(ddof=1) / np.sqrt(n)
    assert high - values.mean() == pytest.approx(oracle.high - values.mean(), rel=0.04)
    assert high > values.mean() + student
    assert low == pytest.approx(values.mean() - student)


def test_the_bounds_are_the_same_for_the_same_seed_only() -> None:
    values = np.random.default_rng(3).exponential(1.0, 30)
    assert bounds(values) == bounds(values)
    assert bounds(values)[1] != bounds(values, random_state=2)[1]
    assert bounds(values)[1] == pytest.approx(bounds(values, random_state=2)[1], rel=0.1)


def test_differences_that_are_all_equal_have_no_interval() -> None:
    assert bounds(np.full(20, 0.4)) == (0.4, 0.4)


def test_one_tie_among_gains_leaves_a_gain() -> None:
    low, high = bounds(np.array([1.0] * 19 + [0.0]))
    assert 0.7 < low < 0.95 <= high


def test_a_stricter_level_has_wider_bounds() -> None:
    values = np.random.default_rng(4).normal(size=30)
    loose, strict = bounds(values, 0.05), bounds(values, 0.005)
    assert strict[0] < loose[0] < loose[1] < strict[1]


@settings(max_examples=30)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=30), st.floats(-3, 3), st.floats(0.1, 10))
def test_bounds_hold_the_mean_and_move_with_the_values(values: list[int], shift: float, scale: float) -> None:
    array = np.array(values, dtype=float)
    low, high = bounds(array, draws=500)
    moved = bounds(array * scale + shift, draws=500)
    assert low <= array.mean() + 1e-9
    assert array.mean() - 1e-9 <= high
    assert moved == pytest.approx((low * scale + shift, high * scale + shift), abs=1e-6)


def test_ratio_bounds_turn_round_with_the_ratio() -> None:
    rng = np.random.default_rng(5)
    above, below = rng.lognormal(0.2, 0.4, 60), rng.lognormal(0, 0.4, 60)
    low, high = ratio_bounds(above, below, level=0.025, draws=DRAWS, random_state=1)
    turned = ratio_bounds(below, above, level=0.025, draws=DRAWS, random_state=1)
    assert low < above.mean() / below.mean() < high
    assert turned == pytest.approx((1 / high, 1 / low), rel=0.02)


def test_a_doubled_cost_is_a_ratio_of_two_without_doubt() -> None:
    cost = np.random.default_rng(6).lognormal(0, 0.4, 20)
    low, high = ratio_bounds(2 * cost, cost, level=0.025, draws=DRAWS, random_state=1)
    assert (low, high) == pytest.approx((2, 2))


@pytest.mark.parametrize("values", [[-1.0, 1.0], [0.0, 0.0]])
def test_a_ratio_of_what_can_be_no_cost_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="ratio of means"):
        ratio_bounds(np.array(values), np.ones(2), level=0.05, draws=DRAWS, random_state=1)


def test_single_zeros_are_costs() -> None:
    low, high = ratio_bounds(np.array([0.0] * 3 + [1.0] * 9), np.ones(12), level=0.025, draws=DRAWS, random_state=1)
    assert 0 < low < 0.75 < high <= 1.1


def test_one_question_has_no_bounds() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        bounds(np.ones(1))


def test_what_one_variant_could_not_be_measured_on_is_left_out_and_counted() -> None:
    before = scores({"a": 3.0, "b": None, "c": 2.0, "d": None, "e": 4.0})
    after = scores({"a": 4.0, "b": 5.0, "c": None, "d": None, "e": 4.5})
    column = pair_up(before, after).column(lambda one: one.target)
    result = compare(column, level=0.025, limit=0.0, draws=DRAWS, random_state=1)
    assert (result.n, result.unmeasured_baseline, result.unmeasured_candidate) == (2, 1, 1)
    assert (result.baseline, result.candidate, result.difference) == (3.5, 4.25, 0.75)


def test_repeats_of_a_question_are_one_observation() -> None:
    before = scores({"a1": 2.0, "a2": 4.0, "b": 3.0})
    after = scores({"b": 4.0, "a2": 5.0, "a1": 2.0})
    questions = {"a1": "Why?", "a2": "why ", "b": "How?"}
    column = pair_up(before, after, questions).column(lambda one: one.target)
    assert column.n == 2
    assert column.differences.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("before", "after"),
    [({"a": 1.0}, {"b": 1.0}), ({"a": 1.0, "b": 1.0}, {"a": 1.0})],
)
def test_variants_tried_on_different_items_are_not_compared(
    before: dict[str, float | None], after: dict[str, float | None]
) -> None:
    with pytest.raises(ValueError, match="same items"):
        pair_up(scores(before), scores(after))


def test_an_item_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="each once"):
        pair_up([*scores({"a": 1.0}), *scores({"a": 2.0})], scores({"a": 1.0}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(value: float) -> None:
    pairs = pair_up(scores({"a": value}), scores({"a": 1.0}))
    with pytest.raises(ValueError, match="no score"):
        pairs.column(lambda one: one.target)


def test_documents_hold_what_the_results_hold() -> None:
    pairs = pair_up(scores({"a": 1.0, "b": 2.0}), scores({"a": 2.0, "b": 2.5}))
    column = pairs.column(lambda one: one.target)
    result = compare(column, level=0.05, limit=-0.25, draws=DRAWS, random_state=1)
    ratio = compare_ratio(column, level=0.05, limit=1.25, unit="ms", draws=DRAWS, random_state=1)
    assert result.document()["difference"] == result.difference
    assert (result.document()["limit"], ratio.document()["unit"]) == (-0.25, "ms")
    assert compare_length(100, 150, limit=2.0).document()["ratio"] == 1.5
