"""Which months does a period name, and in which month does a row lie?"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.causal_engine.study import IntArray
from src.errors import ContractViolation, TooFewRows

BoolArray = NDArray[np.bool_]
RECENT_MONTHS = 3
EARLIER_MONTHS = 12
PERIOD_FORMS = "write it as 2024, 2024-Q3, 2024-H1, 2024-05, '2024-01 to 2024-06', 'from 2024-01' or 'last 3 months'"

_PART = re.compile(r"(?P<year>\d{4})(?:-?(?:(?P<month>0[1-9]|1[0-2])(?:-\d{2})?|q(?P<quarter>[1-4])|h(?P<half>[12])))?")
_TURNED = re.compile(r"(?P<part>[qh][1-4])[ -]?(?P<year>\d{4})")
_LAST = re.compile(r"last (?P<count>\d{1,3}) months?")
_RANGE = re.compile(r"\s*(?:\.\.| to |:|/)\s*")


@dataclass(frozen=True, slots=True)
class Months:
    """Whole calendar months from ``first`` to ``last``, both included, as year · 12 + month − 1."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many months."""
        return self.last - self.first + 1

    def holds(self, months: IntArray) -> BoolArray:
        """Which of these months lie inside."""
        return np.asarray((months >= self.first) & (months <= self.last), dtype=np.bool_)

    def __str__(self) -> str:
        ends = dict.fromkeys(f"{month // 12}-{month % 12 + 1:02d}" for month in (self.first, self.last))
        return " to ".join(ends)


def month_numbers(series: pd.Series) -> IntArray:
    """Month of each row, shape (n,). Raises ContractViolation for missing values and what is no date."""
    codes, distinct = pd.factorize(series)
    if (codes < 0).any():
        raise ContractViolation(f"'{series.name}' is missing in some rows; complete or remove them")
    try:
        dates = pd.to_datetime(pd.Series(distinct).astype(str), format="ISO8601", utc=True)
    except ValueError as error:
        raise ContractViolation(
            f"'{series.name}' holds what is no date; write dates as YYYY-MM-DD or YYYY-MM"
        ) from error
    numbers = (dates.dt.year * 12 + dates.dt.month - 1).to_numpy(dtype=np.int64)
    return np.asarray(numbers[codes], dtype=np.int64)


def observed(months: IntArray) -> Months:
    """The months from the first to the last row."""
    return Months(int(months.min()), int(months.max()))


def period_named(text: str, there: Months) -> Months:
    """The months that ``text`` names; open ends and "last n months" refer to the months that are ``there``.

    Raises ContractViolation for another form, and for a period that ends before it begins.
    """
    words = text.strip().lower()
    if (last := _LAST.fullmatch(words)) is not None:
        return Months(there.last - max(1, int(last["count"])) + 1, there.last)
    for word, whole in (("from ", False), ("since ", False), ("until ", True)):
        if words.startswith(word):
            point = _point(words.removeprefix(word), text)
            return Months(there.first, point.last) if whole else Months(point.first, there.last)
    ends = [_point(part, text) for part in _RANGE.split(words)]
    if len(ends) > 2:
        raise ContractViolation(f"'{text[:40]}' is no period; {PERIOD_FORMS}")
    if ends[0].first > ends[-1].last:
        raise ContractViolation(f"the period '{text[:40]}' ends before it begins")
    return Months(ends[0].first, ends[-1].last)


def recent_months(there: Months) -> Months:
    """The last three months; of less than half a year, its second half. Raises TooFewRows for a single month."""
    if there.count < 2:
        raise TooFewRows(f"two periods cannot be compared: all rows lie in {there}; widen the period")
    return Months(there.last - min(RECENT_MONTHS, there.count // 2) + 1, there.last)


def earlier_than(period: Months, there: Months) -> Months:
    """Up to twelve months before a period. Raises TooFewRows where the rows begin with it."""
    if period.first <= there.first:
        raise TooFewRows(f"there are no rows before {period.first // 12}-{period.first % 12 + 1:02d} to compare with")
    return Months(max(there.first, period.first - EARLIER_MONTHS), period.first - 1)


def _point(text: str, whole: str) -> Months:
    """The months of a year, half, quarter, month or day."""
    if (turned := _TURNED.fullmatch(text)) is not None:
        text = f"{turned['year']}-{turned['part']}"
    match = _PART.fullmatch(text)
    if match is None:
        raise ContractViolation(f"'{whole[:40]}' is no period; {PERIOD_FORMS}")
    january = int(match["year"]) * 12
    for group, size in (("month", 1), ("quarter", 3), ("half", 6)):
        if match[group]:
            first = january + (int(match[group]) - 1) * size
            return Months(first, first + size - 1)
    return Months(january, january + 11)
