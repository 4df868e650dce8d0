"""Are two versions compared in the database as planned: each session in its arm, looks only when they are due?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.errors import ContractViolation
from src.optimization.gepa.ab_test import GEPAABTest, analyse
from src.storage.canaries import CanaryRepository, Observations
from src.storage.database import Database
from src.storage.prompt_versions import PromptRepository
from tests.unit.test_optimization.gepa_parts import config

START = datetime(2026, 11, 1, tzinfo=UTC)
AB = config(
    ab_test={
        "split": 0.5,
        "target_samples": 160,
        "alpha": 0.05,
        "min_per_arm": 10,
        "min_hours": 1,
        "max_hours": 48,
    }  # fmt: skip
)


@pytest.fixture
async def compared(db: Database) -> GEPAABTest:
    prompts = PromptRepository(db)
    await prompts.import_files()
    tried = await prompts.add_candidate("explainer", "Better.", action_id=None, origin="gepa", created_by="test")
    return await GEPAABTest.start(
        CanaryRepository(db), AB, component="explainer", control=1, treatment=tried.version, at=START
    )


async def observe(test: GEPAABTest, count: int, gain: float, first: int = 0) -> None:
    """Sessions whose scores differ by ``gain`` between the arms."""
    for number in range(first, first + count):
        unit = f"session-{number}"
        better = gain if test.assign_variant(unit) == "treatment" else 0.0
        assert await test.record_observation(unit, 3.0 + better + 0.1 * (number % 5), trace_id=f"trace-{number}")


def hours(number: float) -> Callable[[], datetime]:
    return lambda: START + timedelta(hours=number)


async def test_a_unit_is_always_in_the_same_arm_and_the_share_is_kept(compared: GEPAABTest) -> None:
    arms = [compared.assign_variant(f"unit-{number}") for number in range(2000)]
    assert arms == [compared.assign_variant(f"unit-{number}") for number in range(2000)]
    assert 0.45 < arms.count("treatment") / 2000 < 0.55


async def test_an_observation_is_kept_once(compared: GEPAABTest) -> None:
    assert await compared.record_observation("s", 4.0, trace_id="t")
    assert not await compared.record_observation("s", 4.0, trace_id="t")


async def test_a_better_version_wins_at_a_planned_look_and_the_test_ends(compared: GEPAABTest) -> None:
    await observe(compared, 80, 1.0)
    found = await compared.analyze(hours(2))
    assert (found.decision, found.winner, found.looked) == ("decided", "treatment", True)
    again = await compared.analyze(hours(3))
    assert (again.winner, again.looked, compared.test.running) == ("treatment", False, False)


async def test_a_worse_version_loses(compared: GEPAABTest) -> None:
    await observe(compared, 80, -1.0)
    assert (await compared.analyze(hours(2))).winner == "control"


async def test_between_planned_looks_nothing_is_compared(compared: GEPAABTest) -> None:
    await observe(compared, 42, 0.0)
    assert (await compared.analyze(hours(2))).looked
    await observe(compared, 20, 5.0, first=42)
    found = await compared.analyze(hours(2))
    assert (found.looked, found.decision, found.difference) == (False, "continue", None)
    assert len(compared.test.looks) == 1


async def test_of_two_that_look_at_once_one_takes_the_look(compared: GEPAABTest, db: Database) -> None:
    class Slow(CanaryRepository):
        """Another process looks, with more answers, between this one's reading and its note."""

        others = 1

        async def observations(self, canary_id: str) -> Observations:
            found = await super().observations(canary_id)
            if self.others:
                self.others = 0
                await observe(compared, 10, 9.0, first=42)
                await compared.analyze(hours(2))
            return found

    await observe(compared, 42, 0.0)
    other = GEPAABTest(Slow(db), compared.test)
    found = await other.analyze(hours(2))
    looks = (await CanaryRepository(db).get(compared.test.canary_id)).looks
    assert len(looks) == 1
    assert (found.looked, looks[0]["n_control"] + looks[0]["n_treatment"]) == (False, 52)


async def test_a_look_that_decides_and_the_end_are_one_step(compared: GEPAABTest, db: Database) -> None:
    class Killed(CanaryRepository):
        async def end(self, *_: Any, **__: Any) -> bool:
            raise RuntimeError("killed")

    await observe(compared, 80, 1.0)
    await GEPAABTest(Killed(db), compared.test).analyze(hours(2))
    kept = await CanaryRepository(db).get(compared.test.canary_id)
    assert (kept.running, kept.winner, kept.ended_at, len(kept.looks)) == (False, "treatment", hours(2)(), 1)


@pytest.mark.parametrize(
    ("count", "at", "word"), [(12, 2.0, "sessions"), (80, 0.5, "hours have passed"), (38, 2.0, "no look is planned")]
)
async def test_too_early_nobody_wins(compared: GEPAABTest, count: int, at: float, word: str) -> None:
    await observe(compared, count, 2.0)
    found = await compared.analyze(hours(at))
    assert (found.decision, found.looked) == ("continue", False)
    assert word in found.reason


async def test_without_a_difference_the_test_ends_undecided_when_its_time_is_over(compared: GEPAABTest) -> None:
    await observe(compared, 40, 0.0)
    found = await compared.analyze(hours(49))
    assert (found.decision, found.winner) == ("undecided", None)
    assert (await compared.analyze(hours(50))).reason == "the test has ended"


async def test_early_looks_ask_for_more_than_late_ones(compared: GEPAABTest) -> None:
    def bound(sessions: int) -> float:
        scores = [3.0 + 0.1 * (number % 5) for number in range(sessions // 2)]
        found = analyse(scores, scores, compared.test, hours=2)
        assert found.bound is not None
        return found.bound

    assert bound(40) > bound(80) > bound(120) > bound(160) > 1.9


async def test_a_second_test_of_the_component_waits_for_the_first(db: Database, compared: GEPAABTest) -> None:
    with pytest.raises(ContractViolation, match="running"):
        await GEPAABTest.start(CanaryRepository(db), AB, component="explainer", control=1, treatment=2)
