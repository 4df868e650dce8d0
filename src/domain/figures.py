"""Which numbers does a text state, and is each of them known?"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StatedNumber:
    """A number of a text: as written, its value, and how far its writing leaves it open (half of its last digit)."""

    text: str
    value: float
    tolerance: float
    position: int


def stated_numbers(text: str) -> tuple[StatedNumber, ...]:
    """The numbers of a text in digits and in words, percentages as written; not those inside names, ids and dates."""
    raise NotImplementedError


def unfounded_numbers(text: str, known: Collection[float], texts: Iterable[str] = ()) -> tuple[str, ...]:
    """The numbers of ``text``, as written, that are neither a rounding of a ``known`` value nor stated in ``texts``.

    A share may be written as a percentage of the same value.
    """
    raise NotImplementedError
