"""What a component was given, as it is kept and as it comes back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from src.agents.explainer.state import ExplainRequest
from src.app.improving.inputs import GivenInputs, documents_question, explain_request
from src.errors import ContractViolation
from src.rag.answering.writing import question_with_documents
from src.rag.answers import RAGAnswer
from src.rag.retrieval_results import RetrievedChunk
from tests.unit.test_agents.test_explainer.parts import EFFECT, FORMATS, READERS, request

BOTH = frozenset({"explainer", "rag_answer"})
CHUNKS = tuple(
    RetrievedChunk(
        chunk_id=f"0192ab3c-0000-7000-8000-00000000000{number}",
        document_id="0192ab3c-0000-7000-8000-0000000000d1",
        text=text,
        score=1.0 / number,
        parts={},
        title="Kisqali brand plan",
        source_type="document",
        source_id="plan.md",
        section="Calls",
        brand="Kisqali",
    )
    for number, text in enumerate(("Rep calls are planned by decile.", "Two e-mails a month go out."), start=1)
)


def answered(**fields: Any) -> RAGAnswer:
    return RAGAnswer(
        **{
            "query": "How are rep calls planned?",
            "answer": "By decile [1].",
            "sentences": (),
            "contexts": CHUNKS,
            "citations": (),
            "confidence": 0.9,
            "method": "llm",
            "trace_id": None,
            "prompt_versions": {"rag_answer": 3},
            "retrieval_config_id": "0192ab3c-0000-7000-8000-0000000000c1",
        }
        | fields
    )


def kept(asked: ExplainRequest) -> dict[str, Any]:
    """As it is read back from a column of JSON."""
    given = GivenInputs(BOTH)
    given.explained(asked, {"explainer": 1})
    back: dict[str, Any] = json.loads(json.dumps(given.documents["explainer"]))
    return back


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FORMATS)
def test_what_explainer_was_given_comes_back_as_it_was(reader: Any, form: Any) -> None:
    asked = dataclasses.replace(request(EFFECT), user_expertise=str(reader), output_format=form)
    assert explain_request(kept(asked)) == asked


def test_a_question_and_its_passages_come_back_as_the_model_saw_them() -> None:
    given = GivenInputs(BOTH)
    given.answered("How are rep calls planned?", answered())
    back = documents_question(json.loads(json.dumps(given.documents["rag_answer"])))
    again = question_with_documents(back.question, [one.chunk() for one in back.passages], max_chars=9_000)
    assert again == question_with_documents("How are rep calls planned?", CHUNKS, max_chars=9_000)


def test_persons_are_taken_out_of_texts_and_ids_of_evidence_stay() -> None:
    told = dataclasses.replace(
        EFFECT.statements[0], text="Patient id PAT_0012345 of jane.doe@example.com moved the mean."
    )
    asked = dataclasses.replace(
        request(dataclasses.replace(EFFECT, statements=(told, *EFFECT.statements[1:]))),
        query="Why did HCP id 4711-22 prescribe less?",
    )
    document = kept(asked)
    text = json.dumps(document)
    assert not any(private in text for private in ("PAT_0012345", "jane.doe", "4711-22"))
    back = explain_request(document)
    assert [one.evidence for one in back.results[0].statements] == [one.evidence for one in EFFECT.statements]
    assert back.results[0].evidence == EFFECT.evidence
    assert back.results[0].figures == EFFECT.figures


@pytest.mark.parametrize(
    ("components", "versions", "kept_of"),
    [
        (BOTH, {"explainer": 2}, {"explainer"}),
        (BOTH, {}, set()),
        (frozenset({"rag_answer"}), {"explainer": 2}, set()),
        (frozenset(), {"explainer": 2}, set()),
    ],
    ids=["prompt used", "no prompt used", "not to be improved", "nothing to be improved"],
)
def test_only_what_may_be_improved_and_used_its_prompt_is_kept(
    components: frozenset[str], versions: dict[str, int], kept_of: set[str]
) -> None:
    given = GivenInputs(components)
    given.explained(request(EFFECT), versions)
    assert set(given.documents) == kept_of


def test_of_a_component_that_was_asked_twice_the_first_question_counts() -> None:
    given = GivenInputs(BOTH)
    given.answered("first?", answered())
    given.answered("second?", answered())
    assert documents_question(given.documents["rag_answer"]).question == "first?"


def test_the_settings_of_retrieval_are_noted_also_where_no_model_wrote() -> None:
    given = GivenInputs(BOTH)
    given.answered("How?", answered(prompt_versions={}, method="extractive"))
    assert (given.documents, given.retrieval_config_id) == ({}, "0192ab3c-0000-7000-8000-0000000000c1")


@pytest.mark.parametrize("stored", [{}, {"query": "q"}, {"query": "q", "results": [], "mood": "good"}])
def test_what_cannot_be_read_back_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation):
        explain_request(stored)
