"""Which documents do good answers rest on, and which labels come of that?"""

from __future__ import annotations

from typing import Any

import pytest

from src.domain.vocabulary import load_vocabulary
from src.optimization.retrieval.items import LabelledItems
from src.optimization.retrieval.labels import labelled
from src.storage.answer_citations import AnswerCitationRepository, AnswerQuality
from src.storage.database import Database
from src.storage.interactions import Interaction
from src.storage.user_signals import UserSignalRepository
from tests.unit.test_rag.corpora import REPORTS, Text, add, remove
from tests.unit.test_storage.loop_rows import answered, judged

PLAN, NOTE = REPORTS[0], REPORTS[4]
KEY_OF_PLAN, KEY_OF_NOTE = ("file", PLAN.title), ("file", NOTE.title)
COMMON = Text("Definition", "NBRx counts new patients.", source_type="definition", source_id="kpi/BU7")


def cited(*texts: Text) -> list[dict[str, Any]]:
    """Citations as an answer to a question has them, with a figure among them."""
    chunks = [text.chunks()[0].chunk_id for text in texts]
    return [{"evidence_id": f"chunk:{chunk}#{number}"} for number, chunk in enumerate(chunks)] + [
        {"evidence_id": "figure:1"},
        {"run_id": "r"},
    ]


async def said(db: Database, interaction: Interaction, kind: str, value: float | None = None, **details: Any) -> None:
    about = {
        "interaction_id": interaction.interaction_id,
        "trace_id": interaction.trace_id,
        "session_id": None,
        "component": interaction.component,
        "brand": None,
    }
    await UserSignalRepository(db).give(about, kind, value=value, details=details)


async def the_only_answer(db: Database) -> AnswerQuality:
    (found,) = await AnswerCitationRepository(db).answers(10)
    return found


@pytest.fixture
async def corpus(db: Database) -> Database:
    await add(db, [*REPORTS, COMMON])
    return db


async def test_an_answer_comes_with_its_documents_each_once_and_what_was_said_of_it(corpus: Database) -> None:
    chunk = PLAN.chunks()[0].chunk_id
    given = await answered(corpus, "How is Kisqali?", citations=[*cited(PLAN, NOTE), {"chunk_id": chunk}])
    await said(corpus, given, "rating", 2.0)
    await said(corpus, given, "rating", 5.0)
    await said(corpus, given, "thumbs_down")
    await said(corpus, given, "thumbs_up")
    await said(corpus, given, "correction", correction="It was 12.")
    found = await the_only_answer(corpus)
    assert found.cited == (KEY_OF_PLAN, KEY_OF_NOTE)
    assert (found.rating, found.thumbs_up, found.corrections) == (5, True, ("It was 12.",))
    assert (found.interaction_id, found.query, found.declined) == (given.interaction_id, "How is Kisqali?", False)


async def test_an_answer_of_which_nothing_was_said_is_left_out(corpus: Database) -> None:
    await answered(corpus, citations=cited(PLAN))
    assert await AnswerCitationRepository(corpus).answers(10) == []


@pytest.mark.parametrize(
    ("methods", "counts"),
    [
        ({"method": "ragas", "rubric_method": "llm"}, True),
        ({"method": "heuristic", "rubric_method": "llm"}, True),
        ({"method": "ragas", "rubric_method": "heuristic"}, True),
        ({"method": "heuristic", "rubric_method": "heuristic"}, False),
    ],
)
async def test_a_judgement_counts_where_a_model_read_the_answer(
    corpus: Database, methods: dict[str, str], counts: bool
) -> None:
    given = await answered(corpus, citations=cited(PLAN))
    await judged(corpus, given, rubric=5.0, ragas=1.0, **methods)
    found = await AnswerCitationRepository(corpus).answers(10)
    assert [one.judged for one in found] == ([pytest.approx(1.0)] if counts else [])


async def test_a_document_that_is_gone_is_no_label_any_more(corpus: Database) -> None:
    given = await answered(corpus, citations=cited(PLAN, NOTE))
    await said(corpus, given, "thumbs_up")
    await remove(corpus, PLAN)
    assert (await the_only_answer(corpus)).cited == (KEY_OF_NOTE,)


async def test_the_newest_answers_are_read_where_there_are_more(corpus: Database) -> None:
    for number in range(3):
        await said(corpus, await answered(corpus, f"question {number}?"), "thumbs_up")
    await corpus.execute(
        "UPDATE rag_interactions SET created_at = now() - interval '1 day' WHERE query = 'question 1?'"
    )
    found = await AnswerCitationRepository(corpus).answers(2)
    assert {one.query for one in found} == {"question 0?", "question 2?"}


async def test_labelled_items_are_peoples_questions_and_written_ones_each_once_corrections_first(
    corpus: Database,
) -> None:
    first = await answered(corpus, "Where is  Kisqali growing?", citations=cited(NOTE))
    await said(corpus, first, "thumbs_up")
    second = await answered(corpus, "where is kisqali growing?", citations=cited(NOTE))
    await said(corpus, second, "correction", correction=f"Look into {PLAN.title}.")
    items = await LabelledItems(corpus, load_vocabulary())("retrieval")
    queries = [query for item in items if (query := labelled(item)) is not None]
    assert [(query.origin, set(query.relevant)) for query in queries] == [
        ("correction", {KEY_OF_PLAN}),
        ("known_item", {("definition", "kpi/BU7")}),
    ]
    assert items[0].interaction_id == second.interaction_id
    assert {item.component for item in items} == {"retrieval"}
    assert {item.method for item in items} == {"labels"}


async def test_the_number_of_written_questions_is_limited(corpus: Database) -> None:
    assert await LabelledItems(corpus, most_known_items=0)("retrieval") == []
