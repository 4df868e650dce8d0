"""Are the bounds the published ones, and does a canary end for the right reason at the right look?"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st
from scipy.stats import norm

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.domain.improvement import ChangeKind
from src.optimization.configuration import CanarySettings
from src.optimization.gates.sequential import LOOKS, analyse, look_due, obrien_fleming_bounds


@pytest.fixture(scope="module")
def settings() -> CanarySettings:
    return load_self_improvement().canary


@pytest.mark.parametrize(
    ("fractions", "published"),
    [
        (LOOKS, (4.333, 2.963, 2.359, 2.014)),
        ((0.5, 1.0), (2.963, 1.969)),
        ((0.2, 0.4, 0.6, 0.8, 1.0), (4.877, 3.357, 2.680, 2.290, 2.031)),
        ((1.0,), (1.960,)),
    ],
)
def test_two_sided_bounds_are_the_published_ones(fractions: tuple[float, ...], published: tuple[float, ...]) -> None:
    # Lan and DeMets's function of O'Brien–Fleming type, 5 %: Reboussin et al. 2000 (WinLD), R's gsDesign sfLDOF.
    assert obrien_fleming_bounds(fractions, 0.05, two_sided=True) == pytest.approx(published, abs=0.001)


def test_one_sided_bounds_at_half_the_level_are_the_two_sided_ones() -> None:
    one_sided = obrien_fleming_bounds(LOOKS, 0.025, two_sided=False)
    assert one_sided == pytest.approx(obrien_fleming_bounds(LOOKS, 0.05, two_sided=True), abs=1e-4)


@pytest.mark.parametrize("two_sided", [True, False])
def test_the_bounds_are_crossed_by_chance_as_often_as_alpha(two_sided: bool) -> None:
    rng, runs = np.random.default_rng(1), 200_000
    fractions = np.array([0.2, 0.35, 0.8, 1.0])
    sums = (rng.normal(size=(runs, 4)) * np.sqrt(np.diff(fractions, prepend=0))).cumsum(axis=1)
    z = sums / np.sqrt(fractions)
    bounds = np.array(obrien_fleming_bounds(tuple(fractions), 0.05, two_sided=two_sided))
    crossed = ((np.abs(z) if two_sided else z) > bounds).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 1.0), (0.5, 0.25), (0.0, 1.0)])
def test_looks_without_anything_new_have_no_bounds(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        obrien_fleming_bounds(fractions, 0.05)


@settings_of(max_examples=25)
@given(st.lists(st.floats(0.05, 1), min_size=1, max_size=5, unique_by=lambda one: round(one, 2)), st.floats(0.01, 0.2))
def test_no_look_is_milder_than_a_single_test_and_the_first_one_spends_its_own_share(
    fractions: list[float], alpha: float
) -> None:
    bounds = obrien_fleming_bounds(sorted(fractions), alpha)
    assert min(bounds) >= norm.ppf(1 - alpha / 2) - 1e-4
    assert bounds[0] == pytest.approx(obrien_fleming_bounds(sorted(fractions)[:1], alpha)[0])


@pytest.mark.parametrize(
    ("control", "treatment", "done", "hours", "due"),
    [
        (400, 49, (), 30, False),
        (400, 50, (), 1, True),
        (49, 400, (), 30, False),
        (400, 60, (0.25,), 30, False),
        (400, 99, (0.3,), 30, False),
        (800, 100, (0.3,), 30, True),
        (800, 140, (0.55,), 30, False),
        (1500, 150, (0.55,), 30, True),
        (1500, 155, (0.1,), 30, True),
        (2000, 200, (0.8,), 23.9, False),
        (2000, 200, (0.3,), 23.9, True),
        (2000, 240, (1.1,), 23.9, False),
        (2000, 200, (0.8,), 24, True),
        (10, 1, (), 168, True),
        (0, 0, (), 168, True),
    ],
)
def test_looks_are_due_at_the_planned_shares_and_at_the_end_only(
    control: int, treatment: int, done: Sequence[float], hours: float, due: bool, settings: CanarySettings
) -> None:
    assert look_due(control, treatment, settings, done, hours) is due


def arm(n: int, mean: float, sd: float = 0.6) -> list[float]:
    """A sample whose mean and standard deviation are exactly these."""
    values = np.random.default_rng(n).normal(size=n)
    return [float(one) for one in mean + sd * (values - values.mean()) / values.std(ddof=1)]


@pytest.mark.parametrize(
    ("control", "treatment", "done", "hours", "outcome", "reason"),
    [
        (arm(500, 4), arm(50, 3.2), (), 2, "roll_back", "it is worse"),
        (arm(500, 4), arm(50, 3.8), (), 30, "continue", "differs by -0.200"),
        (arm(500, 4), arm(50, 4.5), (), 30, "promote", "not worse by 0.25"),
        (arm(500, 4), arm(50, 4.5), (), 23, "continue", "differs by 0.500"),
        (arm(1000, 4), arm(100, 4.0), (0.25,), 30, "promote", "not worse by 0.25"),
        (arm(1000, 4), arm(100, 3.9), (0.25,), 30, "continue", "differs by -0.100"),
        (arm(1500, 4), arm(150, 3.85), (0.25, 0.5), 30, "roll_back", "it is worse"),
        (arm(2000, 4), arm(200, 3.93), (0.25, 0.5, 0.75), 30, "promote", "not worse by 0.25"),
        (arm(400, 4, 1.5), arm(200, 3.8, 1.5), (0.25, 0.5, 0.75), 30, "roll_back", "may still be worse by 0.25"),
        (arm(300, 4), arm(40, 4.2), (), 168, "promote", "not worse by 0.25"),
        (arm(300, 4), arm(40, 3.85), (), 168, "roll_back", "may still be worse by 0.25"),
        (arm(300, 4), arm(29, 4.5), (), 168, "roll_back", "too few sessions"),
        (arm(29, 4), arm(50, 4.5), (), 168, "roll_back", "too few sessions"),
        (arm(300, 4), [4.0], (), 168, "roll_back", "too few sessions"),
        ([], [], (), 168, "roll_back", "too few sessions"),
        (arm(300, 4), [4.0], (), 30, "continue", "too few sessions"),
    ],
)
def test_a_canary_ends_as_its_scores_say(
    control: list[float],
    treatment: list[float],
    done: Sequence[float],
    hours: float,
    outcome: str,
    reason: str,
    settings: CanarySettings,
) -> None:
    verdict = analyse(control, treatment, looks_done=done, settings=settings, hours=hours)
    assert (verdict.outcome, verdict.final) == (outcome, outcome != "continue")
    assert reason in verdict.reason


def test_retrieval_has_a_margin_of_its_own(settings: CanarySettings) -> None:
    arms = arm(1000, 0.8, 0.2), arm(100, 0.75, 0.2)
    kinds = [
        analyse(*arms, looks_done=(), settings=settings, hours=168, kind=kind).outcome
        for kind in (ChangeKind.PROMPT, ChangeKind.RETRIEVAL)
    ]
    assert kinds == ["promote", "roll_back"]
    arms = arm(1000, 0.8, 0.2), arm(100, 0.79, 0.2)
    kinds = [
        analyse(*arms, looks_done=(), settings=settings, hours=168, kind=kind).outcome
        for kind in (ChangeKind.PROMPT, ChangeKind.RETRIEVAL)
    ]
    assert kinds == ["promote", "promote"]


def test_scores_without_any_spread_are_compared_as_they_are(settings: CanarySettings) -> None:
    same, worse = (
        analyse([4.0] * 100, [level] * 50, looks_done=(), settings=settings, hours=30) for level in (4.0, 3.7)
    )
    assert (same.outcome, same.low, same.high) == ("promote", 0.0, 0.0)
    assert worse.outcome == "roll_back"


@pytest.mark.parametrize("hours", [2, 30])
def test_a_loss_that_is_certain_but_within_the_margin_does_not_end_a_canary(
    hours: float, settings: CanarySettings
) -> None:
    verdict = analyse(arm(3000, 4, 0.2), arm(200, 3.9, 0.2), looks_done=(), settings=settings, hours=hours)
    assert verdict.high is not None
    assert verdict.high < 0
    assert verdict.outcome == ("promote" if hours >= settings.min_hours else "continue")


def test_looks_taken_earlier_cost_something_at_the_last_one(settings: CanarySettings) -> None:
    arms = arm(2000, 4), arm(200, 4)
    alone, after = (
        analyse(*arms, looks_done=done, settings=settings, hours=30).bound for done in ((), (0.25, 0.5, 0.75))
    )
    assert alone == pytest.approx(1.645, abs=0.001)
    assert after == pytest.approx(obrien_fleming_bounds(LOOKS, 0.05, two_sided=False)[-1], abs=0.001)


@pytest.mark.parametrize("done", [(0.2,), (0.25, 1.2), (0.2, 0.2)])
def test_a_last_look_has_a_bound_even_with_nothing_new(done: tuple[float, ...], settings: CanarySettings) -> None:
    n = round(done[-1] * settings.target_items)
    verdict = analyse(arm(300, 4), arm(n, 4), looks_done=done, settings=settings, hours=168)
    assert verdict.final
    assert 1.5 < verdict.bound < 2.2


def test_a_score_that_is_no_number_is_refused(settings: CanarySettings) -> None:
    with pytest.raises(ValueError, match="finite"):
        analyse([1.0, float("nan")], [1.0, 2.0], looks_done=(), settings=settings, hours=1)


def test_the_verdict_is_json(settings: CanarySettings) -> None:
    document = analyse(arm(500, 4), arm(50, 4), looks_done=(), settings=settings, hours=30).document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["information"] == 0.25
