"""Are sessions divided the same way everywhere, and is each answer of a canary observed once, in its arm?"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.domain.improvement import ChangeKind
from src.errors import ContractViolation, RunNotFound
from src.storage.canaries import Arm, Canary, CanaryRepository, place_of, variant_of
from src.storage.database import Database
from src.storage.retrieval_configurations import RetrievalConfigRepository
from tests.unit.test_storage.loop_rows import SETTINGS, action, answered, judged, prompts, scored

CONTROL, TREATMENT = 1, 2
ARMS: tuple[Arm, ...] = ("control", "treatment")
once = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def start(db: Database, **values: Any) -> Canary:
    known: dict[str, Any] = {
        "component": "explainer", "kind": ChangeKind.PROMPT, "control": CONTROL, "treatment": TREATMENT, "split": 0.5,
        "target_samples": 40, "min_per_arm": 5, "alpha": 0.05, "min_hours": 24, "max_hours": 168,
    }  # fmt: skip
    return await CanaryRepository(db).start(**known | values)


def session_of(canary: Canary, arm: Arm) -> str:
    """A session that the canary puts into an arm."""
    return next(one for one in (str(uuid4()) for _ in range(1000)) if canary.variant_of(one) == arm)


@pytest.mark.parametrize(("test", "unit"), [("t", "u"), ("00000000-0000-4000-8000-000000000000", "session é")])
def test_a_unit_stands_where_its_digest_says(test: str, unit: str) -> None:
    place = int(hashlib.sha256(f"{test}:{unit}".encode()).hexdigest(), 16) % 10_000
    assert place_of(test, unit) == place
    assert variant_of(test, unit, (place + 1) / 10_000) == "treatment"
    assert variant_of(test, unit, place / 10_000) == "control"


@pytest.mark.parametrize("split", [0.05, 0.1, 0.5])
def test_the_share_of_the_treatment_is_the_split(split: float) -> None:
    arms = [variant_of("a-test", f"unit {number}", split) for number in range(4000)]
    assert arms.count("treatment") / len(arms) == pytest.approx(split, abs=0.02)


@once
@given(test=st.uuids(), units=st.lists(st.text(st.characters(exclude_characters="\x00", codec="utf-8")), max_size=5))
async def test_the_database_divides_as_python_does(db: Database, test: Any, units: list[str]) -> None:
    rows = await db.fetch("SELECT canary_place(%s, unit) AS place FROM unnest(%s::text[]) AS unit", (test, units))
    assert [row["place"] for row in rows] == [place_of(str(test), unit) for unit in units]


async def test_the_canary_of_an_action_is_started_once(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    change = await action(fresh)
    first = await start(fresh, action_id=change.action_id)
    assert await start(fresh, action_id=change.action_id, split=0.2) == first
    repository = CanaryRepository(fresh)
    assert await repository.running("explainer") == await repository.of_action(change.action_id) == first
    assert (first.split, first.min_per_arm, first.running, first.looks) == (0.5, 5, True, ())


async def test_of_many_starts_at_once_all_get_the_one_canary(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    change = await action(fresh)
    for _ in range(5):
        found = await asyncio.gather(*(start(fresh, action_id=change.action_id) for _ in range(6)))
        assert len({one.canary_id for one in found}) == 1
        await fresh.execute("DELETE FROM prompt_ab_tests")


async def test_a_component_has_one_canary_at_a_time(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    first = await start(fresh)
    with pytest.raises(ContractViolation, match="canary of explainer is running"):
        await start(fresh)
    repository = CanaryRepository(fresh)
    assert await repository.end(first.canary_id, winner="none", status="stopped")
    assert not await repository.end(first.canary_id, winner="treatment")
    ended = await repository.get(first.canary_id)
    assert (ended.winner, ended.status, ended.ended_at is not None) == ("none", "stopped", True)
    assert (await start(fresh)).canary_id != first.canary_id


@pytest.mark.parametrize("values", [{"control": 9}, {"treatment": CONTROL}, {"split": 1.0}, {"min_per_arm": 0}])
async def test_a_canary_of_what_there_is_not_is_refused(fresh: Database, values: dict[str, Any]) -> None:
    await prompts(fresh, "one", "two")
    with pytest.raises(psycopg.IntegrityError):
        await start(fresh, **values)


async def test_a_test_is_of_prompts_or_of_retrieval_never_both(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    canary = await start(fresh)
    for change in (
        "control_retrieval = 1",
        "control_version = NULL",
        "control_version = NULL, treatment_version = NULL",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            await fresh.execute(f"UPDATE prompt_ab_tests SET {change} WHERE id = %s", (canary.canary_id,))


async def test_each_answer_is_observed_once_in_the_arm_of_its_session(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    canary = await start(fresh)
    for arm, version, rubric in (("control", CONTROL, 3.0), ("treatment", TREATMENT, 4.0)):
        session = session_of(canary, arm)  # type: ignore[arg-type]
        for _ in range(2):
            await scored(
                fresh, session_id=session, prompt_versions={"explainer": version}, rubric=rubric, latency_ms=120.0
            )
    repository = CanaryRepository(fresh)
    assert [await repository.collect(canary.canary_id) for _ in range(2)] == [4, 0]
    found = await repository.observations(canary.canary_id)
    assert [[one.score for one in arm] for arm in (found.control, found.treatment)] == [[3.0, 3.0], [4.0, 4.0]]
    assert (found.unit_means("control"), found.unit_means("treatment")) == ((3.0,), (4.0,))
    assert {one.latency_ms for one in (*found.control, *found.treatment)} == {120.0}


async def test_an_answer_that_is_not_of_the_test_is_not_observed(fresh: Database) -> None:
    await prompts(fresh, "one", "two", "three")
    before = await answered(fresh, prompt_versions={"explainer": CONTROL})
    canary = await start(fresh)
    control = session_of(canary, "control")
    await judged(fresh, before)
    await answered(fresh, session_id=control, prompt_versions={"explainer": CONTROL})
    await scored(fresh, session_id=control, prompt_versions={"explainer": TREATMENT})
    await scored(fresh, session_id=session_of(canary, "treatment"), prompt_versions={"explainer": CONTROL})
    await scored(fresh, session_id=control, prompt_versions={"explainer": 3})
    await scored(fresh, session_id=control, prompt_versions={"orchestrator": CONTROL})
    repository = CanaryRepository(fresh)
    assert await repository.collect(canary.canary_id) == 0
    await scored(fresh, session_id=control, prompt_versions={"explainer": CONTROL})
    assert await repository.collect(canary.canary_id) == 1
    await scored(fresh, session_id=control, prompt_versions={"explainer": CONTROL})
    await repository.end(canary.canary_id, winner="control")
    assert await repository.collect(canary.canary_id) == 0


async def test_outside_of_a_session_the_trace_is_the_unit(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    canary = await start(fresh)
    trace = session_of(canary, "treatment")
    await scored(fresh, trace_id=trace, prompt_versions={"explainer": TREATMENT}, rubric=2.0)
    repository = CanaryRepository(fresh)
    assert await repository.collect(canary.canary_id) == 1
    (seen,) = (await repository.observations(canary.canary_id)).treatment
    assert (seen.unit_id, seen.trace_id, seen.score) == (trace, trace, 2.0)


async def test_retrieval_settings_are_compared_by_the_ragas_mean(fresh: Database) -> None:
    configurations = RetrievalConfigRepository(fresh)
    change = await action(fresh, "retrieval", kind=ChangeKind.RETRIEVAL)
    tried = (await configurations.add_candidate(SETTINGS, action_id=change.action_id)).config
    active = await configurations.active()
    canary = await start(
        fresh, component="retrieval", kind=ChangeKind.RETRIEVAL, control=active.version, treatment=tried.version
    )
    assert (canary.kind, canary.control, canary.treatment) == (ChangeKind.RETRIEVAL, 1, 2)
    for arm, config, ragas in (("control", active, 0.6), ("treatment", tried, 0.9)):
        session = session_of(canary, arm)  # type: ignore[arg-type]
        await scored(fresh, session_id=session, retrieval_config_id=config.config_id, ragas=ragas)
    await CanaryRepository(fresh).collect(canary.canary_id)
    found = await CanaryRepository(fresh).observations(canary.canary_id)
    assert found.unit_means("control") == pytest.approx((0.6,))
    assert found.unit_means("treatment") == pytest.approx((0.9,))


@pytest.mark.parametrize("trace", ["a-trace", None])
async def test_recording_twice_changes_nothing(fresh: Database, trace: str | None) -> None:
    await prompts(fresh, "one", "two")
    repository, canary = CanaryRepository(fresh), await start(fresh)
    values: dict[str, Any] = {"variant": "control", "score": 3.0, "trace_id": trace}
    assert await repository.record(canary.canary_id, "u", **values)
    assert not await repository.record(canary.canary_id, "u", **values | {"score": 5.0})
    assert (await repository.observations(canary.canary_id)).unit_means("control") == (3.0,)


async def test_looks_are_noted_in_their_order_once(fresh: Database) -> None:
    await prompts(fresh, "one", "two")
    repository, canary = CanaryRepository(fresh), await start(fresh)
    assert not await repository.add_look(canary.canary_id, 2, {"fraction": 0.5})
    assert await repository.add_look(canary.canary_id, 1, {"fraction": 0.25})
    assert not await repository.add_look(canary.canary_id, 1, {"fraction": 0.25})
    assert await repository.add_look(canary.canary_id, 2, {"fraction": 0.5})
    assert [look["fraction"] for look in (await repository.get(canary.canary_id)).looks] == [0.25, 0.5]


async def test_an_unknown_canary_is_refused(fresh: Database) -> None:
    with pytest.raises(RunNotFound):
        await CanaryRepository(fresh).get("00000000-0000-4000-8000-000000000000")
