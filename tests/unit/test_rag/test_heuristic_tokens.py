"""Are words, numbers and names compared by what they mean rather than how they are written?"""

from __future__ import annotations

import pytest

from src.rag.heuristics.claims import MAX_TOKENS, claims, sentence_tokens, sentences
from src.rag.heuristics.commitment import committal_parts, is_non_committal
from src.rag.heuristics.polarity import compare
from src.rag.heuristics.tokens import Sort, tokenize


def norms(text: str) -> list[str]:
    return [token.norm for token in tokenize(text)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,200", "1200"),
        ("30%", "30 percent"),
        ("30%", "30 per cent"),
        ("30 %", "0.30"),
        ("1.5 million", "1,500,000"),
        ("$1.5m", "$1,500,000"),
        ("twenty-five", "25"),
        ("three hundred thousand", "300,000"),
        ("10-15%", "10% to 15%".replace(" to ", " ")),
        ("Q3 2024", "third quarter 2024"),
        ("2024-03-01", "2024 March 1"),
        ("Mar 2024", "March 2024"),
        ("prescriptions", "prescription"),
        ("Increased", "increases"),
        ("ribociclib", "Kisqali"),
        ("Rhapsido", "remibrutinib"),
        ("total prescriptions", "TRx"),
        ("North East", "northeastern"),
        ("anaemia", "anemia"),
        ("café", "cafe"),
        ("isn't", ["is", "not"][1]),
        ("didn ' t", "not"),
        ("−5", "-5"),
    ],
)
def test_two_ways_of_writing_are_one(one: str, other: str) -> None:
    assert norms(one) == norms(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12%", "12"),
        ("12%", "14%"),
        ("-5%", "5%"),
        ("1.5 million", "1.5 billion"),
        ("Q3", "Q2"),
        ("March 2024", "April 2024"),
        ("Kisqali", "Fabhalta"),
        ("the South", "the West"),
    ],
)
def test_two_meanings_stay_apart(one: str, other: str) -> None:
    assert norms(one) != norms(other)


def test_a_hyphen_of_a_range_is_no_sign() -> None:
    assert norms("10-15%") == ["0.1", "0.15"]


def test_brands_and_capitals_inside_a_sentence_are_names_and_count_more_than_grammar() -> None:
    tokens = {token.surface: token for token in tokenize("The reps in Boston sell kisqali")}
    assert tokens["boston"].named
    assert tokens["kisqali"].named
    assert not tokens["the"].named
    assert tokens["boston"].weight > tokens["sell"].weight > tokens["the"].weight


def test_abbreviations_and_decimals_end_no_sentence() -> None:
    found = sentences("Dr. Smith saw approx. 3.5 calls. TRx rose!\n- first item\n2. second item")
    assert found == ("Dr. Smith saw approx. 3.5 calls.", "TRx rose!", "first item", "second item")


def test_a_text_without_sentence_ends_is_cut() -> None:
    assert {len(one) for one in sentence_tokens("word " * 3 * MAX_TOKENS)} == {MAX_TOKENS}


def test_citations_and_bare_grammar_are_no_claims() -> None:
    assert [[token.norm for token in one] for one in claims("Yes, it is. Calls rose [1, 2].")] == [["call", "rose"]]


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I do not have information on how it ended.",
        "There is no information about Fabhalta in the documents.",
        "The timeline was not provided.",
        "We cannot determine the share.",
        "Unknown",
        "The contexts do not mention the West.",
        "It is unclear.",
    ],
)
def test_saying_that_nothing_is_known_is_seen(text: str) -> None:
    assert is_non_committal(text)


@pytest.mark.parametrize(
    "text",
    [
        "There is no evidence of an effect.",
        "TRx did not rise.",
        "No significant difference was found.",
        "Calls rose 12%.",
    ],
)
def test_a_negative_finding_is_a_finding(text: str) -> None:
    assert not is_non_committal(text)


def test_a_sentence_may_say_one_thing_and_not_know_another() -> None:
    assert committal_parts("TRx rose 12%, but I do not know why.") == (["TRx rose 12%"], 1)


def compared(claim: str, text: str) -> tuple[int, int]:
    found = compare(tokenize(claim), [tokenize(text)])
    return found.agree, found.conflict


@pytest.mark.parametrize(
    ("claim", "text", "expected"),
    [
        ("Calls increase new prescriptions", "Calls raised new prescriptions", (1, 0)),
        ("Calls increase new prescriptions", "Calls reduced new prescriptions", (0, 1)),
        ("Calls increase new prescriptions", "Calls had no effect on new prescriptions", (0, 1)),
        ("Calls had no effect on sales", "Calls had no effect on sales", (1, 0)),
        ("Calls increase new prescriptions", "Weather in Boston worsened", (0, 0)),
        ("Sales fell 5%", "Sales changed by -5%", (1, 0)),
        ("Sales rose 5%", "Sales changed by -5%", (0, 1)),
    ],
)
def test_directions_are_compared_around_shared_words(claim: str, text: str, expected: tuple[int, int]) -> None:
    assert compared(claim, text) == expected


def test_a_cause_claimed_of_an_association_is_seen() -> None:
    text = [tokenize("Calls are associated with prescriptions")]
    assert compare(tokenize("Calls caused prescriptions"), text).overreach
    assert not compare(tokenize("Calls are linked to prescriptions"), text).overreach


def test_a_negation_on_one_side_is_seen() -> None:
    text = [tokenize("Samples are part of the launch plan")]
    assert compare(tokenize("Samples are not part of the launch plan"), text).negation
    assert not compare(tokenize("Samples are part of the plan"), text).negation


def test_numbers_are_numbers_and_quarters_too() -> None:
    assert [token.sort for token in tokenize("Q3 12%")] == [Sort.NUMBER, Sort.NUMBER]
