"""Is a winner named by chance no more often than alpha allows, and found where there is one?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from src.domain.improvement import ChangeKind
from src.optimization.gepa.ab_test import LOOKS, ABAnalysis, analyse, look_due
from src.storage.canaries import Canary

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TARGET = 200
TEST = Canary(
    "c", "explainer", ChangeKind.PROMPT, 1, 2, 0.5, TARGET, 20, 0.05, 1.0, 48.0, "running",
    None, (), None, NOW, None, NOW,
)  # fmt: skip


def carried_out(gain: float, rng: np.random.Generator) -> ABAnalysis:
    """A whole test: sessions of a noisy judge on five points, looked at as planned."""
    each = TARGET // 2
    control = np.clip(np.round(rng.normal(3.0, 1.0, each)), 1, 5)
    treatment = np.clip(np.round(rng.normal(3.0 + gain, 1.0, each)), 1, 5)
    test, found = TEST, None
    for planned in LOOKS:
        n = int(planned * each)
        found = analyse(control[:n].tolist(), treatment[:n].tolist(), test, hours=2)
        if found.decision != "continue":
            break
        test = replace(test, looks=(*test.looks, found.document()))
    assert found is not None
    return found


def test_equal_versions_have_a_winner_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(8)
    winners = sum(carried_out(0.0, rng).winner is not None for _ in range(400))
    # Binomial(400, 0.05): 29 or more has a probability of 3 %.
    assert winners <= 28


def test_a_better_version_is_found() -> None:
    rng = np.random.default_rng(9)
    found = [carried_out(0.6, rng).winner for _ in range(100)]
    assert found.count("treatment") >= 90
    assert "control" not in found


@pytest.mark.parametrize(
    ("information", "taken", "due"),
    [
        (0.24, [], False),
        (0.25, [], True),
        (0.4, [0.3], False),
        (0.5, [0.3], True),
        (0.9, [0.3], True),
        (1.0, [0.8], True),
    ],
)
def test_a_look_is_due_when_a_planned_share_was_reached_since_the_last(
    information: float, taken: list[float], due: bool
) -> None:
    assert look_due(information, taken) is due


def test_scores_without_any_spread_decide_by_their_difference() -> None:
    same = analyse([3.0] * 100, [3.0] * 100, TEST, hours=2)
    better = analyse([3.0] * 100, [4.0] * 100, TEST, hours=2)
    assert (same.winner, same.decision, better.winner, better.z) == (None, "undecided", "treatment", None)


@pytest.mark.parametrize(("status", "winner", "said"), [("completed", "control", "control"), ("stopped", None, "none")])
def test_an_ended_test_says_how_it_ended(status: str, winner: Any, said: str) -> None:
    found = analyse([3.0] * 100, [4.0] * 100, replace(TEST, status=status, winner=winner), hours=2)
    assert (found.decision, found.winner, found.looked) == ("decided", said, False)
