"""What kind of answer does a question ask for?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from src.domain.reading import check_readable, normalise
from src.domain.vocabulary import Intent, Vocabulary, load_vocabulary

_PARTS = re.compile(r"\b(?:and then|and also|and|then|also|plus)\b")
_FIRST_HIT = 0.75
_FURTHER_HIT = 0.1
_CEILING = 0.95
_NOTHING_MATCHED = 0.3


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
    """The intent whose patterns match a normalised text, the highest priority first; general where none does."""
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
