"""Does relevancy reward what an answer says on the question, and nothing copied, invented or about another brand?"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from src.rag.evaluation_datasets import get_default_evaluation_dataset
from src.rag.heuristics.effort import MOST_WORK, work
from src.rag.heuristics.passages import passages
from src.rag.heuristics.relevancy import answer_relevancy
from src.rag.heuristics.scoring import MAX_CHARACTERS, heuristic_scores
from src.rag.heuristics.support import support_in
from src.rag.heuristics.tokens import tokenize
from src.rag.samples import EvaluationSample

SAMPLES = get_default_evaluation_dataset()
CATEGORIES = [str(sample.metadata["category"]) for sample in SAMPLES]
QUESTION = "What was the TRx of Kisqali in the South in Q2 2025?"
CONTEXTS = (
    "Kisqali TRx in the South rose 8.4 % to 12,340 in the second quarter of 2025. Market share reached 31.2 %.",
    "Fabhalta TRx in the West was 900 in May 2025. The sales team met in Basel.",
)
RIGHT = "Kisqali TRx in the South rose 8.4 % to 12,340 in the second quarter of 2025."


def overall(sample: EvaluationSample) -> float:
    measured = [found.value for found in heuristic_scores(sample).values() if found.value is not None]
    return sum(measured) / len(measured)


def relevancy(answer: str, question: str = QUESTION, contexts: tuple[str, ...] = CONTEXTS) -> float:
    value = answer_relevancy(question, answer, contexts).value
    assert value is not None
    return value


def whole(texts: list[str]) -> str:
    return " ".join(texts)


def with_one_word_changed(texts: list[str]) -> str:
    words = whole(texts).split()
    words[len(words) // 2] = "somewhat"
    return " ".join(words)


def with_every_tenth_word_left_out(texts: list[str]) -> str:
    return " ".join(word for at, word in enumerate(whole(texts).split()) if at % 10 != 9)


def shuffled(texts: list[str]) -> str:
    mixed = list(texts)
    random.Random(3).shuffle(mixed)
    return " ".join(mixed)


def with_an_addition(texts: list[str]) -> str:
    return f"{whole(texts)} " + "That is all there is to be told about it at the present time. " * 4


COPIES = [whole, with_one_word_changed, with_every_tenth_word_left_out, shuffled, with_an_addition]


@pytest.mark.parametrize("known", [True, False], ids=["truth", "no truth"])
@pytest.mark.parametrize("sample", SAMPLES, ids=CATEGORIES)
@pytest.mark.parametrize("copied", COPIES)
def test_copying_the_contexts_never_beats_the_right_answer(
    copied: Callable[[list[str]], str], sample: EvaluationSample, known: bool
) -> None:
    asked = sample if known else replace(sample, ground_truth=None)
    right = replace(asked, answer=sample.ground_truth)
    assert overall(replace(asked, answer=copied(list(sample.contexts)))) < overall(right)


@pytest.mark.parametrize("known", [True, False], ids=["truth", "no truth"])
@pytest.mark.parametrize("place", range(len(SAMPLES)), ids=CATEGORIES)
def test_copying_all_contexts_but_one_never_beats_the_right_answer(place: int, known: bool) -> None:
    sample = SAMPLES[place]
    others = [text for step in (1, 2) for text in SAMPLES[(place + step) % len(SAMPLES)].contexts]
    contexts = (*sample.contexts, *others)
    asked = replace(sample, contexts=contexts, ground_truth=sample.ground_truth if known else None)
    right = overall(replace(asked, answer=sample.ground_truth))
    for left_out in range(len(contexts)):
        texts = [text for at, text in enumerate(contexts) if at != left_out]
        assert overall(replace(asked, answer=" ".join(texts))) < right


@pytest.mark.parametrize("place", range(len(SAMPLES)), ids=CATEGORIES)
def test_one_or_two_quoted_sentences_cost_nothing(place: int) -> None:
    sample = SAMPLES[place]
    for contexts, answer in (
        (sample.contexts, sample.contexts[0]),
        ((*sample.contexts, *SAMPLES[place - 1].contexts), " ".join(sample.contexts)),
        (sample.contexts[:1], sample.contexts[0]),
    ):
        found = answer_relevancy(sample.query, answer, contexts)
        assert "repeated" not in found.reason
        assert found.value is not None
        assert found.value > 0.8


def test_a_fact_told_in_the_form_of_others_is_no_copy_of_them() -> None:
    contexts = tuple(
        f"{brand} TRx rose by {number}% in the {region} in Q{quarter} 2024."
        for brand, number, region, quarter in (
            ("Kisqali", 12, "Northeast", 1),
            ("Fabhalta", 8, "West", 2),
            ("Remibrutinib", 5, "South", 3),
            ("Kisqali", 3, "Midwest", 4),
        )
    )
    found = answer_relevancy("How did Kisqali TRx develop in the Northeast?", contexts[0], contexts)
    assert "repeated" not in found.reason


def test_an_answer_that_names_nothing_of_the_question_is_read_with_the_sentence_it_draws_on() -> None:
    contexts = ("In the adoption study of Fabhalta, peer referral had the largest effect.",)
    asked = "What drives the adoption of Fabhalta?"
    assert relevancy("Peer referral had the largest effect.", asked, contexts) > 0.6
    assert relevancy("Weather had the largest influence.", asked, contexts) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "Fabhalta adoption: 1 2 3 4 5 6",
        "The adoption of Fabhalta: Basel, Paris, 120 pizzas, 1999.",
        "Adoption of Fabhalta is driven by television campaigns with celebrity physicians in 14 countries.",
    ],
)
def test_figures_and_names_that_stand_in_no_context_are_no_information(answer: str) -> None:
    contexts = ("Peer referral had the largest effect on Fabhalta adoption.",)
    asked = "What drives the adoption of Fabhalta?"
    assert relevancy(answer, asked, contexts) < 0.5 * relevancy(contexts[0], asked, contexts)


@pytest.mark.parametrize(
    "extra",
    [
        "Elephants run the sales team.",
        "The Basel cafeteria served 120 pizzas to Paris visitors in 1999.",
        "Novartis paid 99 million dollars to 17 doctors in Paris.",
        "It is not known why Fabhalta collapsed in 1999.",
        "Kisqali elephants of the South withdrew 77 circus tents.",
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        RIGHT,
        "It rose 8.4 % to 12,340.",
        "Fabhalta TRx in the West was 900 in May 2025.",
        "I do not know the reason. It rose to 12,340.",
        "Analysts in Paris expect a merger.",
    ],
)
def test_an_invented_sentence_more_never_raises_relevancy(answer: str, extra: str) -> None:
    for longer in (f"{answer} {extra}", f"{extra} {answer}"):
        assert relevancy(longer) <= relevancy(answer)


@pytest.mark.parametrize(
    ("old", "new"),
    [("Kisqali", "Fabhalta"), ("Kisqali", "Remibrutinib"), ("South", "West"), ("South", "Midwest")],
)
def test_another_brand_or_region_than_the_asked_one_lowers_relevancy(old: str, new: str) -> None:
    assert relevancy(RIGHT.replace(old, new)) < 0.6 * relevancy(RIGHT)
    twice = f"{RIGHT} Kisqali market share in the South reached 31.2 %."
    assert relevancy(twice.replace(old, new, 1)) <= relevancy(twice)


def test_another_measure_never_raises_relevancy() -> None:
    contexts = (*CONTEXTS, "Kisqali NRx in the South was 400.")
    assert relevancy(RIGHT.replace("TRx", "NRx"), contexts=contexts) <= relevancy(RIGHT, contexts=contexts)


def test_the_asked_brand_need_not_be_named() -> None:
    found = answer_relevancy(QUESTION, "The TRx rose 8.4 % to 12,340 in the second quarter.", CONTEXTS)
    assert found.value is not None
    assert found.value > 0.7
    assert "another brand" not in found.reason


def many(sentences: int) -> str:
    draw = random.Random(1)
    return " ".join(" ".join(f"word{draw.randrange(400)}" for _ in range(15)) + "." for _ in range(sentences))


def test_comparisons_that_would_take_too_long_are_left_out_by_name() -> None:
    text, answer = many(1000), many(100)
    contexts = tuple(text[at : at + 2000] for at in range(0, len(text), 2000))
    scores = heuristic_scores(EvaluationSample("word1 word2?", answer, contexts, answer))
    for metric in ("faithfulness", "answer_relevancy", "context_precision", "context_recall"):
        assert scores[metric].value is None
        assert "too many to be compared in time" in scores[metric].reason


def test_a_long_answer_to_ten_retrieved_chunks_is_measured() -> None:
    chunk = "Kisqali TRx in the northeast rose from 1,180 in January to 1,342 in June of the same year. " * 10
    claim = tokenize("Kisqali TRx in the northeast rose from 1,180 in January to 1,342 in June of the same year.")
    assert work([claim] * 20, [passages(chunk)] * 10) <= MOST_WORK


def test_texts_too_long_to_be_read_in_time_are_unmeasured() -> None:
    found = heuristic_scores(EvaluationSample(QUESTION, RIGHT, ("word " * (MAX_CHARACTERS // 5),), RIGHT))
    assert {one.value for one in found.values()} == {None}
    assert "characters, more than" in found["faithfulness"].reason


def test_a_statement_is_compared_once_for_all_metrics() -> None:
    support_in.cache_clear()
    heuristic_scores(EvaluationSample(QUESTION, RIGHT, CONTEXTS[:1], RIGHT))
    assert support_in.cache_info().misses == 1
