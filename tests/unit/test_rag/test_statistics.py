"""Is an interval as sure as it says, and is a comparison silent where there is too little to say?"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from src.errors import ContractViolation
from src.rag.scores import Aggregate, EvaluationResult, Method
from src.rag.statistics import (
    ComparisonVerdict,
    PairedDifference,
    aggregate,
    bootstrap_interval,
    compare_runs,
    compare_values,
    pairs_needed,
    probability_of_loss,
    reaches,
)

DRAWS = {"draws": 400, "random_state": 7}
scores = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=40)


def test_the_interval_agrees_with_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).beta(4, 2, 60)
    ours = bootstrap_interval(list(values), draws=4000, random_state=1)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.005)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    found = [bootstrap_interval(list(rng.beta(4, 2, 40)), **DRAWS) for _ in range(300)]
    covered = np.mean([one is not None and one.low <= 4 / 6 <= one.high for one in found])
    assert 0.90 <= covered <= 0.98


def test_the_same_values_give_the_same_interval_and_another_seed_another() -> None:
    values = list(np.linspace(0, 1, 15))
    assert bootstrap_interval(values, **DRAWS) == bootstrap_interval(values, **DRAWS)
    assert bootstrap_interval(values, **DRAWS) != bootstrap_interval(values, draws=400, random_state=8)


def test_many_values_and_draws_are_drawn_in_parts_with_the_number_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    values = list(np.random.default_rng(5).random(50))
    whole = bootstrap_interval(values, draws=3000, random_state=1)
    monkeypatch.setattr("src.rag.statistics._DRAWN_AT_ONCE", 700)
    parts = bootstrap_interval(values, draws=3000, random_state=1)
    assert whole is not None
    assert parts is not None
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.01)


@pytest.mark.parametrize("values", [[], [0.4]])
def test_one_value_has_no_interval(values: list[float]) -> None:
    assert bootstrap_interval(values, **DRAWS) is None


@given(scores)
def test_the_mean_lies_between_its_bounds_and_unmeasured_is_never_zero(values: list[float | None]) -> None:
    one = aggregate(values, draws=20, random_state=0)
    measured = [value for value in values if value is not None]
    assert (one.measured, one.total) == (len(measured), len(values))
    assert one.worst is not None
    assert one.best is not None
    if not measured:
        assert (one.mean, one.interval, one.worst, one.best) == (None, None, 0.0, 1.0)
        return
    assert one.mean == pytest.approx(sum(measured) / len(measured))
    assert one.worst <= one.mean + 1e-12
    assert one.mean <= one.best + 1e-12
    assert one.best - one.worst == pytest.approx(1 - one.coverage)


def test_nothing_at_all_has_neither_mean_nor_bounds() -> None:
    assert aggregate([], **DRAWS) == Aggregate(None, 0, 0, None, None, None)


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        ([0.9] * 10, True),
        ([0.8] * 10, True),
        ([0.8] * 24, True),
        ([0.79] * 10, False),
        ([0.9] * 8 + [None] * 2, True),
        ([1.0] * 7 + [None] * 3, False),
        ([None] * 10, False),
    ],
)
def test_a_threshold_needs_the_mean_and_the_coverage(values: list[float | None], reached: bool) -> None:
    assert reaches(aggregate(values, **DRAWS), 0.8, 0.8) is reached


def compared(shift: float, *, pairs: int = 60, sd: float = 0.02, **options: float) -> PairedDifference:
    rng = np.random.default_rng(1)
    old = rng.uniform(0.3, 0.7, pairs)
    return compare_values("faithfulness", list(old), list(old + shift + rng.normal(0, sd, pairs)), **DRAWS, **options)


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (0.05, ComparisonVerdict.BETTER),
        (0.0, ComparisonVerdict.NON_INFERIOR),
        (-0.01, ComparisonVerdict.NON_INFERIOR),
        (-0.02, ComparisonVerdict.INSUFFICIENT_EVIDENCE),
        (-0.06, ComparisonVerdict.INFERIOR),
    ],
)
def test_the_interval_of_the_difference_decides(shift: float, verdict: ComparisonVerdict) -> None:
    found = compared(shift)
    assert found.verdict is verdict
    assert found.mean == pytest.approx(shift, abs=0.01)


def test_a_wider_margin_forgives_more() -> None:
    assert compared(-0.06, margin=0.1).verdict is ComparisonVerdict.NON_INFERIOR


def test_equal_runs_are_non_inferior_without_doubt() -> None:
    found = compare_values("overall", [0.5] * 25, [0.5] * 25, **DRAWS)
    assert (found.verdict, found.mean, found.sd) == (ComparisonVerdict.NON_INFERIOR, 0.0, 0.0)


def test_noise_between_equal_runs_is_seldom_called_a_loss() -> None:
    rng = np.random.default_rng(4)
    verdicts = []
    for _ in range(200):
        old = rng.uniform(0.3, 0.7, 30)
        new = old + rng.normal(0, 0.1, 30)
        verdicts.append(compare_values("overall", list(old), list(new), draws=200, random_state=1).verdict)
    assert verdicts.count(ComparisonVerdict.INFERIOR) <= 4
    assert verdicts.count(ComparisonVerdict.BETTER) <= 14


def test_too_few_pairs_say_nothing_however_clear_they_look() -> None:
    found = compared(-0.3, pairs=5)
    assert found.verdict is ComparisonVerdict.INSUFFICIENT_EVIDENCE
    assert "5 pairs" in found.reason


@pytest.mark.parametrize("pairs", [6, 10, 19])
def test_a_collapse_shows_in_few_pairs_and_nothing_else_does(pairs: int) -> None:
    verdicts = [compared(shift, pairs=pairs).verdict for shift in (-0.3, -0.01, 0.0, 0.3)]
    assert verdicts[0] is ComparisonVerdict.INFERIOR
    assert set(verdicts[1:]) == {ComparisonVerdict.INSUFFICIENT_EVIDENCE}


def test_the_exact_test_agrees_with_scipys_permutation_test() -> None:
    differences = np.random.default_rng(8).normal(-0.1, 0.1, 9)
    theirs = stats.permutation_test(
        (differences + 0.02,), np.sum, permutation_type="samples", alternative="less", n_resamples=np.inf
    )
    assert probability_of_loss(list(differences), 0.02) == pytest.approx(theirs.pvalue)


def test_noise_in_few_pairs_is_seldom_called_a_loss() -> None:
    rng = np.random.default_rng(12)
    drawn = [list(rng.normal(0, 0.1, 10) - 0.02) for _ in range(400)]
    lost = [probability_of_loss(one, 0.02) <= 0.025 for one in drawn]
    assert np.mean(lost) <= 0.045


def test_pairs_measured_in_one_run_only_are_no_pairs() -> None:
    old: list[float | None] = [0.5] * 60
    new: list[float | None] = [0.5] * 30 + [None] * 30
    found = compare_values("overall", old, new, **DRAWS)
    assert (found.pairs, found.shared) == (30, 60)
    assert found.verdict is ComparisonVerdict.INSUFFICIENT_EVIDENCE
    assert "30 of 60" in found.reason


@pytest.mark.parametrize("margin", [0.0, -0.1, math.nan])
def test_a_margin_is_above_zero(margin: float) -> None:
    with pytest.raises(ContractViolation, match="margin"):
        compare_values("overall", [0.5], [0.5], margin=margin, **DRAWS)


def result(sample_id: str, value: float | None, method: Method = "ragas") -> EvaluationResult:
    return EvaluationResult(sample_id, "q", value, value, None, value, None, value, False, (), method)


def test_runs_are_paired_by_sample_whatever_their_order() -> None:
    old = [result(f"s{n}", n / 100) for n in range(30)]
    new = [result(f"s{n}", n / 100 + 0.05) for n in reversed(range(30))]
    found = {one.metric: one for one in compare_runs(old, new, **DRAWS)}
    assert found["faithfulness"].mean == pytest.approx(0.05)
    assert found["overall"].verdict is ComparisonVerdict.BETTER
    assert found["context_precision"].pairs == 0


def test_scores_of_judge_and_heuristic_are_no_pair() -> None:
    old = [result(f"s{n}", 0.9, "heuristic") for n in range(30)]
    new = [result(f"s{n}", 0.1) for n in range(30)]
    found = compare_runs(old, new, **DRAWS)
    assert {one.verdict for one in found} == {ComparisonVerdict.INSUFFICIENT_EVIDENCE}


def test_scores_of_two_judges_are_no_pair_and_the_reason_says_so() -> None:
    old = [replace(result(f"s{n}", 0.9), model="one") for n in range(30)]
    new = [replace(result(f"s{n}", 0.1), model="other") for n in range(30)]
    found = compare_runs(old, new, **DRAWS)
    assert {one.pairs for one in found} == {0}
    assert "30 were scored by another method or another judge" in found[0].reason


def test_a_part_of_the_earlier_run_is_no_comparison_with_it() -> None:
    old = [result(f"s{n}", 0.5) for n in range(300)]
    faithfulness = compare_runs(old, old[:20], **DRAWS)[0]
    assert faithfulness.verdict is ComparisonVerdict.INSUFFICIENT_EVIDENCE
    assert "only 20 of 300 samples" in faithfulness.reason


def test_a_right_refusal_is_no_loss_and_a_gain_of_passed_samples() -> None:
    wrong = [replace(result(f"s{n}", 0.9), failed_metrics=("decline",)) for n in range(30)]
    right = [
        replace(one, answer_relevancy=0.0, overall_score=0.5, failed_metrics=(), passed_thresholds=True)
        for one in wrong
    ]
    right = [replace(one, metadata={"declined_rightly": True}) for one in right]
    found = {one.metric: one for one in compare_runs(wrong, right, **DRAWS)}
    assert found["passed"].verdict is ComparisonVerdict.BETTER
    assert {found[name].pairs for name in ("answer_relevancy", "overall")} == {0}
    back = {one.metric: one for one in compare_runs(right, wrong, **DRAWS)}
    assert back["passed"].verdict is ComparisonVerdict.INFERIOR


def test_runs_without_a_common_sample_cannot_be_compared() -> None:
    with pytest.raises(ContractViolation, match="no sample in common"):
        compare_runs([result("a", 0.5)], [result("b", 0.5)], **DRAWS)


def test_the_number_of_pairs_gives_the_power_it_promises() -> None:
    needed = pairs_needed(0.02, 0.08)
    assert needed == math.ceil(((1.959964 + 0.841621) * 4) ** 2) == 126
    drawn = np.random.default_rng(2).normal(0.02, 0.08, (4000, needed)).mean(axis=1)
    assert np.mean(drawn - 1.96 * 0.08 / math.sqrt(needed) > 0) == pytest.approx(0.8, abs=0.02)


def test_more_noise_and_smaller_differences_need_more_pairs() -> None:
    assert pairs_needed(0.02, 0.2) > pairs_needed(0.02, 0.1) > pairs_needed(0.04, 0.1)
    assert pairs_needed(0.02, 0.0) == 2


@pytest.mark.parametrize(("difference", "sd", "power"), [(0.0, 0.1, 0.8), (0.1, -1.0, 0.8), (0.1, 0.1, 1.0)])
def test_a_number_of_pairs_needs_sensible_figures(difference: float, sd: float, power: float) -> None:
    with pytest.raises(ContractViolation):
        pairs_needed(difference, sd, power=power)
