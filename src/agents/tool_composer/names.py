"""Which measures, names, groupings and months does a part of a question speak of?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from src.domain.matching import find_names
from src.domain.period import MissingYear, Period, take_lag, take_periods
from src.domain.reading import Reading
from src.domain.unknown import refuse_foreign_names
from src.domain.vocabulary import Kind, Role, Vocabulary
from src.errors import QuestionNotUnderstood

SEGMENTS = ("specialty", "region")
SCOPED = ((Kind.BRAND, "brand"), (Kind.REGION, "region"), (Kind.SPECIALTY, "specialty"))
# Words that ask for a table by something, and the columns they mean; "of the region" asks for none.
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"specialt(?:y|ies)|kinds? of (?:doctor|physician|hcp)s?", ("specialty",)),
    (r"regions?|geograph(?:y|ies)|where", ("region",)),
    (r"territor(?:y|ies)", ("territory_id",)),
    (r"states?", ("state",)),
    (r"(?:hcp |volume )?deciles?", ("decile",)),
    (r"practice(?: types?)?", ("practice_type",)),
    (r"brands?", ("brand",)),
    (r"segments?|groups?|types?|subgroups?", SEGMENTS),
)
_LEAD = (
    r"(?:by|per|across|between|among|each|every|which|what|both|all|other|worst|best|compare(?: the)?|rank(?: the)?)"
)
_GROUPINGS = tuple(
    (re.compile(r"\bwhere\b" if words == "where" else rf"\b{_LEAD}(?: \w{{1,20}})?? (?:{words})\b"), columns)
    for group, columns in _GROUPS
    for words in (["where"] if "where" in group else []) + [group.replace("|where", "")]
)
_LISTED = re.compile(r"\b(?:and|or|by) (?:{})\b".format("|".join(words.replace("|where", "") for words, _ in _GROUPS)))


@dataclass(frozen=True, slots=True)
class Names:
    """What is named, in the order it stands there. Measures are panel columns; ``bare`` are the words without months.

    ``ambiguous`` are words that can mean several measures. ``periods`` are the different ones named.
    """

    treatments: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    kpis: tuple[str, ...] = ()
    kept: tuple[tuple[str, tuple[str, ...]], ...] = ()
    groupings: tuple[str, ...] = ()
    periods: tuple[Period, ...] = ()
    lag: int | None = None
    ambiguous: tuple[str, ...] = ()
    bare: str = ""

    def values(self, column: str) -> tuple[str, ...]:
        """Names of one column."""
        return dict(self.kept).get(column, ())


def read_names(text: str, vocabulary: Vocabulary, today: date) -> Names:
    """Everything that ``text`` names.

    Raises QuestionNotUnderstood for a name that the data do not have, a month or quarter without its year, and
    words that leave something out: they are never read as their opposite.
    """
    reading = Reading(text)
    _refuse_exclusion(reading, vocabulary)
    lag = take_lag(reading)
    periods = take_periods(reading, today)
    for period in periods:
        if isinstance(period, MissingYear):
            raise QuestionNotUnderstood(f"which year is '{period.text}'? Name it with its year")
    bare = " ".join(reading.norm(i) for i in reading.free())
    groupings = _groupings(reading)
    matches = find_names(reading, vocabulary)
    refuse_foreign_names(reading, vocabulary)
    measures = [one for one in matches if one.kind is Kind.MEASURE]
    by_role: dict[Role, dict[str, None]] = {role: {} for role in Role}
    for one in measures:
        if not one.alternatives:
            measure = vocabulary.measure(one.canonical)
            by_role[measure.role][measure.column] = None
    kept = {column: dict.fromkeys(one.canonical for one in matches if one.kind is kind) for kind, column in SCOPED}
    kept["brand"] |= dict.fromkeys(
        term.brand
        for kind, terms in ((Kind.DRUG, vocabulary.drugs), (Kind.INDICATION, vocabulary.indications))
        for term in terms
        if any(one.kind is kind and one.canonical == term.canonical for one in matches)
    )
    return Names(
        treatments=tuple(by_role[Role.TREATMENT]),
        outcomes=tuple(by_role[Role.OUTCOME]),
        either=tuple(by_role[Role.BOTH]),
        kpis=tuple(dict.fromkeys(one.canonical for one in matches if one.kind is Kind.KPI)),
        kept=tuple((column, tuple(values)) for column, values in kept.items() if values),
        groupings=groupings,
        periods=tuple(one for one in periods if isinstance(one, Period)),
        lag=lag,
        ambiguous=tuple(one.text for one in measures if one.alternatives),
        bare=bare,
    )


def _refuse_exclusion(reading: Reading, vocabulary: Vocabulary) -> None:
    for pattern in vocabulary.exclusions:
        hit = reading.search(re.compile(rf"\b(?:{pattern})\b"), reading.free())
        if hit:
            words = reading.take(hit[1]).text
            raise QuestionNotUnderstood(f"'{words}' leaves something out; say what should be included instead")


def _groupings(reading: Reading) -> tuple[str, ...]:
    """Columns asked for as groups; their words are taken, as some are no names otherwise."""
    found: dict[str, None] = {}
    for pattern, columns in _GROUPINGS:
        while hit := reading.search(pattern, reading.free()):
            reading.take(hit[1])
            found |= dict.fromkeys(columns)
    while found and (hit := reading.search(_LISTED, reading.free())):
        words = reading.take(hit[1]).text.lower().partition(" ")[2]
        found |= dict.fromkeys(next(columns for group, columns in _GROUPS if re.fullmatch(group, words)))
    return tuple(found)
