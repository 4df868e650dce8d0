"""Is a lesson kept once, found by likeness or by the change itself, and do its outcomes add up?"""

from __future__ import annotations

from typing import Any

import pytest

from src.errors import ContractViolation
from src.storage.database import Database
from src.storage.knowledge import KnowledgeRepository

EAST, NORTH_EAST, NORTH = (1.0, 0.0), (0.6, 0.8), (0.0, 1.0)


async def learn(db: Database, source_id: str = "a", **values: Any) -> str:
    known: dict[str, Any] = {
        "source_type": "improvement_action", "lesson_type": "failure", "title": "too long", "component": "explainer",
        "description": "the text doubled and nobody read it",
    }  # fmt: skip
    return (await KnowledgeRepository(db).add(source_id=source_id, **known | values)).knowledge_id


async def test_a_lesson_is_read_as_it_was_given(fresh: Database) -> None:
    repository = KnowledgeRepository(fresh)
    await learn(
        fresh, change_sha256="0" * 64, embedding=NORTH_EAST, embedding_model="m", details={"outcome_delta": -0.6},
        brands=["Kisqali"], confidence=0.9, validated=True,
    )  # fmt: skip
    (lesson,) = await repository.active("explainer")
    assert (lesson.lesson_type, lesson.title, lesson.component) == ("failure", "too long", "explainer")
    assert (lesson.change_sha256, lesson.details) == ("0" * 64, {"outcome_delta": -0.6})
    assert lesson.embedding == pytest.approx(NORTH_EAST)
    assert lesson.embedding_model == "m"
    row = await fresh.fetchrow("SELECT applicable_brands, confidence_level, validated FROM experiment_knowledge_store")
    assert row == {"applicable_brands": ["Kisqali"], "confidence_level": 0.9, "validated": True}


async def test_a_source_teaches_each_kind_of_lesson_once(fresh: Database) -> None:
    first = await learn(fresh)
    assert await learn(fresh, title="another") == first
    assert await learn(fresh, lesson_type="success") != first
    assert await learn(fresh, "b") != first


async def test_like_changes_are_found_the_likest_first(fresh: Database) -> None:
    repository = KnowledgeRepository(fresh)
    for source, vector in {"east": EAST, "north east": NORTH_EAST, "north": NORTH}.items():
        await learn(fresh, source, title=source, embedding=vector, embedding_model="m")
    found = await repository.similar(EAST, "m", "explainer", min_similarity=0.5)
    assert [(lesson.title, round(alike, 6)) for lesson, alike in found] == [("east", 1.0), ("north east", 0.6)]
    assert len(await repository.similar(EAST, "m", "explainer", min_similarity=-1, limit=1)) == 1


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ({"model": "other"}, {}),
        ({"component": "rag_answer"}, {}),
        ({"lesson_type": "success"}, {}),
        ({}, {"embedding": (1.0, 0.0, 0.0)}),
        ({}, {"embedding": None, "embedding_model": None}),
    ],
    ids=["another model", "another component", "another kind", "another length", "no vector"],
)
async def test_what_cannot_be_compared_is_not_found(
    fresh: Database, asked: dict[str, Any], stored: dict[str, Any]
) -> None:
    await learn(fresh, **{"embedding": EAST, "embedding_model": "m"} | stored)
    known: dict[str, Any] = {"embedding": EAST, "model": "m", "component": "explainer"}
    assert await KnowledgeRepository(fresh).similar(**known | asked) == ()


async def test_the_very_same_change_is_found_without_vectors(fresh: Database) -> None:
    repository = KnowledgeRepository(fresh)
    await learn(fresh, change_sha256="a" * 64)
    assert [one.title for one in await repository.of_change("a" * 64)] == ["too long"]
    assert await repository.of_change("a" * 64, "rag_answer") == ()
    assert await repository.of_change("b" * 64) == ()


async def test_a_lesson_that_is_not_active_is_consulted_no_more(fresh: Database) -> None:
    repository = KnowledgeRepository(fresh)
    await learn(fresh, change_sha256="a" * 64, embedding=EAST, embedding_model="m")
    await fresh.execute("UPDATE experiment_knowledge_store SET is_active = false")
    assert await repository.of_change("a" * 64) == await repository.active("explainer") == ()
    assert await repository.similar(EAST, "m", "explainer") == ()


@pytest.mark.parametrize("outcomes", [[True], [False], [True, False, False], [False, True, True, True, False]])
async def test_the_success_rate_is_the_mean_of_all_outcomes(fresh: Database, outcomes: list[bool]) -> None:
    repository, lesson = KnowledgeRepository(fresh), await learn(fresh)
    for number, success in enumerate(outcomes, start=1):
        await repository.applied([lesson])
        rate = await repository.outcome(lesson, success=success)
        assert rate == pytest.approx(sum(outcomes[:number]) / number)
    await repository.applied([lesson])
    row = await fresh.fetchrow("SELECT times_applied, times_measured, success_rate FROM experiment_knowledge_store")
    assert row is not None
    assert (row["times_applied"], row["times_measured"]) == (len(outcomes) + 1, len(outcomes))


async def test_an_outcome_of_an_unknown_lesson_is_refused(fresh: Database) -> None:
    with pytest.raises(ContractViolation, match="no lesson"):
        await KnowledgeRepository(fresh).outcome("00000000-0000-4000-8000-000000000000", success=True)


async def test_lessons_of_all_components_come_newest_first(fresh: Database) -> None:
    await learn(fresh, "a", title="first")
    await learn(fresh, "b", title="second", component="rag_answer", lesson_type="success")
    repository = KnowledgeRepository(fresh)
    assert [one.title for one in await repository.active()] == ["second", "first"]
    assert [one.title for one in await repository.active(lesson_type="failure")] == ["first"]
    assert [one.title for one in await repository.active(limit=1)] == ["second"]
