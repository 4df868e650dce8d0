"""What kind of answer does a question ask for?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from src.domain.reading import check_readable, normalise
from src.domain.vocabulary import Held, Intent, Kind, Vocabulary, load_vocabulary

_PARTS = re.compile(r"\b(?:and then|and also|and|then|also|plus)\b")
_FIRST_HIT = 0.75
_FURTHER_HIT = 0.1
_CEILING = 0.95
_NOTHING_MATCHED = 0.3
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Classification:
    """An intent, how sure the patterns are (0 to 1; .30 when none matched) and the agents that serve it."""

    intent: Intent
    confidence: float
    agents: tuple[str, ...]


def classify(question: str, vocabulary: Vocabulary | None = None) -> Classification:
    """Classify by the patterns of the vocabulary alone.

    Two parts joined by "and" that ask for different kinds of answer make a multi-faceted
    question. Raises QuestionNotUnderstood for text that cannot be a question.
    """
    check_readable(question)
    known = vocabulary or load_vocabulary()
    text = normalise(question)
    parts = [best_intent(part, known) for part in _PARTS.split(text) if part.strip()]
    kinds: set[Intent] = {
        part.intent for part in parts if part.confidence >= _FIRST_HIT and part.intent is not Intent.GENERAL
    }
    if len(kinds) > 1 and not _same_topic(kinds):
        rule = known.intents[Intent.MULTI_FACETED]
        return Classification(
            Intent.MULTI_FACETED, min(part.confidence for part in parts if part.intent in kinds), rule.agents
        )
    return best_intent(text, known)


def _same_topic(kinds: set[Intent]) -> bool:
    """A causal question about segments is one question, not two."""
    return kinds == {Intent.CAUSAL_EFFECT, Intent.SEGMENT_ANALYSIS}


def best_intent(text: str, vocabulary: Vocabulary) -> Classification:
    """The intent whose patterns match a normalised text, the highest priority first; general where none does.

    Where its words settle no kind they are read once more with a letter put right.
    """
    found = _best_intent(text, vocabulary)
    if found.intent is not Intent.GENERAL:
        return found
    righted = _righted(text, vocabulary)
    again = _best_intent(righted, vocabulary) if righted != text else found
    return again if again.intent is not Intent.GENERAL or again.confidence > found.confidence else found


def _righted(text: str, vocabulary: Vocabulary) -> str:
    """Words of four letters and more that nobody declared, as the declared word one letter away from them."""
    ordinary, foreign = _declared(Held(vocabulary))
    return " ".join(_nearest(word, ordinary, foreign) for word in text.split())


def _nearest(word: str, ordinary: tuple[str, ...], declared: frozenset[str]) -> str:
    if len(word) < _SHORTEST or word in declared or not word.isalpha():
        return word
    near = process.extractOne(word, ordinary, scorer=OSA.distance, score_cutoff=1)
    return near[0] if near is not None else word


@lru_cache(maxsize=8)
def _declared(held: Held) -> tuple[tuple[str, ...], frozenset[str]]:
    """Plain words of four letters and more, and every word that is meant as it stands."""
    vocabulary, words = held.vocabulary, held.vocabulary.words
    plain = tuple(one for one in (*words.function, *words.common) if len(one) >= _SHORTEST)
    named = (normalise(name) for kind in Kind for term in vocabulary.terms(kind) for name in term.phrases)
    meant = (normalise(name) for name in vocabulary.foreign.words)
    return plain, frozenset([*words.function, *words.common, *words.neutral]).union(
        *(name.split() for name in (*named, *meant))
    )


def _best_intent(text: str, vocabulary: Vocabulary) -> Classification:
    hits = {
        intent: sum(re.search(rf"\b(?:{pattern})\b", text) is not None for pattern in rule.patterns)
        for intent, rule in vocabulary.intents.items()
    }
    matched = [intent for intent, count in hits.items() if count]
    if not matched:
        return Classification(Intent.GENERAL, _NOTHING_MATCHED, vocabulary.intents[Intent.GENERAL].agents)
    intent = max(matched, key=lambda found: vocabulary.intents[found].priority)
    confidence = min(_FIRST_HIT + _FURTHER_HIT * (hits[intent] - 1), _CEILING)
    return Classification(intent, confidence, vocabulary.intents[intent].agents)
