"""Which months the words of a period name."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from src.agents.tool_composer.tools.periods import Months, earlier_than, month_numbers, period_named, recent_months
from src.domain.period import Period
from src.errors import ContractViolation, TooFewRows

THERE = Months(2022 * 12, 2024 * 12 + 11)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2024", "2024-01 to 2024-12"),
        ("2024-05", "2024-05"),
        ("2024-05-01", "2024-05"),
        ("2024-Q3", "2024-07 to 2024-09"),
        ("Q3 2024", "2024-07 to 2024-09"),
        ("2023-h2", "2023-07 to 2023-12"),
        ("2024-01 to 2024-06", "2024-01 to 2024-06"),
        ("2023-Q4..2024-Q1", "2023-10 to 2024-03"),
        ("from 2024-07", "2024-07 to 2024-12"),
        ("until 2022-03", "2022-01 to 2022-03"),
        ("last 3 months", "2024-10 to 2024-12"),
    ],
)
def test_a_period_is_read(text: str, said: str) -> None:
    assert str(period_named(text, THERE)) == said


@pytest.mark.parametrize(
    "period",
    [
        Period(date(2024, 1, 1), date(2024, 6, 30)),
        Period(date(2024, 1, 1), None),
        Period(None, date(2024, 6, 30)),
    ],
)
def test_the_words_of_an_understood_period_are_read_back(period: Period) -> None:
    found = period_named(str(period), THERE)
    assert found.first == (THERE.first if period.start is None else period.start.year * 12 + period.start.month - 1)
    assert found.last == (THERE.last if period.end is None else period.end.year * 12 + period.end.month - 1)


@pytest.mark.parametrize("text", ["", "soon", "2024-13", "2024-Q5", "2024 to 2023", "2022 to 2023 to 2024", "3"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ContractViolation):
        period_named(text, THERE)


@pytest.mark.parametrize(
    "values",
    [
        ["2024-01-15", "2023-12-01"],
        [date(2024, 1, 15), date(2023, 12, 1)],
        list(pd.to_datetime(["2024-01-15T10:00:00Z", "2023-12-01T00:00:00Z"])),
        ["2024-01", "2023-12"],
    ],
)
def test_months_are_read_from_dates_of_every_kind(values: list[object]) -> None:
    assert month_numbers(pd.Series(values, name="month")).tolist() == [2024 * 12, 2023 * 12 + 11]


@pytest.mark.parametrize("values", [["2024-01-01", None], ["yesterday"]])
def test_a_missing_or_unreadable_date_is_refused(values: list[object]) -> None:
    with pytest.raises(ContractViolation, match="'month'"):
        month_numbers(pd.Series(values, name="month"))


@pytest.mark.parametrize(("count", "recent", "earlier"), [(36, 3, 12), (12, 3, 9), (4, 2, 2), (2, 1, 1)])
def test_the_usual_periods_never_overlap(count: int, recent: int, earlier: int) -> None:
    there = Months(THERE.first, THERE.first + count - 1)
    now = recent_months(there)
    before = earlier_than(now, there)
    assert (now.count, before.count) == (recent, earlier)
    assert before.last + 1 == now.first
    assert not np.any(now.holds(np.arange(before.first, before.last + 1)))


def test_one_month_cannot_be_compared() -> None:
    with pytest.raises(TooFewRows, match="widen the period"):
        recent_months(Months(THERE.first, THERE.first))
