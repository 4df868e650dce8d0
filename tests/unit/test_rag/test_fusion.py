"""Are ranks joined as Cormack et al. say, whatever the arms found?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.rag.retrieval.arms import Hit
from src.rag.retrieval.fusion import fuse, reranked, shared_weights
from src.rag.retrieval.repetition import without_repetition
from src.rag.retrieval_results import RetrievedChunk
from src.storage.retrieval_configurations import Arm

WEIGHTS: dict[Arm, float] = {"dense": 0.4, "text": 0.3, "graph": 0.3}

rankings = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)
weights = st.tuples(*[st.floats(0.01, 1.0)] * 3)


def hits(chunks: str | list[str]) -> list[Hit]:
    return [Hit(chunk, float(len(chunks) - at)) for at, chunk in enumerate(chunks)]


def test_a_chunk_gets_weight_over_k_plus_rank_from_each_arm_that_found_it() -> None:
    found: dict[Arm, list[Hit]] = {"dense": hits("ab"), "text": hits("bc"), "graph": hits("d")}
    scores = {one.chunk_id: one.score for one in fuse(found, WEIGHTS, k=60)}
    assert scores == pytest.approx({"a": 0.4 / 61, "b": 0.4 / 62 + 0.3 / 61, "c": 0.3 / 62, "d": 0.3 / 61})


def test_the_weight_of_an_arm_that_found_nothing_goes_to_the_others_in_proportion() -> None:
    shared = shared_weights(WEIGHTS, {"dense": hits("a"), "text": hits("b"), "graph": []})
    assert shared == pytest.approx({"dense": 4 / 7, "text": 3 / 7})


def test_one_arm_alone_keeps_its_order() -> None:
    assert [one.chunk_id for one in fuse({"text": hits("dbca")}, WEIGHTS, k=60)] == ["d", "b", "c", "a"]


def test_equal_scores_are_ordered_by_id() -> None:
    found: dict[Arm, list[Hit]] = {"text": hits("z"), "graph": hits("a")}
    assert [one.chunk_id for one in fuse(found, WEIGHTS, k=60)] == ["a", "z"]


@given(rankings, rankings, rankings, weights)
def test_contributions_sum_to_the_score_and_the_order_is_theirs(
    dense: list[str], text: list[str], graph: list[str], given_weights: tuple[float, float, float]
) -> None:
    found: dict[Arm, list[Hit]] = {"dense": hits(dense), "text": hits(text), "graph": hits(graph)}
    chosen: dict[Arm, float] = dict(zip(WEIGHTS, given_weights, strict=True))
    fused = fuse(found, chosen, k=60)
    assert {one.chunk_id for one in fused} == {*dense, *text, *graph}
    assert [one.score for one in fused] == sorted((one.score for one in fused), reverse=True)
    for one in fused:
        assert one.score == pytest.approx(sum(part.contribution for part in one.parts.values()))
        assert all(found[arm][part.rank - 1].chunk_id == one.chunk_id for arm, part in one.parts.items())


@given(rankings, rankings)
def test_a_better_rank_in_one_arm_never_lowers_a_chunk(dense: list[str], text: list[str]) -> None:
    if len(dense) < 2:
        return
    raised = [dense[1], dense[0], *dense[2:]]
    before = {one.chunk_id: one.score for one in fuse({"dense": hits(dense), "text": hits(text)}, WEIGHTS, k=60)}
    after = {one.chunk_id: one.score for one in fuse({"dense": hits(raised), "text": hits(text)}, WEIGHTS, k=60)}
    assert after[dense[1]] >= before[dense[1]]


def test_the_convex_combination_scales_between_the_least_score_and_the_most() -> None:
    found: dict[Arm, list[Hit]] = {
        "dense": [Hit("a", 0.8), Hit("b", 0.6)],
        "text": [Hit("b", 10.0), Hit("c", 5.0)],
    }
    scores = {one.chunk_id: one.score for one in reranked(fuse(found, WEIGHTS, k=60), WEIGHTS)}
    dense, text = 4 / 7, 3 / 7
    assert scores == pytest.approx({"a": dense * 0.9, "b": dense * 0.8 + text, "c": text * 0.5})


def test_an_arm_whose_best_match_is_poor_adds_little() -> None:
    found: dict[Arm, list[Hit]] = {"dense": [Hit("poor", 0.0)], "text": [Hit("right", 3.0)], "graph": [Hit("far", 0.1)]}
    scores = {one.chunk_id: one.score for one in reranked(fuse(found, WEIGHTS, k=60), WEIGHTS)}
    assert scores == pytest.approx({"right": 0.3, "poor": 0.2, "far": 0.03})


def chunk(name: str, text: str, start: int, end: int, document: str = "d", title: str = "t") -> RetrievedChunk:
    return RetrievedChunk(name, document, text, 1.0, {}, title, "file", document, start=start, end=end)


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        (chunk("b", "other", 90, 190), "ab"),  # the usual overlap of neighbours
        (chunk("b", "other", 40, 140), "a"),  # mostly the same place
        (chunk("b", "other", 10, 20), "a"),  # inside
        (chunk("b", "text", 0, 4, document="e"), "a"),  # the same text under the same title
        (chunk("b", "text", 0, 4, document="e", title="u"), "ab"),
        (chunk("b", "other", 0, 100, document="e"), "ab"),
    ],
)
def test_of_two_chunks_that_say_the_same_the_better_stays(second: RetrievedChunk, kept: str) -> None:
    found = without_repetition([chunk("a", "text", 0, 100), second])
    assert "".join(one.chunk_id for one in found) == kept
