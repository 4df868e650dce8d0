"""What does a question leave to the ones before it, and how does it read with that filled in?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any

from src.agents.orchestrator.answers_back import answered_back
from src.agents.orchestrator.facets import facets_of
from src.agents.orchestrator.reading import Features, read
from src.agents.orchestrator.state import Turn
from src.agents.orchestrator.texts import added, exchanged, left_out, names_spoken
from src.domain.matching import Match
from src.domain.period import Period
from src.domain.question import Understood, matches_any
from src.domain.reading import normalise
from src.domain.restating import effect_question, spoken, spoken_measure, spoken_period
from src.domain.vocabulary import Intent, Kind, Role, Vocabulary

_SLOTS = {Kind.BRAND: "brand", Kind.REGION: "region", Kind.SPECIALTY: "specialty"}
_BRANDED = (Kind.DRUG, Kind.INDICATION)
_BEFORE = re.compile(r"\bthe (year|quarter|month|period) before\b")
_OF_THEIR_OWN = (Intent.SYSTEM_HEALTH, Intent.FEEDBACK)
_OPEN_KINDS = (Intent.GENERAL, Intent.CAUSAL_EFFECT, Intent.EXPLANATION)
_LONGEST_FRAGMENT = 12
_THE_EFFECT = re.compile(r"\b(?:the|that|this|same) (?:effect|impact|influence)s?\b(?! (?:of|on|from|by)\b)")
_SUPPOSING = re.compile(
    r"^\W*(?:(?:ok|okay|so|and|but|now)\b\W*)*(?:what if|suppose(?: that)?|imagine(?: that)?|simulate(?: that)?)\b",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(r"^(?:(?:ok|okay|so|and|but|now) )*(?:what if|suppose|imagine|simulate)\b")


class Leaning(StrEnum):
    """How a question relates to the ones before it."""

    OWN = "own"
    FILLED = "filled"
    ABOUT_THE_ANSWER = "about_the_answer"
    NOTHING_BEFORE = "nothing_before"


@dataclass(frozen=True, slots=True)
class Resolution:
    """The question as it stands by itself."""

    text: str
    leaning: Leaning


def resolve(query: str, turns: Sequence[Turn], vocabulary: Vocabulary, today: date) -> Resolution:
    """Fill in what ``query`` leaves to the last question of the session. Raises QuestionNotUnderstood."""
    features = read(query, vocabulary, today)
    last = turns[-1] if turns else None
    if last is not None and last.asked and (text := answered_back(query, features, last, vocabulary, today)):
        return Resolution(text, Leaning.FILLED)
    if is_about_the_answer(features, vocabulary):
        there = last is not None and not last.asked
        return Resolution(query, Leaning.ABOUT_THE_ANSWER if there else Leaning.NOTHING_BEFORE)
    if not _leans(query, features, last, vocabulary, today):
        return Resolution(query, Leaning.OWN)
    text = _filled(query, features, last, vocabulary, today) if last is not None else None
    return Resolution(text or query, Leaning.FILLED if text else Leaning.NOTHING_BEFORE)


def is_about_the_answer(features: Features, vocabulary: Vocabulary) -> bool:
    """Asked of the last answer: by its wording as a whole, or because nothing but pointers and plain words is left."""
    if features.names_something or matches_any(vocabulary.documents, features.text):
        return False
    if features.on_topic and features.intent is not Intent.EXPLANATION:
        return False
    if features.sure and features.intent not in _OPEN_KINDS:
        return False
    if features.intent is Intent.EXPLANATION and features.sure:
        return True
    if any(re.fullmatch(pattern, features.text) for pattern in vocabulary.follow_ups.about_the_answer):
        return True
    open_kind = not features.sure or features.intent is Intent.GENERAL
    return bool(_pointers(features, vocabulary)) and open_kind and not features.strange


def _leans(query: str, features: Features, last: Turn | None, vocabulary: Vocabulary, today: date) -> bool:
    """Begins as a follow-up, is no more than names, or points back without saying to what."""
    leads = [re.match(rf"(?:{lead})\b", features.text) for lead in vocabulary.follow_ups.leads]
    led = {word for lead in leads if lead for word in lead.group().split()}
    if last is not None and _lacks_an_outcome(features, effects_of(last, vocabulary), vocabulary):
        return True
    begins, bare = bool(led), set(features.rest) - led <= set(vocabulary.words.function)
    if begins and bare and last is not None and features.names_something:
        return True
    if features.sure and features.intent is not Intent.GENERAL:
        return _points_back(query, features, last, vocabulary, today)
    if _widened(features, vocabulary) or _BEFORE.search(features.text):
        return True
    if len(features.text.split()) > _LONGEST_FRAGMENT:
        return False
    if last is None:
        return begins and bare
    points = bool(_pointers(features, vocabulary))
    return begins or (features.names_something and (bare or points))


def effects_of(last: Turn, vocabulary: Vocabulary) -> tuple[Understood, ...]:
    """The effects the last question asked for, or the one pair of measures that another kind of question named."""
    if last.readings or last.understood is None:
        return last.readings
    named = [next(one for one in vocabulary.measures if one.column == name) for name in last.understood.measures]
    acts = [one.column for one in named if one.role is not Role.OUTCOME]
    moves = [one.column for one in named if one.role is Role.OUTCOME]
    if len(acts) != 1 or len(moves) != 1:
        return ()
    return (replace(last.understood, treatment=acts[0], outcome=moves[0]),)


def _lacks_an_outcome(features: Features, readings: Sequence[Understood], vocabulary: Vocabulary) -> bool:
    """Speaks of the effect before, of how the same activity works elsewhere or of what if there were more of it."""
    if not readings or features.has_outcome or features.named(Kind.KPI):
        return False
    if _is_supposed(features):
        return True
    measures = {vocabulary.measure(match.canonical).column for match in features.named(Kind.MEASURE)}
    if not measures:
        asks_of_it = not features.sure or features.intent in (Intent.GENERAL, Intent.CAUSAL_EFFECT)
        return asks_of_it and _THE_EFFECT.search(features.text) is not None
    return (
        features.intent is Intent.SEGMENT_ANALYSIS and features.sure and measures <= {one.treatment for one in readings}
    )


def _is_supposed(features: Features) -> bool:
    return features.sure and features.intent is Intent.PREDICTION and _SUPPOSED.search(features.text) is not None


def _points_back(query: str, features: Features, last: Turn | None, vocabulary: Vocabulary, today: date) -> bool:
    """Whether the first part of a question that has a kind of its own leaves open what it is about."""
    if features.intent in _OF_THEIR_OWN:
        return False
    first = facets_of(query, vocabulary, today)[0].features
    if first.intent is Intent.CAUSAL_EFFECT:
        return bool(_pointers(first, vocabulary)) and not (first.has_treatment and first.has_outcome)
    if first.named(Kind.MEASURE):
        return False
    follows = last is not None and last.intent in vocabulary.intents[first.intent].builds_on
    return bool(_pointers(first, vocabulary)) or (follows and not first.matches)


def _pointers(features: Features, vocabulary: Vocabulary) -> list[str]:
    return [word for word in features.rest if word in vocabulary.follow_ups.pointers]


def _widened(features: Features, vocabulary: Vocabulary) -> list[Kind]:
    widen = vocabulary.follow_ups.widen
    return [kind for kind, patterns in widen.items() if matches_any(patterns, features.text)]


def _filled(query: str, features: Features, last: Turn, vocabulary: Vocabulary, today: date) -> str | None:
    if _lacks_an_outcome(features, effects := effects_of(last, vocabulary), vocabulary):
        if _is_supposed(features):
            return _supposed(query, features, effects, vocabulary)
        if not features.named(Kind.MEASURE):
            return _other_effect(query, features, effects, vocabulary)
        acts = features.named(Kind.MEASURE)[-1].text
        return exchanged(query, acts, f"{acts} on {_acted_on(features, effects, vocabulary)}")
    if features.sure and features.intent is not Intent.GENERAL and not _is_fragment(features, vocabulary):
        subject = _subject(features, last, vocabulary, today)
        pointers = _pointers(facets_of(query, vocabulary, today)[0].features, vocabulary)
        return exchanged(query, pointers[0], subject) if pointers else added(query, f"given {subject}")
    if last.readings:
        return _other_effect(query, features, last.readings, vocabulary)
    return _other_names(query, features, last, vocabulary, today)


def _supposed(query: str, features: Features, readings: Sequence[Understood], vocabulary: Vocabulary) -> str:
    """ "What if … rose?" with what it is to act on, and with what acts where it names nothing that does."""
    text = _SUPPOSING.sub("", query, count=1).strip(" ?.!")
    pointers = [word for word in _pointers(features, vocabulary) if word != "one"]
    if not features.has_treatment and pointers and readings[0].treatment:
        text = exchanged(text, pointers[0], spoken_measure(readings[0].treatment, vocabulary)) or text
    return f"What would happen to {_acted_on(features, readings, vocabulary)} if {text}?"


def _acted_on(features: Features, readings: Sequence[Understood], vocabulary: Vocabulary) -> str:
    """The outcome of the effects before and its selection, without what the question names itself."""
    named = {match.kind for match in features.matches}
    cleared: dict[str, Any] = {slot: None for kind, slot in _SLOTS.items() if kind in named}
    if features.periods:
        cleared["period"] = None
    kept = [replace(one, lag=None, **cleared) for one in readings]
    return effect_question(kept, vocabulary).partition(" on ")[2].rstrip("?")


def _is_fragment(features: Features, vocabulary: Vocabulary) -> bool:
    """Names only, which happen to stand on both sides of an effect."""
    return features.names_something and set(features.rest) <= set(vocabulary.words.function)


def _subject(features: Features, last: Turn, vocabulary: Vocabulary, today: date) -> str:
    """What the last question was about, as a phrase; without what the new one names itself."""
    named = {match.kind for match in features.matches}
    if last.readings:
        cleared: dict[str, Any] = {slot: None for kind, slot in _SLOTS.items() if kind in named}
        kept = [replace(one, lag=None, **cleared) for one in last.readings]
        text = effect_question(kept, vocabulary).removeprefix("What is ").rstrip("?")
        causal = features.intent is Intent.CAUSAL_EFFECT
        return text.partition(" on ")[2] if causal and not features.has_outcome else text
    return " ".join(names_spoken(read(last.resolved, vocabulary, today), vocabulary, but=named)).removeprefix("for ")


def _other_effect(
    query: str, features: Features, readings: tuple[Understood, ...], vocabulary: Vocabulary
) -> str | None:
    """The last effects with the names of a fragment in the place of theirs."""
    changed = readings
    for slot, values in _slots(features, readings, vocabulary).items():
        changed = tuple(replace(one, **{slot: value}) for value in values for one in changed)
    changed = tuple(dict.fromkeys(replace(one, matched=(), assumptions=()) for one in changed))
    text = effect_question(changed, vocabulary)
    for match in features.named(Kind.MEASURE):
        if match.alternatives:
            text = exchanged(text, spoken_measure(str(readings[0].treatment), vocabulary), match.text) or text
    open_words = bool(features.strange) or len(features.periods) != len(_whole(features))
    if open_words:
        return added(text, query.strip(" ?.!"))
    return text if features.names_something or _widened(features, vocabulary) or _BEFORE.search(features.text) else None


def _slots(features: Features, readings: tuple[Understood, ...], vocabulary: Vocabulary) -> dict[str, list[Any]]:
    """Which slots a fragment sets, and to what."""
    slots: dict[str, list[Any]] = {_SLOTS[kind]: [None] for kind in _widened(features, vocabulary)}
    for kind, slot in _SLOTS.items():
        if found := [match.canonical for match in features.named(kind)]:
            slots[slot] = [*dict.fromkeys(found)]
    if brands := [_brand_of(match, vocabulary) for kind in _BRANDED for match in features.named(kind)]:
        slots.setdefault("brand", [*dict.fromkeys(brands)])
    for match in features.named(Kind.MEASURE):
        if _is_set_aside(match, features):
            continue
        measure = vocabulary.measure(match.canonical)
        slots.setdefault("outcome" if measure.role is Role.OUTCOME else "treatment", []).append(measure.column)
    earlier = _BEFORE.search(features.text)
    base = readings[0].period
    if earlier and base is not None and (before := base.earlier(earlier[1])) is not None:
        slots["period"] = [before]
    elif whole := _whole(features):
        slots["period"] = [*whole]
    return slots


def _is_set_aside(match: Match, features: Features) -> bool:
    """Named as what is not meant: "instead of calls"."""
    words = re.escape(normalise(match.text))
    return re.search(rf"\b(?:instead of|rather than|not)(?: \w+)? {words}\b", features.text) is not None


def _whole(features: Features) -> list[Period]:
    return [period for period in features.periods if isinstance(period, Period)]


def _brand_of(match: Match, vocabulary: Vocabulary) -> str:
    terms = vocabulary.drugs if match.kind is Kind.DRUG else vocabulary.indications
    return next(term.brand for term in terms if term.canonical == match.canonical)


def _other_names(query: str, features: Features, last: Turn, vocabulary: Vocabulary, today: date) -> str | None:
    """The last question of another kind with the names of a fragment in the place of theirs."""
    before, text = read(last.resolved, vocabulary, today), last.resolved
    for kind in _widened(features, vocabulary):
        for match in before.named(kind):
            text = left_out(text, match.text)
    for match in features.matches:
        same = [one for one in before.named(match.kind) if one.canonical != match.canonical]
        new = exchanged(text, same[0].text, match.text) if len(same) == 1 else None
        text = new or added(text, spoken(match.kind, match.canonical, vocabulary))
    if features.periods:
        told = " ".join(_period_words(features))
        text = added(left_out(text, before.period_text), told)
    if features.strange:
        text = added(text, query.strip(" ?.!"))
    return text if text != last.resolved else None


def _period_words(features: Features) -> Iterable[str]:
    whole = _whole(features)
    return [spoken_period(period) for period in whole] if whole else [features.period_text]
