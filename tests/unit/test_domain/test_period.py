"""Are months, quarters, years and delays read as the calendar has them?"""

from __future__ import annotations

from datetime import date

import pytest

from src.domain.period import MissingYear, Period, take_lag, take_periods
from src.domain.reading import Reading
from src.errors import QuestionNotUnderstood

TODAY = date(2025, 2, 10)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("in 2023", date(2023, 1, 1), date(2023, 12, 31)),
        ("in February 2024", date(2024, 2, 1), date(2024, 2, 29)),
        ("Feb 2023", date(2023, 2, 1), date(2023, 2, 28)),
        ("in May 2023", date(2023, 5, 1), date(2023, 5, 31)),
        ("Q3 2024", date(2024, 7, 1), date(2024, 9, 30)),
        ("2024 Q1", date(2024, 1, 1), date(2024, 3, 31)),
        ("in the third quarter of 2024", date(2024, 7, 1), date(2024, 9, 30)),
        ("second half of 2023", date(2023, 7, 1), date(2023, 12, 31)),
        ("H1 2023", date(2023, 1, 1), date(2023, 6, 30)),
        ("2023-04", date(2023, 4, 1), date(2023, 4, 30)),
        ("04/2023", date(2023, 4, 1), date(2023, 4, 30)),
        ("from 2022-01 to 2024-12", date(2022, 1, 1), date(2024, 12, 31)),
        ("between January and June 2023", date(2023, 1, 1), date(2023, 6, 30)),
        ("from November 2022 until February 2023", date(2022, 11, 1), date(2023, 2, 28)),
        ("Q2 to Q3 2023", date(2023, 4, 1), date(2023, 9, 30)),
        ("from 2022 to 2023", date(2022, 1, 1), date(2023, 12, 31)),
        ("2022-2023", date(2022, 1, 1), date(2023, 12, 31)),
        ("since March 2023", date(2023, 3, 1), None),
        ("after March 2023", date(2023, 4, 1), None),
        ("after 2023", date(2024, 1, 1), None),
        ("before March 2023", None, date(2023, 2, 28)),
        ("until March 2023", None, date(2023, 3, 31)),
        ("last year", date(2024, 1, 1), date(2024, 12, 31)),
        ("last quarter", date(2024, 10, 1), date(2024, 12, 31)),
        ("in the last month", date(2025, 1, 1), date(2025, 1, 31)),
        ("over the past 6 months", date(2024, 8, 1), date(2025, 1, 31)),
        ("the last two years", date(2023, 2, 1), date(2025, 1, 31)),
        ("this quarter", date(2025, 1, 1), date(2025, 3, 31)),
        ("year to date", date(2025, 1, 1), date(2025, 2, 28)),
    ],
)
def test_period_of_a_phrase(text: str, start: date | None, end: date | None) -> None:
    assert take_periods(Reading(f"calls on NRx {text}"), TODAY) == [Period(start, end)]


@pytest.mark.parametrize("text", ["calls may raise NRx", "calls on NRx", "10 more calls", "in 1887 units"])
def test_no_period_is_seen_where_there_is_none(text: str) -> None:
    assert take_periods(Reading(text), TODAY) == []


@pytest.mark.parametrize(("text", "part"), [("in March", "march"), ("during Q3", "q3"), ("since May", "may")])
def test_month_without_year_is_noticed(text: str, part: str) -> None:
    assert take_periods(Reading(f"calls on NRx {text}"), TODAY) == [MissingYear(part)]


def test_last_quarter_of_a_january_lies_in_the_year_before() -> None:
    assert take_periods(Reading("NRx last quarter"), date(2025, 1, 1)) == [
        Period(date(2024, 10, 1), date(2024, 12, 31))
    ]


def test_period_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(QuestionNotUnderstood, match="ends before it starts"):
        take_periods(Reading("NRx from 2024 to 2022"), TODAY)


@pytest.mark.parametrize(
    ("text", "months"),
    [
        ("two months later", 2),
        ("with a lag of 3 months", 3),
        ("a 2-month lag", 2),
        ("after one quarter", 3),
        ("in the same month", 0),
        ("the following month", 1),
        ("in 2023", None),
        ("after March 2023", None),
    ],
)
def test_delay_of_a_phrase(text: str, months: int | None) -> None:
    assert take_lag(Reading(f"effect of calls on NRx {text}")) == months
