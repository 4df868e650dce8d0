"""Is the number of questions that the test asks for the one that finds the gain?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from src.optimization.gates.power import MOST_QUESTIONS, Condition, needed_items, upper_sd


def needed(sd: float = 1.0, gain: float = 0.5, least: float = 1e-6, *others: Condition) -> int | None:
    return needed_items(sd, expected_gain=gain, min_gain=least, alpha=0.025, power=0.8, others=others)


@pytest.mark.parametrize(("effect", "published"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_number_for_the_target_alone_is_that_of_the_paired_t_test(effect: float, published: int) -> None:
    # G*Power 3.1, paired t-test, one-sided 2.5 %, power 80 %.
    assert needed(gain=effect) == pytest.approx(published, abs=1)


def test_all_conditions_hold_together_as_often_as_promised() -> None:
    others = tuple(Condition(name, 0.8, 0.25) for name in "abcd")
    n = needed(0.7, 0.35, 0.10, *others)
    assert n is not None
    rng = np.random.default_rng(3)
    runs, critical = 4000, 1.96
    target = rng.normal(0.35, 0.7 / math.sqrt(n), runs)
    held = (target >= 0.10) & (target > critical * 0.7 / math.sqrt(n))
    for other in others:
        held &= rng.normal(0, other.sd / math.sqrt(n), runs) - critical * other.sd / math.sqrt(n) > -0.25
    assert 0.79 <= held.mean() <= 0.86


def test_a_least_gain_near_the_expected_one_needs_more() -> None:
    alone, demanding = needed(gain=0.35), needed(gain=0.35, least=0.3)
    assert alone is not None
    assert demanding is not None
    assert demanding > 3 * alone


def test_a_condition_that_is_measured_on_half_of_the_questions_needs_twice_as_many() -> None:
    whole = needed(0.1, 0.5, 0.1, Condition("criterion", 1.0, 0.25))
    half = needed(0.1, 0.5, 0.1, Condition("criterion", 1.0, 0.25, share=0.5))
    assert whole is not None
    assert half == pytest.approx(2 * whole, abs=2)


@pytest.mark.parametrize(
    "arguments",
    [
        (1.0, 0.1, 0.1),
        (1.0, 0.05, 0.1),
        (1.0, 0.5, 0.1, Condition("cost", 0.2, 0.0)),
        (1.0, 0.5, 0.1, Condition("cost", 0.2, -0.1)),
        (float("inf"), 0.5, 0.1),
        (float("nan"), 0.5, 0.1),
        (1e6, 0.5, 0.1),
    ],
)
def test_where_no_number_shows_it_there_is_none(arguments: tuple[float, float, float]) -> None:
    assert needed(*arguments) is None


def test_without_any_spread_as_many_are_needed_as_make_chance_agree_rarely_enough() -> None:
    assert needed(0.0, 0.5, 0.1) == 6
    assert 0.5**6 <= 0.025 < 0.5**5


@given(st.floats(0.01, 3), st.floats(0.01, 3), st.floats(0.15, 2))
def test_more_spread_never_needs_fewer(one: float, other: float, gain: float) -> None:
    low, high = (needed(sd, gain, 0.1, Condition("criterion", sd, 0.25)) for sd in sorted((one, other)))
    assert low is not None
    assert low >= 6
    assert high is None or low <= high <= MOST_QUESTIONS


@pytest.mark.parametrize("n", [5, 10, 50])
def test_the_upper_spread_of_a_pilot_is_too_small_in_one_of_five(n: int) -> None:
    assert upper_sd(1.0, n) == pytest.approx(math.sqrt((n - 1) / chi2.ppf(0.2, n - 1)))
    pilots = np.random.default_rng(5).normal(size=(4000, n)).std(axis=1, ddof=1)
    too_small = np.mean([upper_sd(float(sd), n) < 1 for sd in pilots])
    assert too_small == pytest.approx(0.2, abs=0.025)
