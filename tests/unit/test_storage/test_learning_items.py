"""Is each answer learnt from by one cycle, with everything that is known of it?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.domain.rubric import CRITERIA, RubricDecision
from src.storage.cycles import CycleRepository
from src.storage.database import Database
from src.storage.evaluation_results import RAGAS_COLUMNS
from src.storage.interaction_inputs import InteractionInputs
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.learning_items import LearningItemRepository
from src.storage.retrieval_configurations import active_configuration
from src.storage.user_signals import UserSignalRepository
from tests.unit.test_storage.loop_rows import action, answered, cycle, judged, scored

EXPLAINED = {"prompt_versions": {"explainer": 2}}


async def next_cycle(db: Database, status: Any = "completed") -> str:
    running = await cycle(db)
    await CycleRepository(db).finish(running, status=status, decision=None, items=0, summary={})
    return await cycle(db)


async def say(db: Database, interaction: Interaction, kind: str, value: float | None = None, **details: Any) -> None:
    about = {
        name: getattr(interaction, name) for name in ("interaction_id", "trace_id", "session_id", "component", "brand")
    }
    await UserSignalRepository(db).give(about, kind, value=value, details=details)


async def test_an_item_tells_all_that_is_known_of_an_answer(fresh: Database) -> None:
    given = await answered(
        fresh, "why did Kisqali grow?", contexts=[{"chunk_id": "c", "text": "it grew"}, {"chunk_id": "d"}],
        brand="Kisqali", latency_ms=80.0, declined="no interval", **EXPLAINED,
    )  # fmt: skip
    signal = await judged(fresh, given, rubric=2.5, ragas=0.5)
    await say(fresh, given, "rating", 2.0)
    await say(fresh, given, "correction", correction="give the interval")
    await say(fresh, given, "thumbs_down", 0.0)
    await InteractionInputs(fresh).keep(given.interaction_id, "explainer", {"findings": [1]})
    (item,) = await LearningItemRepository(fresh).claim(await cycle(fresh), 10)
    assert (item.interaction_id, item.trace_id, item.component) == (given.interaction_id, given.trace_id, "explainer")
    assert (item.query, item.answer, item.contexts) == ("why did Kisqali grow?", "because", ("it grew",))
    assert (item.brand, item.latency_ms, item.declined) == ("Kisqali", 80.0, "no interval")
    assert (item.ragas, item.rubric) == (dict.fromkeys(RAGAS_COLUMNS, 0.5), dict.fromkeys(CRITERIA, 2.5))
    assert item.rubric_weighted == pytest.approx(2.5)
    assert item.combined == pytest.approx(0.4 * 0.5 + 0.6 * 1.5 / 4)
    assert (item.decision, item.weaknesses) == (RubricDecision.SUGGESTION, ("actionability",))
    assert (item.method, item.signal_id, item.prompt_versions) == ("llm", signal, {"explainer": 2})
    assert (item.rating, item.corrections, item.feedback) == (2, ("give the interval",), {"user_thumb": 0.0})
    assert item.inputs == {"findings": [1]}


async def test_what_was_not_measured_is_not_there(fresh: Database) -> None:
    await answered(fresh)
    (item,) = await LearningItemRepository(fresh).claim(await cycle(fresh), 10, unscored=True)
    assert (item.ragas, item.rubric, item.combined, item.decision, item.method) == ({}, {}, None, None, None)
    assert (item.rating, item.corrections, item.feedback, item.inputs) == (None, (), {}, {})


@pytest.mark.parametrize(
    ("result", "component", "method"),
    [
        ({"method": "ragas", "rubric_method": "heuristic"}, "explainer", "heuristic"),
        ({"method": "ragas", "rubric_method": "heuristic"}, "retrieval", "llm"),
        ({"method": "heuristic", "rubric_method": "llm"}, "explainer", "llm"),
        ({"method": "heuristic", "rubric_method": "llm"}, "retrieval", "heuristic"),
    ],
)
async def test_the_method_is_that_of_the_scores_a_change_would_rest_on(
    fresh: Database, result: dict[str, str], component: str, method: str
) -> None:
    config = await active_configuration(fresh)
    given = await answered(fresh, retrieval_config_id=config.config_id, **EXPLAINED)
    await judged(fresh, given, **result)
    (item,) = await LearningItemRepository(fresh).evaluated(component)
    assert item.method == method


async def test_a_resumed_cycle_has_the_same_answers(fresh: Database) -> None:
    repository, first = LearningItemRepository(fresh), await scored(fresh)
    running = await cycle(fresh)
    claimed = await repository.claim(running, 10)
    await scored(fresh)
    assert [one.interaction_id for one in claimed] == [first]
    assert await repository.claim(running, 10) == await repository.of_cycle(running) == claimed


async def test_an_answer_is_learnt_from_once(fresh: Database) -> None:
    repository = LearningItemRepository(fresh)
    ids = [await scored(fresh) for _ in range(3)]
    running = await cycle(fresh)
    assert [one.interaction_id for one in await repository.claim(running, 2)] == ids[:2]
    assert [await repository.finish(running) for _ in range(2)] == [2, 0]
    later = await next_cycle(fresh)
    assert [one.interaction_id for one in await repository.claim(later, 10)] == ids[2:]
    await repository.finish(later)
    assert await repository.claim(await next_cycle(fresh), 10) == ()
    row = await fresh.fetchrow("SELECT count(*) AS n FROM learning_signals WHERE processed_at IS NULL")
    assert row == {"n": 0}


async def test_a_failed_cycle_gives_its_answers_back(fresh: Database) -> None:
    repository, given = LearningItemRepository(fresh), await scored(fresh)
    running = await cycle(fresh)
    await repository.claim(running, 10)
    assert await repository.give_back(running) == 1
    later = await next_cycle(fresh, "failed")
    assert [one.interaction_id for one in await repository.claim(later, 10)] == [given]


async def test_some_answers_alone_can_be_given_back(fresh: Database) -> None:
    repository = LearningItemRepository(fresh)
    first, second = await scored(fresh), await scored(fresh)
    running = await cycle(fresh)
    await repository.claim(running, 10)
    assert await repository.give_back(running, [second]) == 1
    assert [one.interaction_id for one in await repository.of_cycle(running)] == [first]


async def test_what_was_learnt_from_is_not_given_back(fresh: Database) -> None:
    repository = LearningItemRepository(fresh)
    await scored(fresh)
    running = await cycle(fresh)
    await repository.claim(running, 10)
    await repository.finish(running)
    assert await repository.give_back(running) == 0


async def test_an_answer_somebody_rates_later_is_learnt_from_again(fresh: Database) -> None:
    repository, given = LearningItemRepository(fresh), await answered(fresh)
    await judged(fresh, given)
    await say(fresh, given, "rating", 5.0)
    running = await cycle(fresh)
    await repository.claim(running, 10)
    await say(fresh, given, "correction", correction="no")
    await repository.finish(running)
    later = await next_cycle(fresh)
    (again,) = await repository.claim(later, 10)
    assert again.corrections == ("no",)
    await repository.finish(later)
    assert await repository.claim(await next_cycle(fresh), 10) == ()
    await InteractionRepository(fresh).reopen(given.interaction_id)
    await say(fresh, given, "rating", 1.0)
    assert await repository.claim(await next_cycle(fresh), 10) == (), "it waits for its new scores"
    await judged(fresh, given)
    assert len(await repository.claim(await next_cycle(fresh), 10)) == 1


async def test_two_cycles_never_hold_the_same_answer(fresh: Database) -> None:
    ids = {await scored(fresh) for _ in range(6)}
    first = await cycle(fresh)
    second = await next_cycle(fresh)
    repository = LearningItemRepository(fresh)
    one, other = await asyncio.gather(repository.claim(first, 3), repository.claim(second, 3))
    held = [item.interaction_id for item in (*one, *other)]
    assert len(held) == len(set(held))
    assert set(held) <= ids


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"explained", "retrieved", "old"}),
        ({"components": ["explainer"]}, {"explained", "old"}),
        ({"components": ["retrieval"]}, {"retrieved"}),
        ({"components": ["tool_composer"]}, {"retrieved"}),
        ({"components": ["orchestrator"]}, set()),
        ({"since": datetime(2026, 1, 2, tzinfo=UTC)}, {"explained", "retrieved"}),
        ({"until": datetime(2026, 1, 2, tzinfo=UTC)}, {"old"}),
        ({"unscored": True}, {"explained", "retrieved", "old", "unscored"}),
    ],
)
async def test_a_cycle_may_ask_for_some_answers_only(
    fresh: Database, asked: dict[str, Any], expected: set[str]
) -> None:
    config = await active_configuration(fresh)
    await scored(fresh, "explained", **EXPLAINED)
    await scored(fresh, "retrieved", agents=["tool_composer"], retrieval_config_id=config.config_id)
    old = await scored(fresh, "old", **EXPLAINED)
    await fresh.execute("UPDATE rag_interactions SET created_at = '2026-01-01' WHERE interaction_id = %s", (old,))
    await answered(fresh, "unscored", agents=["orchestrator"])
    await answered(fresh, "outside the sample", sampled=False)
    found = await LearningItemRepository(fresh).claim(await cycle(fresh), 10, **asked)
    assert {one.query for one in found} == expected


async def test_what_waits_is_counted(fresh: Database) -> None:
    repository = LearningItemRepository(fresh)
    assert (await repository.waiting()).oldest is None
    given = await answered(fresh)
    await answered(fresh, sampled=False)
    await scored(fresh)
    waiting = await repository.waiting()
    row = await fresh.fetchrow(
        "SELECT created_at FROM rag_interactions WHERE interaction_id = %s", (given.interaction_id,)
    )
    assert row is not None
    assert (waiting.scored, waiting.unscored, waiting.oldest) == (1, 1, row["created_at"])
    await repository.claim(await cycle(fresh), 10)
    assert (await repository.waiting()).scored == 0


async def test_answers_are_read_by_the_version_that_gave_them(fresh: Database) -> None:
    repository, config = LearningItemRepository(fresh), await active_configuration(fresh)
    for version in (1, 2, 2):
        await scored(fresh, f"version {version}", prompt_versions={"explainer": version})
    await scored(fresh, "retrieved", agents=["tool_composer"], retrieval_config_id=config.config_id)
    second = await repository.evaluated("explainer", prompt_version=2)
    assert [one.query for one in second] == ["version 2"] * 2
    assert [one.query for one in await repository.evaluated("explainer", limit=1)] == ["version 2"]
    assert len(await repository.evaluated("explainer")) == 3
    assert [one.query for one in await repository.evaluated("retrieval", retrieval_config=config.config_id)] == [
        "retrieved"
    ]
    assert await repository.evaluated("explainer", since=datetime.now(UTC) + timedelta(hours=1)) == ()
    assert len(await repository.evaluated("explainer", until=datetime.now(UTC) + timedelta(hours=1))) == 3
    assert {one.component for one in await repository.evaluated("retrieval")} == {"retrieval"}


async def test_a_prompt_is_tried_on_what_can_be_replayed(fresh: Database) -> None:
    repository, config = LearningItemRepository(fresh), await active_configuration(fresh)
    kept = await scored(fresh, "kept", **EXPLAINED)
    await scored(fresh, "not kept", retrieval_config_id=config.config_id, **EXPLAINED)
    await InteractionInputs(fresh).keep(kept, "explainer", {"findings": []})
    await InteractionInputs(fresh).keep(kept, "rag_answer", {"question": "?"})
    (item,) = await repository.for_component("explainer")
    assert (item.query, item.inputs) == ("kept", {"findings": []})
    assert len(await repository.for_component("explainer", with_inputs=False)) == 2
    assert [one.query for one in await repository.for_component("retrieval")] == ["not kept"]


async def test_evaluations_tell_which_change_came_of_them(fresh: Database) -> None:
    repository, given = LearningItemRepository(fresh), await scored(fresh)
    change = await action(fresh)
    assert await repository.applied([given], change.action_id) == 1
    row = await fresh.fetchrow("SELECT improvement_applied, improvement_details FROM learning_signals")
    assert row == {"improvement_applied": True, "improvement_details": {"action_id": change.action_id}}
