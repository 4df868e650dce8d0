"""Which brand and region is a document about, and who says so?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from src.contracts.enums import Brand, Region
from src.domain.reading import normalise
from src.domain.vocabulary import Kind, Vocabulary
from src.errors import ContractViolation, nearest_names

_NONE = ("none", "all")


@dataclass(frozen=True, slots=True)
class Labels:
    """What a document is about; None is none or all. ``notes`` say what was read from the title."""

    brand: str | None
    region: str | None
    notes: tuple[str, ...] = ()


def brand_named(name: str) -> str:
    """The brand of that name, case ignored. Raises ContractViolation with the nearest names."""
    return _member(name, Brand, "brand")


def region_named(name: str) -> str:
    """The region of that name, case ignored. Raises ContractViolation with the nearest names."""
    return _member(name, Region, "region")


class Labeller:
    """Labels documents by what is given, else by the only brand or region that the title names."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        branded = [(term, term.canonical) for term in vocabulary.brands]
        branded += [(term, term.brand) for term in (*vocabulary.drugs, *vocabulary.indications)]
        named = [(normalise(phrase), Kind.BRAND, brand) for term, brand in branded for phrase in term.phrases]
        named += [
            (normalise(phrase), Kind.REGION, term.canonical) for term in vocabulary.regions for phrase in term.phrases
        ]
        self._names = sorted(named, key=lambda name: len(name[0]), reverse=True)

    def label(self, title: str, brand: str | None, region: str | None) -> Labels:
        """``brand`` and ``region`` as given ("none" and "all" mean none) or, where None, as the title says.

        A title's name counts as it is written in the vocabulary, typing errors excluded. Raises
        ContractViolation for a brand or region that does not exist.
        """
        found = self._named_in(title)
        notes: list[str] = []

        def chosen(given: str | None, kind: Kind, members: type[StrEnum]) -> str | None:
            if given is not None:
                return None if given.strip().lower() in _NONE else _member(given, members, str(kind))
            if len(found[kind]) != 1:
                return None
            (only,) = found[kind]
            notes.append(f"{kind} {only} is taken from the title '{title[:80]}'")
            return only

        return Labels(chosen(brand, Kind.BRAND, Brand), chosen(region, Kind.REGION, Region), tuple(notes))

    def _named_in(self, title: str) -> dict[Kind, set[str]]:
        """Longest names first, each word once: "middle west" is not also the west."""
        text = f" {normalise(title)} "
        found: dict[Kind, set[str]] = {Kind.BRAND: set(), Kind.REGION: set()}
        for phrase, kind, canonical in self._names:
            if f" {phrase} " in text:
                text = text.replace(f" {phrase} ", " | ")
                found[kind].add(canonical)
        return found


def _member(name: str, members: type[StrEnum], kind: str) -> str:
    wanted = name.strip().lower()
    for member in members:
        if member.lower() == wanted:
            return member.value
    raise ContractViolation(f"there is no {kind} '{name.strip()[:60]}'; {nearest_names(name.strip()[:60], members)}")
