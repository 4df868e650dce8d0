"""Which brands, regions and measures does a question name?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from src.domain.matching import Match, find_names
from src.domain.reading import Reading
from src.domain.vocabulary import BrandedTerm, Kind, Vocabulary
from src.errors import QuestionNotUnderstood

# Names as they were meant: a typing error repaired counts, a vague word ("digital") as well.
_OF_BRANDS = (Kind.DRUG, Kind.INDICATION)


@dataclass(frozen=True, slots=True)
class Entities:
    """What the vocabulary recognised. ``nodes`` are columns of measures, the nodes of causal paths; ``names`` are
    the canonical names of everything with the words of the question they were read from."""

    brands: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    names: tuple[tuple[str, str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.brands or self.regions or self.nodes)

    def document(self) -> dict[str, Any]:
        """As JSON: lists by what they are, and how each was read."""
        return {
            "brands": [*self.brands],
            "regions": [*self.regions],
            "measures": [*self.nodes],
            "read": [{"kind": kind, "name": name, "words": text} for kind, name, text in self.names],
        }


def recognise(query: str, vocabulary: Vocabulary) -> Entities:
    """The names in a question, in the order in which they stand there; none in what cannot be read as one."""
    try:
        reading = Reading(query)
    except QuestionNotUnderstood:
        return Entities()
    matches = find_names(reading, vocabulary)
    return Entities(
        brands=_unique(name for match in matches for name in _brands(match, vocabulary)),
        regions=_unique(match.canonical for match in matches if match.kind is Kind.REGION),
        nodes=_unique(node for match in matches for node in _nodes(match, vocabulary)),
        names=tuple((str(match.kind), match.canonical, match.text) for match in matches),
    )


def _brands(match: Match, vocabulary: Vocabulary) -> list[str]:
    if match.kind is Kind.BRAND:
        return [match.canonical]
    if match.kind not in _OF_BRANDS:
        return []
    terms = vocabulary.terms(match.kind)
    return [term.brand for term in terms if isinstance(term, BrandedTerm) and term.canonical == match.canonical]


def _nodes(match: Match, vocabulary: Vocabulary) -> list[str]:
    """Columns of the measures a phrase may stand for; a KPI is the measure it is computed from, else itself."""
    meant = match.alternatives or (match.canonical,)
    if match.kind is Kind.MEASURE:
        return [measure.column for measure in vocabulary.measures if measure.canonical in meant]
    if match.kind is Kind.KPI:
        columns = [measure.column for measure in vocabulary.measures if measure.kpi in meant]
        return columns or [*meant]
    return []


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
