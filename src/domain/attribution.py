"""Is a number told of the measure that it was computed for?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from src.domain.figures import StatedNumber, is_rounding, stated_numbers
from src.domain.findings import Figure
from src.domain.matching import find_names
from src.domain.reading import Reading
from src.domain.vocabulary import Kind, load_vocabulary
from src.errors import QuestionNotUnderstood

_CLAUSES = re.compile(r"(?<=[.!?;])\s+|,?\s+\b(?:and|while|whereas|but)\b\s+", re.IGNORECASE)


def misattributed(text: str, figures: Sequence[Figure], said: Sequence[str]) -> tuple[str, ...]:
    """Numbers of a text that are figures of one measure and are told of another, as "0.3 is of NRx, not of TRx".

    Only where both the clause and all figures of that number name measures, none of them the same, and where no
    sentence of ``said`` has the number with a measure of the clause.
    """
    problems = []
    for clause in _CLAUSES.split(text):
        if not (told := measures_in(clause)):
            continue
        for number in stated_numbers(clause):
            stating = [one for one in figures if _states(number, one)]
            own = [measures_in(f"{one.name} {one.unit}") for one in stating]
            if not own or any(not one or one & told for one in own) or _said(number, told, said):
                continue
            problems.append(
                f"{number.text} is of {', '.join(sorted(set().union(*own)))}, not of {', '.join(sorted(told))}"
            )
    return tuple(dict.fromkeys(problems))


@lru_cache(maxsize=2048)
def measures_in(text: str) -> frozenset[str]:
    """Names of the measures and KPIs that a text speaks of; none in one that has no words."""
    try:
        found = find_names(Reading(text), load_vocabulary())
    except QuestionNotUnderstood:
        return frozenset()
    return frozenset(
        name for one in found if one.kind in (Kind.MEASURE, Kind.KPI) for name in (one.alternatives or (one.canonical,))
    )


def _states(number: StatedNumber, figure: Figure) -> bool:
    scale = 100.0 if number.percent and figure.unit != "%" else 1.0
    values = (figure.value, figure.lower, figure.upper)
    return any(is_rounding(number, sign * scale * one) for one in values if one is not None for sign in (1.0, -1.0))


def _said(number: StatedNumber, told: frozenset[str], said: Sequence[str]) -> bool:
    return any(
        told & measures_in(clause)
        for text in said
        for clause in re.split(r"(?<=[.!?;])\s+", text)
        if any(is_rounding(number, one.value) or is_rounding(one, number.value) for one in stated_numbers(clause))
    )
