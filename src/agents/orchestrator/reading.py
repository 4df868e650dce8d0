"""Which names, pointers and kind of question stand in a text, and is it about this business at all?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from src.domain.intent import best_intent
from src.domain.matching import Match, find_names
from src.domain.period import MissingYear, Period, take_lag, take_periods
from src.domain.question import matches_any, take_any
from src.domain.reading import Reading
from src.domain.unknown import unknown_phrases
from src.domain.vocabulary import Held, Intent, Kind, Role, Vocabulary

SURE = 0.7
"""Below this the patterns have not settled what kind of answer is asked for."""


@dataclass(frozen=True, slots=True)
class Features:
    """What stands in one text, ``text`` being its words in lower case.

    ``rest`` are the words that name nothing, ``strange`` phrases that nobody declared, ``period_text`` the words of its
    periods as typed.
    """

    text: str
    intent: Intent
    confidence: float
    matches: tuple[Match, ...]
    periods: tuple[Period | MissingYear, ...]
    period_text: str
    rest: tuple[str, ...]
    strange: tuple[str, ...]
    has_treatment: bool
    has_outcome: bool
    on_topic: bool

    @property
    def sure(self) -> bool:
        """Whether the kind of question is settled."""
        return self.confidence >= SURE

    @property
    def names_something(self) -> bool:
        """Whether a name of the data or a period is there."""
        return bool(self.matches or self.periods)

    def named(self, kind: Kind) -> tuple[Match, ...]:
        """The names of one kind."""
        return tuple(match for match in self.matches if match.kind is kind)


def read(text: str, vocabulary: Vocabulary, today: date) -> Features:
    """Read a text. Raises QuestionNotUnderstood for what cannot be read, and for a period or delay that cannot be."""
    return _read(text, Held(vocabulary), today)


# A question is read as a whole and in its clauses, by each that asks something of them.
@lru_cache(maxsize=512)
def _read(text: str, held: Held, today: date) -> Features:
    vocabulary, reading = held.vocabulary, Reading(text)
    normal = " ".join(word.norm for word in reading.words)
    take_any(reading, vocabulary.pressure, every=True)
    take_any(reading, (*vocabulary.idioms, *vocabulary.manner), every=True)
    take_lag(reading)
    before = reading.free()
    periods = take_periods(reading, today)
    period_words = [reading.words[at].raw for at in before if not reading.is_free(at)]
    matches = tuple(find_names(reading, vocabulary))
    has_treatment, has_outcome = _sides(matches, vocabulary)
    intent, confidence = _kind(normal, vocabulary, both_sides=has_treatment and has_outcome)
    return Features(
        text=normal,
        intent=intent,
        confidence=confidence,
        matches=matches,
        periods=tuple(periods),
        period_text=" ".join(period_words),
        rest=tuple(reading.norm(at) for at in reading.free()),
        strange=tuple(phrase.text for phrase in unknown_phrases(reading, vocabulary, matches)),
        has_treatment=has_treatment,
        has_outcome=has_outcome,
        on_topic=bool(matches) or matches_any(vocabulary.topics, normal),
    )


def _kind(text: str, vocabulary: Vocabulary, *, both_sides: bool) -> tuple[Intent, float]:
    """What the patterns say; both sides of an effect named make a causal question where they say nothing better."""
    found = best_intent(text, vocabulary)
    if found.intent in (Intent.GENERAL, Intent.EXPLANATION) and matches_any(vocabulary.documents, text):
        return Intent.GENERAL, max(found.confidence, SURE)
    if both_sides and (found.confidence < SURE or found.intent in (Intent.GENERAL, Intent.FEEDBACK)):
        return Intent.CAUSAL_EFFECT, max(found.confidence, SURE)
    return found.intent, found.confidence


def _sides(matches: tuple[Match, ...], vocabulary: Vocabulary) -> tuple[bool, bool]:
    """Whether something that acts and something it acts on is named; a measure that can be either is one of them."""
    roles = [vocabulary.measure(match.canonical).role for match in matches if match.kind is Kind.MEASURE]
    acts, moves, either = (role in roles for role in (Role.TREATMENT, Role.OUTCOME, Role.BOTH))
    return acts or either, moves or (acts and either)
