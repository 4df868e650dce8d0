"""Is a number told of the measure that it was computed for?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from src.domain.figures import StatedNumber, is_rounding, stated_numbers
from src.domain.findings import Figure
from src.domain.matching import find_names
from src.domain.reading import Reading
from src.domain.vocabulary import Kind, Role, load_vocabulary
from src.errors import QuestionNotUnderstood

_CLAUSES = re.compile(r"(?<=[.!?;])\s+|,?\s+\b(?:and|while|whereas|but)\b\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Measures:
    """What a text speaks of: ``moved`` are outcomes and KPIs, ``acting`` what acts on them."""

    moved: frozenset[str] = frozenset()
    acting: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.moved or self.acting)

    def agrees(self, other: Measures) -> bool:
        """Whether both speak of one outcome; where one of them names none, of one measure."""
        if self.moved and other.moved:
            return bool(self.moved & other.moved)
        return bool((self.moved | self.acting) & (other.moved | other.acting))

    def __str__(self) -> str:
        return ", ".join(sorted(self.moved or self.acting))


def misattributed(text: str, figures: Sequence[Figure], said: Sequence[str]) -> tuple[str, ...]:
    """Numbers of a text that are figures of one measure and are told of another: "0.3 is of NRx, not of TRx".

    Only where both the clause and all figures of that number name measures that do not agree, and where no sentence
    of ``said`` has the number with a measure of the clause.
    """
    problems = []
    for clause in _CLAUSES.split(text):
        if not (told := measures_in(clause)):
            continue
        for number in stated_numbers(clause):
            own = [measures_in(f"{one.name} {one.unit}") for one in figures if _states(number, one)]
            if own and all(one and not one.agrees(told) for one in own) and not _said(number, told, said):
                problems.append(f"{number.text} is of {own[0]}, not of {told}")
    return tuple(dict.fromkeys(problems))


@lru_cache(maxsize=2048)
def measures_in(text: str) -> Measures:
    """The measures and KPIs that a text names; none in one that cannot be read."""
    vocabulary = load_vocabulary()
    try:
        found = find_names(Reading(text), vocabulary)
    except QuestionNotUnderstood:
        return Measures()
    moved: set[str] = set()
    acting: set[str] = set()
    for one in found:
        for name in one.alternatives or (one.canonical,):
            if one.kind is Kind.KPI:
                moved.add(name)
            elif one.kind is Kind.MEASURE:
                (moved if vocabulary.measure(name).role is Role.OUTCOME else acting).add(name)
    return Measures(frozenset(moved), frozenset(acting))


def _states(number: StatedNumber, figure: Figure) -> bool:
    scale = 100.0 if number.percent and figure.unit != "%" else 1.0
    values = (figure.value, figure.lower, figure.upper)
    return any(is_rounding(number, sign * scale * one) for one in values if one is not None for sign in (1.0, -1.0))


def _said(number: StatedNumber, told: Measures, said: Sequence[str]) -> bool:
    return any(
        told.agrees(measures_in(clause))
        for text in said
        for clause in re.split(r"(?<=[.!?;])\s+", text)
        if any(is_rounding(number, one.value) or is_rounding(one, number.value) for one in stated_numbers(clause))
    )
