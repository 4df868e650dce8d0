"""What does a question ask for, which agents serve it, and does it have to be asked back or declined?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from src.agents.orchestrator.answers_back import spelled_out
from src.agents.orchestrator.clarifying import (
    asked_back,
    declined,
    kind_is_open,
    last_question,
    nothing_before,
    off_topic,
    still_open,
    turn_of,
)
from src.agents.orchestrator.facets import Facet, audience_of, facets_of
from src.agents.orchestrator.follow_ups import Leaning, Resolution, resolve
from src.agents.orchestrator.reading import Features, read
from src.agents.orchestrator.state import Classification, Part, Pattern, Turn
from src.agents.orchestrator.texts import added
from src.domain.period import MissingYear
from src.domain.question import NO_BRAND, WORDS_UNUSED, ClarificationNeeded, Understood, understand_each
from src.domain.reading import check_readable, normalise
from src.domain.restating import effect_question
from src.domain.vocabulary import Intent, Kind, Role, Vocabulary
from src.errors import QuestionNotUnderstood

COMPOSER = "tool_composer"
_BRANDED = (Kind.BRAND, Kind.DRUG, Kind.INDICATION)
_NARROWING = "by|with|without|among|for|in|from|of|at|given|using|via|through|per|across"
_WITHOUT_NAMES = (Intent.SYSTEM_HEALTH, Intent.FEEDBACK, Intent.EXPLANATION)


@dataclass(frozen=True, slots=True)
class Known:
    """What questions are read with: the names there are and the day they are asked on."""

    vocabulary: Vocabulary
    today: date


class _Open(Exception):
    def __init__(self, classified: Classification) -> None:
        self.classified = classified
        super().__init__(classified.rule)


def classify(query: str, turns: Sequence[Turn], known: Known) -> Classification:
    """Read ``query``, by patterns and the vocabulary alone, as the next question after ``turns``."""
    last = last_question(turns)
    asked_before = last is not None and bool(last.asked)
    query = spelled_out(query, last) if last is not None and asked_before else query
    try:
        check_readable(query)
    except QuestionNotUnderstood as error:
        return declined(query, "unreadable", str(error))
    try:
        resolution = resolve(query, [last] if last else [], known.vocabulary, known.today)
        if resolution.leaning is Leaning.NOTHING_BEFORE:
            return _once(nothing_before(query), asked_before)
        if resolution.leaning is Leaning.ABOUT_THE_ANSWER:
            found = _about_the_answer(query, known)
        else:
            facets = facets_of(resolution.text, known.vocabulary, known.today)
            found = of_facets(resolution.text, facets, turns, known, settle=asked_before)
    except QuestionNotUnderstood as error:
        return declined(query, "unknown_name", str(error))
    return replace(_telling(found, resolution, query, known), expertise=audience_of(query, known.vocabulary))


def in_selection(found: Classification, brand: str | None, region: str | None) -> Classification:
    """With the brand and region that were given beside the question where it names none."""
    parts = tuple(
        part if part.understood is None else replace(part, understood=_selected(part.understood, brand, region))
        for part in found.parts
    )
    dropped = {a for part in found.parts if part.understood for a in part.understood.assumptions}
    kept = {a for part in parts if part.understood for a in part.understood.assumptions}
    return replace(found, parts=parts, assumptions=tuple(a for a in found.assumptions if a not in dropped - kept))


def _selected(understood: Understood, brand: str | None, region: str | None) -> Understood:
    told = understood.assumptions
    if brand and understood.brand is None:
        told = tuple(one for one in told if not one.startswith(NO_BRAND))
    return replace(understood, brand=understood.brand or brand, region=understood.region or region, assumptions=told)


def _telling(found: Classification, resolution: Resolution, query: str, known: Known) -> Classification:
    """Every name that is not of the question itself is told as one of an earlier question."""
    if resolution.leaning is not Leaning.FILLED or not found.parts:
        return found
    own, whole = (read(text, known.vocabulary, known.today) for text in (query, resolution.text))
    said = {(match.kind, match.canonical) for match in own.matches}
    names = [match.text for match in whole.matches if (match.kind, match.canonical) not in said]
    if whole.periods != own.periods:
        names += [one.text if isinstance(one, MissingYear) else str(one) for one in whole.periods]
    told = f"taken over from the question before: {', '.join(dict.fromkeys(names))}"
    return replace(found, assumptions=(told, *found.assumptions)) if names else found


def of_facets(
    text: str, facets: Sequence[Facet], turns: Sequence[Turn], known: Known, *, settle: bool
) -> Classification:
    """From the parts of a question to the agents that answer them, or to what has to be asked back.

    With ``settle`` (it was asked back before) an open part is read as best it can be, which its assumptions say, or
    declined. Raises QuestionNotUnderstood for a name that is not in the data.
    """
    if (unfit := _unfit(text, facets)) is not None:
        return _once(unfit, settle)
    facets = [_settled_kind(facet, turns) for facet in facets]
    try:
        parts = _parts(text, facets, known, settle=settle)
    except _Open as open_question:
        return _once(open_question.classified, settle)
    intents = {facet.intent for facet in facets}
    return Classification(
        _pattern(parts),
        str(facets[0].intent if len(intents) == 1 else Intent.MULTI_FACETED),
        min(facet.confidence for facet in facets),
        "deterministic",
        text,
        parts,
        assumptions=tuple(dict.fromkeys(a for part in parts if part.understood for a in part.understood.assumptions)),
    )


def _once(open_question: Classification, asked_before: bool) -> Classification:
    asks = open_question.pattern is Pattern.CLARIFICATION_NEEDED
    return still_open(open_question) if asks and asked_before else open_question


def _about_the_answer(query: str, known: Known) -> Classification:
    agent = known.vocabulary.intents[Intent.EXPLANATION].agents[0]
    part = Part(query, str(Intent.EXPLANATION), agent)
    return Classification(Pattern.SINGLE_AGENT, part.intent, 1.0, "deterministic", query, (part,))


def _unfit(text: str, facets: Sequence[Facet]) -> Classification | None:
    """Nothing of this business in it, or no telling what it wants to know."""
    if not any(facet.features.on_topic or (facet.intent in _WITHOUT_NAMES and facet.sure) for facet in facets):
        return off_topic(text) if any(facet.features.strange for facet in facets) else kind_is_open(text, "")
    if len(facets) > 1 or facets[0].sure:
        return None
    features = facets[0].features
    bare = features.names_something and len(features.rest) <= 1 and not features.strange
    if (bare and not _looks_up(features)) or (not features.named(Kind.MEASURE) and not features.strange):
        return kind_is_open(text, _subject(features))
    return None


def _looks_up(features: Features) -> bool:
    """A measure and a selection, but nothing that acts on it: its figures are wanted."""
    others = [match for match in features.matches if match.kind is not Kind.MEASURE]
    return features.has_outcome and not features.has_treatment and bool(others or features.periods)


def _subject(features: Features) -> str:
    return " and ".join(dict.fromkeys(match.text for match in features.matches))


def _settled_kind(facet: Facet, turns: Sequence[Turn]) -> Facet:
    """Something that acts asks for an effect, a measure of something for its figures; so does, where nothing was
    answered before, an explanation."""
    if not facet.sure and _looks_up(facet.features):
        return replace(facet, intent=Intent.GENERAL)
    if not facet.sure and facet.features.named(Kind.MEASURE):
        return replace(facet, intent=Intent.CAUSAL_EFFECT)
    if facet.intent is Intent.EXPLANATION and last_question(turns) is None:
        return replace(facet, intent=Intent.GENERAL)
    return facet


def _parts(text: str, facets: Sequence[Facet], known: Known, *, settle: bool) -> tuple[Part, ...]:
    composed = [facet for facet in facets if _agent(facet.intent, known) == COMPOSER]
    joined = [
        facet for facet in facets if facet in composed or any(_needs(one, facet, known.vocabulary) for one in composed)
    ]
    parts: list[Part] = []
    for facet in facets:
        if facet in joined:
            if facet is joined[0]:
                parts.append(
                    _with_unused(_composer_part(text, joined, facets, known, settle), joined, known.vocabulary)
                )
        elif facet.intent is Intent.CAUSAL_EFFECT:
            parts += _effect_parts(facet, parts, known, settle)
        else:
            parts.append(_named_part(facet.text, facet.intent, _agent(facet.intent, known), known, settle))
    return _in_order(parts, known)


def _needs(composed: Facet, other: Facet, vocabulary: Vocabulary) -> bool:
    """Whether a composed part builds on another: by its kind, unless it names a treatment of its own."""
    if other.intent not in vocabulary.intents[composed.intent].builds_on:
        return False
    own, theirs = (_treatments(facet.features, vocabulary) for facet in (composed, other))
    return own <= theirs


def _treatments(features: Features, vocabulary: Vocabulary) -> set[str]:
    named = {match.canonical for match in features.named(Kind.MEASURE)}
    return {name for name in named if vocabulary.measure(name).role is not Role.OUTCOME}


def _agent(intent: Intent, known: Known) -> str:
    return known.vocabulary.intents[intent].agents[0]


def _composer_part(text: str, joined: Sequence[Facet], facets: Sequence[Facet], known: Known, settle: bool) -> Part:
    """All that is computed with tools, as one question."""
    words = text if len(joined) == len(facets) else " ".join(_sentence(facet.text) for facet in joined)
    intents = list(dict.fromkeys(facet.intent for facet in joined))
    return _named_part(words, intents[0] if len(intents) == 1 else Intent.MULTI_FACETED, COMPOSER, known, settle)


def _with_unused(part: Part, facets: Sequence[Facet], vocabulary: Vocabulary) -> Part:
    """The part with the words that nobody declared told: what is computed is computed without them."""
    strange = dict.fromkeys(
        phrase for facet in facets for phrase in facet.features.strange if _narrows(phrase, facet, vocabulary)
    )
    if part.understood is None or not strange:
        return part
    told = f"{WORDS_UNUSED} {', '.join(repr(one) for one in strange)} were not used"
    return replace(part, understood=replace(part.understood, assumptions=(*part.understood.assumptions, told)))


def _narrows(phrase: str, facet: Facet, vocabulary: Vocabulary) -> bool:
    """Whether a phrase was to narrow or group something ("among …", "with …") and settles no kind of question."""
    text, words = facet.features.text, normalise(phrase)
    if re.search(rf"\b(?:{_NARROWING})(?: (?:the|our|a|an|all))? {re.escape(words)}\b", text) is None:
        return False
    rules = vocabulary.intents.values()
    patterns = [*vocabulary.topics, *vocabulary.comparisons, *(one for rule in rules for one in rule.patterns)]
    hits = [hit[0] for one in patterns for hit in re.finditer(rf"\b(?:{one})\b", text)]
    settling = {word for hit in hits for word in hit.split()}
    return any(word not in settling and word.isalpha() and not word.endswith(("ing", "ed")) for word in words.split())


def _sentence(text: str) -> str:
    return text if text[-1] in ".?!" else f"{text}."


def _named_part(text: str, intent: Intent, agent: str, known: Known, settle: bool) -> Part:
    (understood,) = _readings(text, intent, known, settle)
    return Part(text, str(intent), agent, understood)


def _effect_parts(facet: Facet, before: Sequence[Part], known: Known, settle: bool) -> list[Part]:
    """One part for each effect; what a later part leaves out is taken from the one before it."""
    text, readings = facet.text, None
    if earlier := [part.understood for part in before if part.understood and part.understood.treatment]:
        turn = replace(turn_of(_about_the_answer(text, known), "", text), readings=tuple(earlier))
        text = resolve(text, [turn], known.vocabulary, known.today).text
        brands = {one.brand for one in earlier}
        if len(brands) == 1 and (brand := brands.pop()) and not any(facet.features.named(kind) for kind in _BRANDED):
            text = text if brand in text else added(text, f"for {brand}")
    readings = _readings(text, Intent.CAUSAL_EFFECT, known, settle)
    agent = _agent(Intent.CAUSAL_EFFECT, known)
    told = text if len(readings) == 1 else ""
    return [Part(told or _effect_text(one, known), str(Intent.CAUSAL_EFFECT), agent, one) for one in readings]


def _effect_text(understood: Understood, known: Known) -> str:
    return effect_question([understood], known.vocabulary)


def _readings(text: str, intent: Intent, known: Known, settle: bool) -> tuple[Understood, ...]:
    for settled in (False, True) if settle else (False,):
        found = understand_each(
            text,
            known.vocabulary,
            today=known.today,
            intent=intent,
            settle=settled,
        )
        if not isinstance(found, ClarificationNeeded):
            return found
    assert isinstance(found, ClarificationNeeded)
    raise _Open(asked_back(text, str(intent), found))


def _in_order(parts: Sequence[Part], known: Known) -> tuple[Part, ...]:
    """Parts of a later order build on the findings of all earlier ones."""
    orders = [known.vocabulary.intents[Intent(part.intent)].order for part in parts]
    return tuple(
        replace(part, depends_on=tuple(at for at, order in enumerate(orders) if order < mine))
        for part, mine in zip(parts, orders, strict=True)
    )


def _pattern(parts: Sequence[Part]) -> Pattern:
    if len(parts) > 1:
        return Pattern.PARALLEL_DELEGATION
    return Pattern.TOOL_COMPOSER if parts[0].agent == COMPOSER else Pattern.SINGLE_AGENT
