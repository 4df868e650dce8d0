"""Are misspelt names repaired, and different names left alone?"""

from __future__ import annotations

import random

import pytest

from src.domain.matching import find_names
from src.domain.reading import Reading
from src.domain.vocabulary import Kind, load_vocabulary

NAMES = [
    "Kisqali",
    "Fabhalta",
    "Remibrutinib",
    "northeast",
    "midwest",
    "oncologists",
    "prescriptions",
    "speaker programs",
]


def canonicals(question: str) -> list[tuple[Kind, str]]:
    return [(match.kind, match.canonical) for match in find_names(Reading(question), load_vocabulary())]


def misspelt(name: str, rng: random.Random) -> str:
    """One error behind the first letter: dropped, doubled, swapped or replaced."""
    at = rng.randrange(1, len(name) - 1)
    return rng.choice(
        [
            name[:at] + name[at + 1 :],
            name[:at] + name[at] + name[at:],
            name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            name[:at] + rng.choice("aeioustrln") + name[at + 1 :],
        ]
    )


@pytest.mark.parametrize("name", NAMES)
def test_one_typing_error_does_not_change_the_name(name: str) -> None:
    rng = random.Random(name)
    expected = canonicals(name)
    assert [canonicals(misspelt(name, rng)) for _ in range(40)] == [expected] * 40


@pytest.mark.parametrize("other", sorted(load_vocabulary().foreign.brands))
def test_no_other_drug_is_taken_for_ours(other: str) -> None:
    assert canonicals(other) == []


@pytest.mark.parametrize(
    "word", ["youth", "mouth", "southwest", "rest", "best", "kiss", "fabulous", "example", "simple", "alter"]
)
def test_similar_ordinary_words_are_not_names(word: str) -> None:
    assert canonicals(word) == []


@pytest.mark.parametrize("short", ["trz", "nrz", "nbr", "mrx"])
def test_short_names_must_be_exact(short: str) -> None:
    assert canonicals(short) == []


def test_words_of_a_phrase_may_stand_apart() -> None:
    assert (Kind.MEASURE, "trx") in canonicals("total monthly Kisqali prescriptions")


def test_names_keep_the_words_as_typed() -> None:
    found = find_names(Reading("NRx in the Norht East"), load_vocabulary())
    assert [(match.text, match.canonical) for match in found] == [("NRx", "nrx"), ("Norht East", "northeast")]
    assert found[0].score == 1
    assert 0.8 < found[1].score < 1
