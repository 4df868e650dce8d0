"""A question may ask for several effects at once, look ahead, or be settled where it stays open."""

from __future__ import annotations

from datetime import date

import pytest

from src.domain.period import MissingYear, Period, months_ahead, take_periods
from src.domain.question import ClarificationNeeded, Understood, understand, understand_each
from src.domain.reading import Reading
from src.domain.vocabulary import Intent, load_vocabulary
from src.errors import QuestionNotUnderstood

TODAY = date(2026, 1, 15)
TREATMENTS = ["rep_calls", "email_opens", "samples", "speaker_programs", "trigger_delivered"]


def each(question: str, **options: object) -> tuple[Understood, ...]:
    found = understand_each(question, load_vocabulary(), today=TODAY, **options)  # type: ignore[arg-type]
    assert not isinstance(found, ClarificationNeeded), found
    return found


def asked(question: str, **options: object) -> ClarificationNeeded:
    found = understand_each(question, load_vocabulary(), today=TODAY, **options)  # type: ignore[arg-type]
    assert isinstance(found, ClarificationNeeded), found
    return found


@pytest.mark.parametrize(
    ("question", "slot", "values"),
    [
        ("Do rep calls and samples raise NRx of Kisqali?", "treatment", ["rep_calls", "samples"]),
        ("Do rep calls raise NRx and TRx of Kisqali?", "outcome", ["nrx", "trx"]),
        ("Do rep calls raise NRx of Kisqali and Fabhalta?", "brand", ["Kisqali", "Fabhalta"]),
        ("Do rep calls raise Kisqali NRx in the South and the West?", "region", ["south", "west"]),
        ("Do rep calls raise Kisqali NRx in 2022 or in 2024?", "period", ["2022-01 to 2022-12", "2024-01 to 2024-12"]),
        ("What drives NRx of Kisqali?", "treatment", TREATMENTS),
        ("Why did Kisqali TRx fall in the Midwest?", "treatment", TREATMENTS),
    ],
)
def test_each_combination_is_one_reading(question: str, slot: str, values: list[str]) -> None:
    assert [str(getattr(one, slot)) for one in each(question)] == values


def test_more_effects_than_allowed_are_asked_back_with_what_to_choose() -> None:
    found = asked("Do rep calls and samples raise NRx and TRx of Kisqali and Fabhalta?")
    assert (found.missing, found.options) == ("fewer", ("rep calls", "samples"))


@pytest.mark.parametrize(
    ("question", "missing", "phrase"),
    [
        ("What is the effect of rep calls?", "outcome", ""),
        ("What is the effect on NRx?", "treatment", ""),
        ("Does promotion raise Kisqali NRx?", "measure", "promotion"),
        ("Effect of rep calls on Kisqali NRx in Q3", "period", "q3"),
        ("Effect of NRx on rep calls for Kisqali", "direction", ""),
        ("Effect of rep calls on Kisqali NRx excluding the Northeast", "exclusion", "excluding"),
        ("Effect of rep calls on Kisqali market share", "outcome", "market share"),
    ],
)
def test_what_is_missing_is_named(question: str, missing: str, phrase: str) -> None:
    found = asked(question, intent=Intent.CAUSAL_EFFECT)
    assert (found.missing, found.phrase) == (missing, phrase)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("What is the effect of rep calls on Kisqali?", "no outcome was named: new prescriptions (NRx) taken"),
        ("What is the effect on NRx of Kisqali?", "each of the 5 that the data hold"),
        ("Does promotion raise Kisqali NRx?", "'promotion' read as rep calls"),
        ("Effect of rep calls on Kisqali NRx in Q3", "'Q3' read as 2025-07 to 2025-09"),
        ("Effect of NRx on rep calls for Kisqali", "only the effect of rep calls on new prescriptions"),
    ],
)
def test_what_is_settled_is_said(question: str, said: str) -> None:
    assert any(said in one for one in each(question, intent=Intent.CAUSAL_EFFECT, settle=True)[0].assumptions)


def test_what_is_left_out_is_never_settled() -> None:
    question = "Effect of rep calls on Kisqali NRx excluding the Northeast"
    assert asked(question, intent=Intent.CAUSAL_EFFECT, settle=True).missing == "exclusion"


def test_an_unknown_name_is_refused_also_when_the_rest_is_settled() -> None:
    with pytest.raises(QuestionNotUnderstood, match="Humira"):
        each("Effect of rep calls on Humira", intent=Intent.CAUSAL_EFFECT, settle=True)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Forecast NRx of Kisqali for the next two quarters in the West", ("Kisqali", "west", ("nrx",), 6)),
        ("Where should ten extra reps go?", (None, None, ("rep_calls",), None)),
        ("Compare gaps in the South and the West for Fabhalta", ("Fabhalta", None, (), None)),
        ("What sample size does a pilot of speaker programs need?", (None, None, ("speaker_programs",), None)),
    ],
)
def test_other_kinds_of_question_keep_their_names(question: str, expected: tuple[object, ...]) -> None:
    found = understand(question, load_vocabulary(), today=TODAY)
    assert isinstance(found, Understood)
    assert (found.brand, found.region, found.measures, found.horizon) == expected
    assert (found.treatment, found.outcome) == (None, None)


@pytest.mark.parametrize(
    ("question", "refused"),
    [
        ("Forecast NRx of Humira for next quarter", True),
        ("Predict which share of decile 8 doctors will convert", False),
        ("Which territories lead Humira sales?", True),
    ],
)
def test_foreign_names_are_refused_where_the_data_would_have_to_hold_them(question: str, refused: bool) -> None:
    try:
        understand(question, load_vocabulary(), today=TODAY)
    except QuestionNotUnderstood:
        assert refused
    else:
        assert not refused


def test_documents_may_speak_of_what_the_data_do_not_hold() -> None:
    (found,) = each("What do the documents say about Xolair in Canada?", intent=Intent.GENERAL)
    assert (found.brand, found.region) == (None, None)


@pytest.mark.parametrize(
    ("text", "months"),
    [("next quarter", 3), ("the coming six months", 6), ("next 2 years", 24), ("last quarter", None), ("now", None)],
)
def test_how_far_a_question_looks_ahead(text: str, months: int | None) -> None:
    assert months_ahead(Reading(text)) == months


def test_a_horizon_of_more_than_ten_years_is_refused() -> None:
    with pytest.raises(QuestionNotUnderstood, match="ahead"):
        months_ahead(Reading("next 50 years"))


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("in 2025", "year", "2024-01 to 2024-12"),
        ("in Q3 2025", "quarter", "2025-04 to 2025-06"),
        ("in Q1 2025", "year", "2024-01 to 2024-03"),
        ("from 2025-01 to 2025-04", "period", "2024-09 to 2024-12"),
    ],
)
def test_the_stretch_before_a_period(text: str, unit: str, expected: str) -> None:
    (period,) = take_periods(Reading(text), TODAY)
    assert isinstance(period, Period)
    assert str(period.earlier(unit)) == expected
    assert Period(None, None, True).earlier("year") is None


def test_the_year_before_is_a_second_period() -> None:
    found = take_periods(Reading("last year compared with the year before"), TODAY)
    assert [str(one) for one in found] == ["2025-01 to 2025-12", "2024-01 to 2024-12"]


@pytest.mark.parametrize(
    ("text", "expected"), [("q1", "2026-01 to 2026-03"), ("q2", "2025-04 to 2025-06"), ("march", "2025-03 to 2025-03")]
)
def test_a_part_of_a_year_without_the_year_is_the_last_that_has_begun(text: str, expected: str) -> None:
    assert str(MissingYear(text).latest(TODAY)) == expected
