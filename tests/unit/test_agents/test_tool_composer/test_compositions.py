"""Are compositions and plans kept whole, once per trace, and is a failing plan not found again?"""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest

from src.mlops.tracing.ids import uuid7
from src.storage.compositions import Composition, CompositionRepository, CompositionStep, composition_id
from src.storage.database import Database

PLAN: dict[str, Any] = {"steps": [{"ordinal": 0, "tool": "gap_calculator"}]}
STEPS = (
    CompositionStep(
        0, "gap_calculator", "success", (), {"level": "region"}, {"summary": "x"}, attempts=2, latency_ms=1.5
    ),
    CompositionStep(1, "roi_estimator", "failed", (0,), {}, None, "EstimationError", "too few rows"),
    CompositionStep(2, "segment_ranker", "skipped", (0, 1)),
)


@pytest.fixture
def repository(db: Database) -> CompositionRepository:
    return CompositionRepository(db)


def composed(**changes: Any) -> Composition:
    made = Composition(
        trace_id=str(uuid7()),
        query="where are gaps?",
        status="partial",
        answer="In the South.",
        confidence=0.55,
        caveats=("few rows",),
        sub_questions=2,
        tools_used=1,
        retries=1,
        phase_ms={"decompose": 1.0, "plan": 2.0, "execute": 3.0, "synthesize": 4.0},
        steps=STEPS,
    )
    return dataclasses.replace(made, **changes)


async def test_a_composition_is_read_back_as_it_was_written(repository: CompositionRepository) -> None:
    written = composed()
    await repository.add(written)
    read = await repository.composition(written.trace_id)
    assert read is not None
    assert read.created_at is not None
    assert dataclasses.replace(read, created_at=None) == written


async def test_a_trace_has_one_composition_and_the_last_one_stays(
    repository: CompositionRepository, db: Database
) -> None:
    first = composed()
    await repository.add(first)
    await repository.add(dataclasses.replace(first, answer="In the West.", steps=STEPS[:1]))
    read = await repository.composition(first.trace_id)
    assert read is not None
    assert (read.answer, read.steps) == ("In the West.", STEPS[:1])
    assert await db.fetchrow("SELECT count(*) AS n FROM composer_steps") == {"n": 1}


async def test_a_failed_one_without_answer_and_phases_is_kept_too(repository: CompositionRepository) -> None:
    failed = composed(status="failed", answer=None, confidence=None, steps=(), phase_ms={"decompose": 1.0}, caveats=())
    await repository.add(failed)
    read = await repository.composition(failed.trace_id)
    assert read is not None
    assert (read.status, read.answer, read.phase_ms) == ("failed", None, {"decompose": 1.0})


async def test_a_step_that_breaks_a_rule_of_the_table_keeps_the_whole_composition_out(
    repository: CompositionRepository,
) -> None:
    wrong = composed(steps=(STEPS[0], CompositionStep(1, "roi_estimator", "failed")))
    with pytest.raises(psycopg.errors.CheckViolation):
        await repository.add(wrong)
    assert await repository.composition(wrong.trace_id) is None


async def test_a_trace_without_composition_has_none(repository: CompositionRepository) -> None:
    assert await repository.composition(str(uuid7())) is None


def test_the_id_of_a_trace_is_always_the_same_and_no_others() -> None:
    assert composition_id("a") == composition_id("a") != composition_id("b")


@pytest.mark.parametrize(
    ("uses", "found"),
    [([True], True), ([False], False), ([True, False], True), ([True, False, False], False), ([False, True], True)],
)
async def test_a_plan_is_found_unless_it_failed_more_often_than_it_succeeded(
    repository: CompositionRepository, uses: list[bool], found: bool
) -> None:
    for succeeded in uses:
        plan_id = await repository.keep("q", PLAN, succeeded=succeeded)
    plan = await repository.find("q")
    assert (plan is not None) is found
    if plan is not None:
        assert (plan.plan_id, plan.plan, plan.successes) == (plan_id, PLAN, uses.count(True))
        assert plan.failures == uses.count(False)


async def test_another_plan_for_the_question_begins_at_nought_under_the_same_id(
    repository: CompositionRepository,
) -> None:
    before = await repository.keep("q", PLAN, succeeded=False)
    after = await repository.keep("q", {"steps": []}, succeeded=True)
    plan = await repository.find("q")
    assert before == after
    assert plan is not None
    assert (plan.plan, plan.successes, plan.failures) == ({"steps": []}, 1, 0)


async def test_plans_of_other_questions_are_not_found(repository: CompositionRepository) -> None:
    await repository.keep("q", PLAN, succeeded=True)
    assert await repository.find("other") is None


async def test_a_composition_interrupted_before_its_rows_were_stored_counts_its_plan_once(
    repository: CompositionRepository,
) -> None:
    trace, other = composition_id(str(uuid7())), composition_id(str(uuid7()))
    for one in (trace, trace, other):
        await repository.keep("q", PLAN, succeeded=True, composition_id=one)
    plan = await repository.find("q")
    assert plan is not None
    assert plan.successes == 2


async def test_a_composition_that_is_composed_again_counts_its_plan_once(repository: CompositionRepository) -> None:
    trace = str(uuid7())
    for _ in range(2):
        plan_id = await repository.keep("q", PLAN, succeeded=True, composition_id=composition_id(trace))
        await repository.add(composed(trace_id=trace, plan_id=plan_id))
    plan = await repository.find("q")
    assert plan is not None
    assert plan.successes == 1
