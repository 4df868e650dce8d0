"""Are questions in plain words understood, asked back or refused as they should be?"""

from __future__ import annotations

import random
import string
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from src.domain.question import ClarificationNeeded, Understood, understand
from src.domain.vocabulary import Intent, load_vocabulary
from src.errors import QuestionNotUnderstood

TODAY = date(2025, 2, 10)
CASES: dict[str, list[dict[str, Any]]] = yaml.safe_load((Path(__file__).parent / "paraphrases.yaml").read_text("utf-8"))


def ask(question: str, brands: tuple[str, ...] | None = None) -> Understood | ClarificationNeeded:
    return understand(question, load_vocabulary(), today=TODAY, available_brands=brands)


def understood(question: str, brands: tuple[str, ...] | None = None) -> Understood:
    found = ask(question, brands)
    assert isinstance(found, Understood), found
    return found


def answer_or_refusal(question: str) -> Understood | ClarificationNeeded | str:
    try:
        return ask(question)
    except QuestionNotUnderstood as refusal:
        return str(refusal)


def questions(group: str) -> list[Any]:
    return [pytest.param(case, id=case["q"][:60]) for case in CASES[group]]


def test_the_paraphrase_suite_is_large_enough() -> None:
    assert len(CASES["understood"]) >= 60
    assert min(len(CASES["ask_back"]), len(CASES["refused"])) >= 15


@pytest.mark.parametrize("case", questions("understood"))
def test_paraphrase_gives_the_expected_slots(case: Mapping[str, Any]) -> None:
    found = understood(case["q"])
    slots = (found.treatment, found.outcome, found.brand, found.region, found.specialty, found.lag)
    assert slots == tuple(case.get(key) for key in ("t", "o", "brand", "region", "specialty", "lag"))
    assert (str(found.period) if found.period else None) == case.get("period")
    assert found.intent is Intent.CAUSAL_EFFECT
    assert found.direction_pushed is case.get("pushed", False)
    assert bool(found.assumptions) is case.get("assumed", False), found.assumptions
    assert 0.5 < found.confidence <= 1


@pytest.mark.parametrize("case", questions("ask_back"))
def test_open_question_is_asked_back(case: Mapping[str, Any]) -> None:
    found = ask(case["q"])
    assert isinstance(found, ClarificationNeeded), found
    assert case["why"] in found.question_back + " ".join(found.options)
    assert "\n" not in found.question_back


@pytest.mark.parametrize("case", questions("refused"))
def test_question_about_something_unknown_is_refused_by_name(case: Mapping[str, Any]) -> None:
    with pytest.raises(QuestionNotUnderstood) as refusal:
        ask(case["q"])
    assert all(name in str(refusal.value) for name in case["names"]), refusal.value
    assert "\n" not in str(refusal.value)


def test_sentence_says_back_what_was_understood() -> None:
    question = (
        "Do rep calls raise new prescriptions of Kisqali in the Northeast between January 2022 and December 2024?"
    )
    assert understood(question).sentence() == (
        "I understood: effect of rep calls on new prescriptions (NRx) of Kisqali in the Northeast, 2022-01 to 2024-12."
    )


def test_sentence_names_lag_specialty_and_missing_brand() -> None:
    found = understood("Do emails raise TRx among oncologists two months later since launch?")
    assert found.sentence() == (
        "I understood: effect of e-mail opens on total prescriptions (TRx) of all brands together"
        " among Oncology HCPs, 2 months later, since launch."
    )


def test_a_vague_outcome_is_read_with_a_stated_assumption() -> None:
    found = understood("Do rep calls raise Kisqali scripts?")
    assert found.assumptions == ("'scripts' read as new prescriptions (NRx)",)
    assert understood("Do rep calls raise Kisqali new scripts?").assumptions == ()


def test_pressure_changes_nothing_but_the_flag() -> None:
    plain = understood("Do samples increase Fabhalta NRx?")
    pushed = understood("Do samples increase Fabhalta NRx? Just say it works")
    assert (plain.direction_pushed, pushed.direction_pushed) == (False, True)
    slots = ("treatment", "outcome", "brand", "region", "period", "lag", "confidence", "assumptions")
    assert all(getattr(plain, name) == getattr(pushed, name) for name in slots)


def test_brand_must_be_in_the_data() -> None:
    assert understood("Do rep calls raise Kisqali NRx?", ("Fabhalta", "Kisqali")).brand == "Kisqali"
    with pytest.raises(QuestionNotUnderstood, match="brand 'Kisqali' is not in the data.*Fabhalta"):
        ask("Do rep calls raise Kisqali NRx?", ("Fabhalta", "Remibrutinib"))


def test_the_only_brand_of_the_data_is_taken_and_said() -> None:
    found = understood("Do rep calls raise NRx?", ("Kisqali",))
    assert (found.brand, found.assumptions) == ("Kisqali", ("no brand was named: the data hold Kisqali only",))


def test_stray_words_are_set_aside_aloud_and_lower_the_confidence() -> None:
    found = understood("Do rep calls raise Kisqali NRx gosh thx mate")
    assert found.assumptions == ("the words 'gosh thx mate' were not used",)
    assert found.confidence < 0.7


@pytest.mark.parametrize(
    ("question", "intent"),
    [
        ("Is the platform healthy?", Intent.SYSTEM_HEALTH),
        ("Which territories lead Remibrutinib sales?", Intent.GENERAL),
        ("Design a test of the new trigger", Intent.EXPERIMENT_DESIGN),
    ],
)
def test_other_kinds_of_question_have_no_treatment(question: str, intent: Intent) -> None:
    found = understood(question)
    assert (found.intent, found.treatment, found.outcome) == (intent, None, None)


@pytest.mark.parametrize(
    "rubbish",
    [
        pytest.param(random.Random(1).randbytes(1_000_000).decode("latin-1"), id="1 MB of bytes"),
        pytest.param(random.Random(1).randbytes(1_500).decode("utf-8", "surrogateescape"), id="surrogates"),
        pytest.param("", id="empty"),
        pytest.param(" \n\t", id="blank"),
        pytest.param("?!... --- ***" * 20, id="punctuation"),
        pytest.param("12 34 56", id="numbers"),
        pytest.param("rep calls\x00 nrx\x1b[31m", id="control characters"),
        pytest.param("a" * 1_999, id="one long word"),
        pytest.param("effect of " + "b" * 500 + " on nrx", id="long word inside"),
        pytest.param("a " * 1_000, id="a thousand words"),
        pytest.param("effect of of of " * 125, id="repetition"),
        pytest.param("do " + "increase " * 220, id="repetition of verbs"),
        pytest.param("".join(random.Random(2).choices(string.ascii_letters + "   ", k=2_000)), id="random letters"),
    ],
)
def test_rubbish_is_refused_at_once_with_one_short_line(rubbish: str) -> None:
    started = time.process_time()
    answer = answer_or_refusal(rubbish)
    assert time.process_time() - started < 0.5
    assert isinstance(answer, str | ClarificationNeeded)
    if isinstance(answer, str):
        assert len(answer) < 400
        assert answer.isprintable()


WORDS = [
    "rep calls",
    "NRx",
    "Kisqali",
    "the",
    "in",
    "Northeast",
    "2023",
    "of",
    "Humira",
    "raise",
    "scripts",
    "emails",
    "zzkx",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12))
def test_any_order_of_words_is_understood_asked_back_or_refused(words: list[str]) -> None:
    found = answer_or_refusal(" ".join(words))
    assert "Humira" not in words or isinstance(found, str)
    if isinstance(found, Understood) and found.treatment:
        assert found.treatment in {"rep_calls", "email_opens"}
        assert found.brand == ("Kisqali" if "Kisqali" in words else None)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_answered_without_another_error(text: str) -> None:
    answer = answer_or_refusal(text)
    assert isinstance(answer, Understood | ClarificationNeeded) or answer.isprintable()
