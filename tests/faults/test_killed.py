"""Whatever a process had accepted when it was killed is in both stores after the next one ran, once and unchanged."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.faults.crash_points import CRASH_POINTS
from tests.faults.harness import Rig

FEW, MANY = range(8), range(8, 120)
LONGEST_LIFE_S = 0.4


def some_and_many(few: range, many: range) -> list[object]:
    return [*few, *(pytest.param(seed, marks=pytest.mark.slow) for seed in many)]


@pytest.mark.parametrize("seed", some_and_many(FEW, MANY))
def test_nothing_accepted_is_lost_by_a_kill_at_a_random_moment(rig: Rig, seed: int) -> None:
    moments = random.Random(seed)
    process = rig.start("log_twice", leave="stay", group=moments.choice((1, 4, 30)))
    rig.wait_until_accepted(1)
    time.sleep(moments.uniform(0, LONGEST_LIFE_S))
    process.kill()
    rig.assert_nothing_lost()


@pytest.mark.parametrize("nth", [2, *(pytest.param(nth, marks=pytest.mark.slow) for nth in (1, 3, 5, 9, 17))])
@pytest.mark.parametrize("place", CRASH_POINTS)
def test_nothing_accepted_is_lost_by_a_kill_at_the_worst_moment(rig: Rig, place: str, nth: int) -> None:
    process = rig.start(crash=(place, nth))
    process.wait()
    assert rig.known().statuses == []
    rig.assert_nothing_lost()


@pytest.mark.parametrize("nth", [1, *(pytest.param(nth, marks=pytest.mark.slow) for nth in (2, 3, 5, 9))])
def test_a_replay_killed_at_every_worst_moment_stores_nothing_twice(rig: Rig, nth: int) -> None:
    rig.run(pieces=60, database=False)
    for place in CRASH_POINTS:
        rig.run("replay", crash=(place, nth), evidence=str(rig.evidence) + ".killed")
    status = rig.assert_nothing_lost()
    assert status["sinks"]["database"]["delivered"] == len(rig.known().accepted) == 80


def test_nothing_accepted_is_lost_by_sigterm(rig: Rig) -> None:
    process = rig.start("log_twice")
    rig.wait_until_accepted(20)
    process.kill(signal.SIGTERM)
    rig.assert_nothing_lost()
