"""How do numbers, periods and names read in the texts written from the tables?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date

from src.domain.vocabulary import Vocabulary

BRAND_NAMES = {None: "all brands", "competitor": "competitor brands", "other": "other brands"}


def number(value: float) -> str:
    """Whole numbers with thousands separated, others to four significant digits."""
    if value == 0:
        return "0"
    if float(value).is_integer() or abs(value) >= 10_000:
        return f"{value:,.0f}"
    decimals = max(3 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")


def share(value: float) -> str:
    """A relative size in per cent, without sign."""
    return f"{abs(value) * 100:.1f} %"


def change(now: float, before: float) -> str:
    """How a value compares with an earlier one; relative where that one is above 0."""
    if now == before:
        return "the same as"
    direction = "above" if now > before else "below"
    if before > 0 and share(now / before - 1) != share(0):
        return f"{share(now / before - 1)} {direction}"
    return f"{number(abs(now - before))} {direction}"


def month(day: date) -> str:
    """Month and year in words."""
    return f"{day:%B} {day.year}"


def brand_words(brand: str | None) -> str:
    """A brand as a text names it."""
    return BRAND_NAMES.get(brand, brand or "")


def region_words(region: str | None) -> str:
    """A region as a text names it."""
    return "nationally" if region is None else f"in the {region}"


def listed(names: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *others, last = list(names) or [""]
    return f"{', '.join(others)} and {last}" if others else last


class Names:
    """Column names in an analyst's words."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._labels = {measure.column: measure.label for measure in vocabulary.measures}

    def of(self, column: str) -> str:
        """The measure's label, else the name with blanks for underscores."""
        return self._labels.get(column, " ".join(column.replace("_", " ").split()))
