"""Does the retriever read from a question what the vocabulary knows, and show where it matched?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from src.app.retrieval import snippet
from src.domain.vocabulary import load_vocabulary
from src.rag.retrieval.arms import Asked
from src.rag.retrieval.entities import Entities, recognise
from src.rag.retrieval.graph_arm import path_score
from src.rag.retrieval.text_arm import TextArm, weighted_words
from src.storage.rag_chunks import CausalPath, ChunkFilter

VOCABULARY = load_vocabulary()


@pytest.mark.parametrize(
    ("query", "brands", "regions", "nodes"),
    [
        ("Do rep calls drive NRx of Kisqali in the northeast?", ("Kisqali",), ("northeast",), ("rep_calls", "nrx")),
        ("what moves Fabalta scripts", ("Fabhalta",), (), ("nrx",)),  # a typing error, a vague word
        ("CSU patients in the mid west", ("Remibrutinib",), ("midwest",), ()),
        ("market share of ribociclib", ("Kisqali",), (), ("BU8",)),
        ("trx kpi", (), (), ("trx",)),  # the measure that the KPI is computed from
        ("zebrafish embryos", (), (), ()),
        ("", (), (), ()),
        ("100 %", (), (), ()),
        ("Kisqali\x00", (), (), ()),
    ],
)
def test_names_are_read_as_the_vocabulary_says(
    query: str, brands: tuple[str, ...], regions: tuple[str, ...], nodes: tuple[str, ...]
) -> None:
    found = recognise(query, VOCABULARY)
    assert (found.brands, found.regions, found.nodes) == (brands, regions, nodes)
    assert bool(found) == bool(brands or regions or nodes)


def test_a_recognised_name_also_searches_the_words_that_documents_use() -> None:
    query = "scripts after f2f"
    asked = Asked(query, recognise(query, VOCABULARY), ChunkFilter(), 10)
    arm = TextArm(None, VOCABULARY)  # type: ignore[arg-type]
    found = weighted_words(asked, arm._labels)
    assert found["script"] == 1.0
    assert found["prescript"] == found["rep"] == found["nrx"] == pytest.approx(0.3)


def test_a_word_of_the_question_is_not_weakened_by_being_a_label_too() -> None:
    query = "rep calls"
    asked = Asked(query, recognise(query, VOCABULARY), ChunkFilter(), 10)
    assert weighted_words(asked, TextArm(None, VOCABULARY)._labels) == {"rep": 1.0, "call": 1.0}  # type: ignore[arg-type]


def path(*nodes: str, confidence: float = 0.9, brand: str | None = None) -> CausalPath:
    return CausalPath("p", nodes, confidence, brand, None)


NAMED = Entities(brands=("Kisqali",), nodes=("rep_calls", "nrx"))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (path("rep_calls", "nrx"), path("rep_calls", "trx")),
        (path("rep_calls", "trx"), path("trx", "conversion")),
        (path("rep_calls", "trx"), path("rep_calls", "trx", confidence=0.5)),
        (path("rep_calls", "trx", brand="Kisqali"), path("rep_calls", "trx")),
    ],
    ids=["joins both measures", "is nearer", "is surer", "is of the brand"],
)
def test_a_path_scores_higher_that(better: CausalPath, worse: CausalPath) -> None:
    reached = {"rep_calls": 1.0, "nrx": 1.0, "trx": 0.5}
    assert path_score(better, NAMED, reached) > path_score(worse, NAMED, reached)


def test_no_path_scores_above_one_and_a_single_measure_is_far_below() -> None:
    reached = {"rep_calls": 1.0, "nrx": 1.0}
    named = replace(NAMED, regions=("west",))
    best = CausalPath("p", ("rep_calls", "nrx"), 1.0, "Kisqali", "west")
    assert path_score(best, named, reached) == 1.0
    assert path_score(path("rep_calls", "trx", confidence=1.0), NAMED, reached) == pytest.approx(0.4)


def test_a_snippet_shows_the_words_of_the_query_in_every_form() -> None:
    found = snippet("prescription growth", "Prescriptions grew; growth of prescribing followed.")
    shown = [found.text[start:end] for start, end in found.matches]
    assert shown == ["Prescriptions", "growth"]


def test_a_snippet_of_a_long_text_is_taken_where_most_words_are() -> None:
    filler = "nothing to see here and more of the same. " * 30
    found = snippet("speaker programs lift", filler + "Speaker programs lift new prescriptions. " + filler, length=120)
    assert {found.text[start:end].lower() for start, end in found.matches} == {"speaker", "programs", "lift"}
    assert found.text.startswith("… ")
    assert found.text.endswith(" …")
    assert len(found.text) <= 124


@pytest.mark.parametrize("text", ["", "x" * 1000, "word " * 300, "\n\n"])
def test_a_snippet_of_any_text_stays_short(text: str) -> None:
    found = snippet("query terms", text, length=100)
    assert len(found.text) <= 104
    assert found.matches == ()
