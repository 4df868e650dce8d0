"""Is a change confirmed, undone or watched on as its answers say?"""

from __future__ import annotations

import json

import pytest
from scipy.stats import ttest_ind

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.domain.improvement import ChangeKind
from src.optimization.configuration import SafetySettings
from src.optimization.gates.measurement import measure

BEFORE = [4.0] * 30


@pytest.fixture(scope="module")
def settings() -> SafetySettings:
    return load_self_improvement().safety


@pytest.mark.parametrize(
    ("n", "level", "hours", "outcome"),
    [
        (5, 3.5, 1, "roll_back"),
        (5, 3.5, 48, "roll_back"),
        (4, 3.0, 1, "wait"),
        (5, 3.6, 1, "wait"),
        (19, 3.51, 30, "wait"),
        (20, 3.51, 23.9, "wait"),
        (20, 3.51, 24, "confirmed"),
        (20, 4.4, 24, "confirmed"),
        (19, 3.5, 49, "wait"),
        (20, 3.5, 49, "roll_back"),
        (20, 3.9, 500, "confirmed"),
    ],
)
def test_a_drop_is_undone_and_anything_else_confirmed_when_there_is_enough(
    n: int, level: float, hours: float, outcome: str, settings: SafetySettings
) -> None:
    assert measure(BEFORE, [level] * n, hours=hours, settings=settings).outcome == outcome


def test_a_drop_of_exactly_the_limit_counts_whatever_the_decimals_add_up_to(settings: SafetySettings) -> None:
    assert measure([4.1] * 3, [3.6] * 7, hours=1, settings=settings).outcome == "roll_back"


@pytest.mark.parametrize(("level", "outcome"), [(0.69, "roll_back"), (0.75, "wait")])
def test_retrieval_has_a_limit_of_its_own(level: float, outcome: str, settings: SafetySettings) -> None:
    measured = measure([0.8] * 20, [level] * 5, hours=1, settings=settings, kind=ChangeKind.RETRIEVAL)
    assert measured.outcome == outcome


def test_the_delta_has_the_interval_of_welch(settings: SafetySettings) -> None:
    before, after = [3.0, 3.5, 4.0, 2.5, 3.2], [4.0, 4.5, 3.0, 4.2]
    measured = measure(before, after, hours=1, settings=settings)
    oracle = ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    assert measured.outcome_delta == pytest.approx(3.925 - 3.24)
    assert (measured.low, measured.high) == pytest.approx((oracle.low, oracle.high))
    assert measured.improved


@pytest.mark.parametrize(("before", "after"), [([], [4.0] * 30), (BEFORE, [])])
def test_without_answers_on_both_sides_nothing_is_concluded(
    before: list[float], after: list[float], settings: SafetySettings
) -> None:
    measured = measure(before, after, hours=500, settings=settings)
    assert (measured.outcome, measured.outcome_delta, measured.improved) == ("wait", None, False)


def test_one_answer_has_a_delta_without_an_interval(settings: SafetySettings) -> None:
    measured = measure(BEFORE, [4.2], hours=1, settings=settings)
    assert measured.outcome_delta == pytest.approx(0.2)
    assert (measured.low, measured.high) == (None, None)


def test_a_score_that_is_no_number_is_refused(settings: SafetySettings) -> None:
    with pytest.raises(ValueError, match="finite"):
        measure(BEFORE, [float("nan")], hours=1, settings=settings)


def test_the_measurement_is_json(settings: SafetySettings) -> None:
    document = measure(BEFORE, [4.2, 4.4], hours=1, settings=settings).document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["improved"]
