"""Of how many questions does a question consist, and what does each part ask for?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from src.agents.orchestrator.reading import SURE, Features, read
from src.domain.question import matches_any
from src.domain.reading import normalise
from src.domain.vocabulary import Intent, Kind, Vocabulary
from src.errors import QuestionNotUnderstood

_JOINT = re.compile(
    r"[.?!;:\n]+(?:\s+|$)|,\s+(?:(?:and then|and also|and|then|also|plus)\s+)?"
    r"|\s+(?:and then|and also|and|then|also|plus|as well as)\s+",
    re.IGNORECASE,
)
_GROUPS = (Kind.REGION, Kind.SPECIALTY)


@dataclass(frozen=True, slots=True)
class Facet:
    """One thing a question asks for, in its own words; ``confidence`` in 0–1."""

    text: str
    intent: Intent
    confidence: float
    features: Features

    @property
    def sure(self) -> bool:
        """Whether the kind of answer it wants is settled."""
        return self.confidence >= SURE


@dataclass(frozen=True, slots=True)
class _Clause:
    start: int
    stop: int
    features: Features | None


def facets_of(question: str, vocabulary: Vocabulary, today: date) -> tuple[Facet, ...]:
    """The parts of ``question`` that ask for an answer of their own, in order; the whole where it does not fall apart.

    A clause that settles no kind of question belongs to the one before it. A wish for whom or how an answer is
    written is no part of its own beside another. Raises QuestionNotUnderstood.
    """
    spans = list(_spans(list(_clauses(question, vocabulary, today))))
    whole = _facet(question, vocabulary, today)
    if len(spans) < 2:
        return (whole,)
    found = [_facet(question[start:stop], vocabulary, today) for start, stop in spans]
    asked = [facet for at, facet in enumerate(found) if not (at and facet.intent is Intent.EXPLANATION)]
    return tuple(asked) if len(asked) > 1 else (replace(asked[0], text=_tidied(asked[0].text)),)


def audience_of(question: str, vocabulary: Vocabulary) -> str | None:
    """For whom the answer is to be written, where the question says so."""
    text = normalise(question)
    for reader, names in vocabulary.audiences.items():
        if matches_any([rf"(?:for|to)(?: \w{{1,20}}){{0,3}} (?:{'|'.join(names)})"], text):
            return reader
    return None


def _clauses(question: str, vocabulary: Vocabulary, today: date) -> Iterator[_Clause]:
    start = 0
    for joint in (*_JOINT.finditer(question), None):
        stop = joint.start() if joint else len(question)
        if stop > start:
            yield _Clause(start, stop, _read_clause(question[start:stop], vocabulary, today))
        start = joint.end() if joint else stop


def _read_clause(text: str, vocabulary: Vocabulary, today: date) -> Features | None:
    """None for what makes no sense when it is cut out of its sentence; the whole is read again."""
    try:
        return read(text, vocabulary, today)
    except QuestionNotUnderstood:
        return None


def _spans(clauses: list[_Clause]) -> Iterator[tuple[int, int]]:
    """Where each part lies: a clause opens a new one where it settles another kind than the part so far."""
    start, stop, settled = 0, 0, list[Features]()
    for clause in clauses:
        features = clause.features
        if features is not None and _settles(features):
            if settled and _is_another(settled, features):
                yield start, stop
                start, settled = clause.start, []
            settled.append(features)
        stop = clause.stop
    if clauses:
        yield start, stop


def _settles(features: Features) -> bool:
    """Whether a clause says by itself what kind of answer it wants."""
    return features.sure and (features.intent is not Intent.GENERAL or features.on_topic)


def _is_another(before: list[Features], clause: Features) -> bool:
    if clause.intent not in {one.intent for one in before}:
        return True
    complete = all(one.has_treatment and one.has_outcome for one in (clause, before[-1]))
    return clause.intent is Intent.CAUSAL_EFFECT and complete


def _facet(text: str, vocabulary: Vocabulary, today: date) -> Facet:
    features = read(text, vocabulary, today)
    intent = Intent.SEGMENT_ANALYSIS if _compares_groups(features, vocabulary) else features.intent
    return Facet(_tidied(text), intent, features.confidence, features)


def _compares_groups(features: Features, vocabulary: Vocabulary) -> bool:
    """An effect set side by side in several regions or specialties is a question about segments."""
    columns = {normalise(name) for name in vocabulary.foreign.filters}
    several = any(len({match.canonical for match in features.named(kind)}) > 1 for kind in _GROUPS)
    several = several or not columns.isdisjoint(features.text.split())
    causal = features.intent is Intent.CAUSAL_EFFECT
    return causal and several and matches_any(vocabulary.comparisons, features.text)


def _tidied(text: str) -> str:
    return text.strip().strip(",;:").strip()
