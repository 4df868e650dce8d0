"""What does a question become with the answer to what was asked back about it?"""

from __future__ import annotations

import re
from datetime import date

from src.agents.orchestrator.reading import Features, read
from src.agents.orchestrator.state import Turn
from src.agents.orchestrator.texts import added, exchanged, left_out, listed, names_spoken
from src.domain.vocabulary import Intent, Kind, Role, Vocabulary

_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
_PREPOSITION = re.compile(r"(?:on|of|in|for|by|from|with|among|during|to)\b", re.IGNORECASE)
_SIDES = ("outcome", "treatment", "measure")
_MOST_BESIDE = 3
_PHRASED = ("measure", "outcome", "period")
_SENTENCE = re.compile(
    r"(?:(?:ok|okay|so|well|right|then|and|but|now|also|please|actually)\s)*"
    r"(?:what|which|where|who|whom|whose|why|when|how|do|does|did|is|are|was|were|will|would|can|could|should|has|have"
    r"|had|show|list|give|tell|rank|compare|predict|forecast|design|explain|find|estimate)\b"
)
_LED_IN = re.compile(
    r"(?:(?:ok|okay|so|well|right|then|and|but|now|also|please|yes|what about|how about)\b[\s,]*)+", re.IGNORECASE
)


def spelled_out(query: str, last: Turn) -> str:
    """A reply in digits alone as words: the option of that number, or the year that was asked for."""
    number = re.fullmatch(r"\W*(\d{1,4})\W*", query)
    if number is None:
        return query
    at = int(number[1])
    if last.asked == "period" and len(number[1]) == 4:
        return f"{last.phrase} {at}"
    return last.options[at - 1] if 1 <= at <= len(last.options) else query


def answered_back(query: str, features: Features, last: Turn, vocabulary: Vocabulary, today: date) -> str | None:
    """The question of ``last`` completed by the reply ``query``; None where the reply is a question of its own.

    A reply that settles nothing leaves the question as it was.
    """
    before = read(last.resolved, vocabulary, today)
    chosen = _chosen_option(features, last.options)
    if chosen is None and _asks_anew(features, last):
        return None
    reply = chosen or _LED_IN.sub("", query.strip(" ?.!"), count=1) or query.strip(" ?.!")
    if last.asked == "direction":
        agrees = chosen or (last.options and _agrees(features, vocabulary))
        return added(chosen or last.options[0], *_selection(before, vocabulary)) if agrees else None
    if chosen is None and not features.names_something and not _stands_alone(features):
        return last.resolved
    if last.asked in ("kind", "reference"):
        return _with_names_of(before, reply, read(reply, vocabulary, today), vocabulary)
    if last.asked == "exclusion":
        return added(_without_exclusion(last, before), reply if _PREPOSITION.match(reply) else f"in {reply}")
    if last.asked == "fewer":
        return _of_fewer(before, read(reply, vocabulary, today), vocabulary)
    return _completed(last, reply, read(reply, vocabulary, today), vocabulary)


def _of_fewer(before: Features, chosen: Features, vocabulary: Vocabulary) -> str:
    """The effects that were asked for, with the names that the reply has in the place of all of their kind."""
    (acts, moves), (all_acts, all_moves) = (_measures(one, vocabulary) for one in (chosen, before))
    acts, moves = acts or all_acts, moves or all_moves
    text = f"What is the effect of {acts} on {moves}" if acts else f"What drives {moves}"
    kinds = {match.kind for match in chosen.matches}
    kept = names_spoken(before, vocabulary, but={Kind.MEASURE, *kinds})
    if chosen.periods and before.period_text:
        kept = kept[:-1]
    return added(text, *kept, *names_spoken(chosen, vocabulary, but=(Kind.MEASURE,)))


def _measures(features: Features, vocabulary: Vocabulary) -> tuple[str, str]:
    """What acts and what is acted on, as typed."""
    moves = [one for one in features.named(Kind.MEASURE) if vocabulary.measure(one.canonical).role is Role.OUTCOME]
    acts = [one for one in features.named(Kind.MEASURE) if one not in moves]
    return listed([one.text for one in acts]), listed([one.text for one in moves])


def _completed(last: Turn, reply: str, features: Features, vocabulary: Vocabulary) -> str:
    if last.asked == "period" and re.fullmatch(r"(?:in |of )?(?:19|20)\d\d", reply):
        reply = f"{last.phrase} {reply[-4:]}"
    if last.asked in _SIDES and not _names_a_side(features):
        return added(last.resolved, *names_spoken(features, vocabulary, but=(Kind.MEASURE,)))
    if last.phrase and last.asked in _PHRASED:
        plain = reply if last.asked == "period" else _PREPOSITION.sub("", reply, count=1).strip()
        if text := exchanged(last.resolved, last.phrase, plain):
            return text
    if _PREPOSITION.match(reply):
        return added(last.resolved, reply)
    others = {match.kind for match in features.matches} - {Kind.MEASURE, Kind.KPI}
    own_lead = not features.matches or not others or str(last.asked) in others
    lead = {"outcome": "on", "treatment": "of", "region": "in the", "period": "in"}.get(last.asked, "for")
    return added(last.resolved, f"{lead if own_lead else 'in the' if others == {Kind.REGION} else 'for'} {reply}")


def _names_a_side(features: Features) -> bool:
    """A measure or KPI, and little beside it that is no name."""
    named = features.named(Kind.MEASURE) or features.named(Kind.KPI)
    return bool(named) and len(features.rest) <= _MOST_BESIDE


def _with_names_of(before: Features, reply: str, features: Features, vocabulary: Vocabulary) -> str | None:
    """The reply with the names that the open question had and it has not; None where that adds nothing to it."""
    named = {match.kind for match in features.matches}
    if features.periods:
        before_names = names_spoken(before, vocabulary, but=named)[: -1 if before.period_text else None]
    else:
        before_names = names_spoken(before, vocabulary, but=named)
    return added(reply, *before_names) if before_names else (reply if features.names_something else None)


def _selection(features: Features, vocabulary: Vocabulary) -> list[str]:
    return names_spoken(features, vocabulary, but=(Kind.MEASURE,))


def _stands_alone(features: Features) -> bool:
    if not features.sure or features.intent is Intent.GENERAL:
        return False
    return features.intent is not Intent.CAUSAL_EFFECT or (features.has_treatment and features.has_outcome)


def _asks_anew(features: Features, last: Turn) -> bool:
    """A question of its own. Names alone complete an open kind, and an agreement an open direction, however full."""
    if not _stands_alone(features):
        return False
    return last.asked not in ("kind", "reference", "direction") or _SENTENCE.match(features.text) is not None


def _agrees(features: Features, vocabulary: Vocabulary) -> bool:
    return any(re.match(rf"(?:{pattern})\b", features.text) for pattern in vocabulary.follow_ups.agree)


def _chosen_option(features: Features, options: tuple[str, ...]) -> str | None:
    """The option a reply names by its number or place."""
    words = features.text.split()
    if not options or len(words) > 4:
        return None
    for word in words:
        at = int(word) if word.isdigit() and len(word) == 1 else _ORDINALS.get(word)
        if at is not None and (at == -1 or 1 <= at <= len(options)):
            return options[at - 1 if at > 0 else -1]
    return None


def _without_exclusion(last: Turn, before: Features) -> str:
    """The question up to the words that leave something out, and what follows the name after them."""
    found = re.search(re.escape(last.phrase), last.resolved, re.IGNORECASE)
    if found is None:
        return left_out(last.resolved, last.phrase)
    head, tail = last.resolved[: found.start()], last.resolved[found.end() :]
    for match in before.matches:
        if (rest := exchanged(tail, match.text, "\x1f")) is not None:
            return head.rstrip() + rest.partition("\x1f")[2]
    return head
