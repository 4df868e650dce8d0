"""By how much, and in which direction, does a "what if" change a treatment? What is not said is not guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from src.agents.tool_composer.amounts import COUNT, PERCENT, value_of, without_times
from src.errors import QuestionNotUnderstood

_UP_WORDS = (
    r"add(?:s|ed|ing)?|increas(?:e|es|ed|ing)|rais(?:e|es|ed|ing)|rise|rises|rose|risen|rising|grow|grows|grew|grown"
    r"|growing|growth|gain(?:s|ed)?|boost(?:s|ed|ing)?|expand(?:s|ed|ing)?|uplift|step(?:s|ped)? up|ramp(?:s|ed)? up"
    r"|scal(?:e|es|ed|ing) up|(?:go|goes|went|gone|going|move|moved|bring|brought|turn|turned) up|up(?= by\b)"
)
_DOWN_WORDS = (
    r"cut(?:s|ting)?|reduc(?:e|es|ed|ing|tion|tions)|drop(?:s|ped|ping)?|remov(?:e|es|ed|ing)|lower(?:s|ed|ing)"
    r"|decreas(?:e|es|ed|ing)|declin(?:e|es|ed|ing)|fall(?:s|ing|en)?|fell|withdraw(?:s|n|ing)?|withdrew|shrink(?:s|ing)?"
    r"|shrank|shrunk|los(?:e|es|ing)|lost|trim(?:s|med|ming)?|slash(?:es|ed|ing)?|sav(?:e|es|ed|ing)"
    r"|(?:tak(?:e|es|ing)|took|taken) (?:\w{1,9} )?away|(?:scal(?:e|es|ed|ing)|pull(?:s|ed)?|dial(?:s|ed)?)"
    r" (?:back|down)"
    r"|(?:go|goes|went|gone|going|move|moved|bring|brought|turn|turned) down|down(?= by\b)"
)
# Verbs that carry an amount and say nothing of its direction: the word beside the amount has to.
_PLAIN_WORDS = (
    r"ma(?:k|d)e(?:s)?|making|do|does|did|got|get|gets|gave|give|gives|given|send|sends|sent|sending|ha(?:d|ve|s)"
    r"|receive[ds]?|deliver(?:s|ed)?|pa(?:y|id)|leave|left|were|was|are|is|us(?:e|ed)|chang(?:e|es|ed)|mov(?:e|es|ed)"
    r"|shift(?:s|ed)?"
)
_MORE = r"more|extra|additional|further|higher|greater|up(?!\w)|new"
_LESS = r"fewer|less|lower|down(?!\w)"
_VERB = re.compile(
    rf"\b(?:(?P<up>{_UP_WORDS}|more|higher|extra|additional)|(?P<down>{_DOWN_WORDS}|fewer|less|lower)"
    rf"|(?P<plain>{_PLAIN_WORDS}))\b"
)
_AFTER = re.compile(
    rf"^\s*(?:(?P<up>{_MORE}|increase|rise|uplift|growth|gain|boost)|(?P<down>{_LESS}|decline|cut|drop|reduction"
    r"|decrease|fall))\b"
)
_LATER = re.compile(
    r"^\s*(?:\w{1,12} ){1,3}?(?:(?P<up>more|extra|higher)|(?P<down>fewer|less|lower))\b(?! (?:than|calls|visits))"
)
_BOUND = re.compile(
    rf"\b(?:(?:no|not) (?:more|fewer|less) than|(?:more|fewer|less|greater|higher|lower) than|at (?:least|most)|up to"
    rf"|a (?:maximum|minimum) of|between|over|above|under|below|about|around|roughly)\s+(?:[-+−])?{COUNT}"
)
# Which prescribers it is about is no amount: "HCPs with less than 3 samples".
_WHOM = re.compile(
    r"\b(?:with|having|who (?:have|had|got|get|receive[d]?|made)|that (?:have|had|got|get)|getting|receiving)"
    rf" (?:already )?(?:no more than|more than|less than|fewer than|at least|at most|under|over|only|just)?\s*{COUNT}"
    r"(?: or (?:more|fewer|less))?(?: \w{1,15}){0,2}?"
    r"(?= (?:got|get|gets|received?|had|were|was|would|saw|made)\b|[,;.?]|$)"
)
_FROM_TO = re.compile(
    rf"\bfrom {COUNT}(?P<share1>\s?{PERCENT})?(?: [a-z-]{{1,15}}){{0,3}}? to "
    rf"{COUNT.replace('count', 'end')}(?P<share2>\s?{PERCENT})?"
)
_LEVEL = re.compile(rf"\bto (?:only |just |about )?{COUNT}")
_RANGE = re.compile(r"\d\s?(?:-|–|to|or)\s?\d|\d[ -]?fold\b|\d ?x\b")
_SIGNED = r"(?P<sign>(?<![\w)])[-+−–]\s?)?"
_AMOUNT = re.compile(rf"(?<![\w.,$€£]){_SIGNED}{COUNT}(?P<share>\s?{PERCENT})?(?![\w]|[.,]\d)")
_HALVED = re.compile(r"\bhalv(?:e|es|ed|ing)\b|\b(?:cut|cuts|reduced?|reduces|cutting|split) (?:\S+ ){0,5}?in half\b")
_DOUBLED = re.compile(r"\bdoubl(?:e|es|ed|ing)\b|\btwice as (?:many|much|often)\b|\btwice the (?:number|amount)\b")
_TRIPLED = re.compile(r"\btripl(?:e|es|ed|ing)\b|\bthree times as (?:many|much)\b")
_FRACTION = re.compile(r"\bby (?:a |one )?(?P<part>half|third|quarter|fifth|tenth)\b(?! of\b)")
_FRACTIONS = {"half": 1 / 2, "third": 1 / 3, "quarter": 1 / 4, "fifth": 1 / 5, "tenth": 1 / 10}
_NONE = re.compile(r"\b(?:stop(?:s|ped|ping)?|eliminat(?:e|es|ed|ing)|ceas(?:e|es|ed|ing)|no more(?= [a-z])|to zero)\b")
_ANOTHER = re.compile(
    r"\b(?P<one>another|an? (?:extra|additional|further|more)|(?:add(?:ed|s|ing)?"
    r"|(?P<off>drop(?:ped)?|cut|remov(?:e|ed)|took away|take away|withdrew)) an?) (?:rep |sales |speaker |drug )?"
    r"(?:call|visit|e-?mail|sample|program|programme|trigger|alert)\b"
)
_DENIED = re.compile(r"(?:\b(?:not|never|without)|n't)(?: \w{1,12}){0,2} *$")
_CLAUSES = re.compile(
    r"\s*(?:[;:?!]|,(?!\d)|\.(?!\d)|\b(?:and|but|while|when|because|whereas|instead of|plus|then)\b)\s*"
)
_OTHERS = re.compile(
    r"^\s*(?:(?!per\b|an?\b|each\b|every\b)\w{1,12} )??"
    r"(?:days?|weeks?|months?|quarters?|years?|points?|deciles?|times)\b"
)
_PLACES = re.compile(r"\b(?:decile|rank|top|tier|phase|stage|version|group|segment)s? $")


def change_of(
    words: str, treatment: str, nouns: Sequence[str] = (), others: Sequence[str] = ()
) -> float | dict[str, Any] | None:
    """In lower-case words: the change of a treatment that "what if" asks about, in units or as a share of its mean.

    ``nouns`` are words for the treatment, ``others`` for other measures: an amount in a clause about those alone is
    theirs. None where no amount is named. Raises QuestionNotUnderstood for an amount whose direction is not said,
    for a bound, a level or a range instead of a change, and for several amounts.
    """
    text = _WHOM.sub(" ", without_times(words))
    found = [one for one in (_in_clause(text, *span) for span in _own(text, nouns, others)) if one is not None]
    distinct = [one for at, one in enumerate(found) if one not in found[:at]]
    if not distinct:
        return None
    if len(distinct) > 1:
        raise _unreadable("names more than one change")
    [(value, is_share)] = distinct
    return {"share": value, "of": treatment} if is_share else value


def _own(text: str, nouns: Sequence[str], others: Sequence[str]) -> list[tuple[int, int]]:
    """The clauses that speak of the treatment, and those without a name that follow such a clause or stand alone."""
    spans, at = [], 0
    for cut in _CLAUSES.finditer(text):
        if re.search(r"\bbetween\b[^;]*$", text[at : cut.start()]) is None:
            spans.append((at, cut.start()))
            at = cut.end()
    spans.append((at, len(text)))
    if not nouns:
        return spans
    named = [_names(text[start:end], nouns) for start, end in spans]
    foreign = [_names(text[start:end], others) for start, end in spans]
    kept, belongs = [], True
    for span, own, other in zip(spans, named, foreign, strict=True):
        belongs = own or (belongs and not other)
        if belongs:
            kept.append(span)
    return kept


def _names(text: str, nouns: Sequence[str]) -> bool:
    plain = re.sub(r"[^a-z0-9]+", " ", text)
    return any(re.search(rf"\b{re.escape(noun)}\b", plain) for noun in nouns)


def _in_clause(text: str, start: int, end: int) -> tuple[float, bool] | None:
    """The change of one clause and whether it is a share; None without an amount."""
    clause = text[start:end]
    if (bound := _BOUND.search(clause)) is not None:
        raise _unreadable(f"names a bound ('{bound[0].strip()}') instead of a change")
    if (ends := _FROM_TO.search(clause)) is not None:
        return _between(ends)
    if (whole := _whole(text, start, end)) is not None:
        return whole
    if (level := _LEVEL.search(clause)) is not None:
        raise _unreadable(f"names a level ('{level[0]}') without saying from where")
    if _RANGE.search(clause):
        raise _unreadable("names a range or a multiple instead of one change")
    found = [
        _signed(text, start + hit.start(), start + hit.end(), hit)
        for hit in _AMOUNT.finditer(clause)
        if not _OTHERS.search(clause[hit.end() :]) and not _PLACES.search(clause[: hit.start()])
    ]
    if len(set(found)) > 1:
        raise _unreadable("names more than one change")
    if found:
        return found[0]
    if (one := _ANOTHER.search(clause)) is not None:
        return (-1.0 if one["off"] else 1.0), False
    return None


def _between(ends: re.Match[str]) -> tuple[float, bool]:
    if ends["share1"] or ends["share2"]:
        raise _unreadable(f"names percentages as levels ('{ends[0]}'): say by how much it changes")
    change = value_of(ends["end"]) - value_of(ends["count"])
    if change == 0:
        raise _unreadable(f"names no change ('{ends[0]}')")
    return change, False


def _whole(text: str, start: int, end: int) -> tuple[float, bool] | None:
    """Halved, doubled, by a third, stopped: shares that are no numbers."""
    clause = text[start:end]
    hits = [(share, pattern.search(clause)) for pattern, share in _SHARES]
    found = [(share, hit) for share, hit in hits if hit is not None]
    if (part := _FRACTION.search(clause)) is not None:
        found = [(_direction(text, start + part.start(), "") * _FRACTIONS[part["part"]], part)]
    if not found:
        return None
    rest = clause[: found[0][1].start()] + clause[found[0][1].end() :]
    if len(found) > 1 or _AMOUNT.search(rest) is not None:
        raise _unreadable("names more than one change")
    if _DENIED.search(text[:start] + clause[: found[0][1].start()]):
        raise _unreadable("denies the change it names")
    return found[0][0], True


_SHARES = ((_HALVED, -0.5), (_DOUBLED, 1.0), (_TRIPLED, 2.0), (_NONE, -1.0))


def _signed(text: str, start: int, end: int, hit: re.Match[str]) -> tuple[float, bool]:
    value = value_of(hit["count"])
    share = bool(hit["share"])
    direction = _direction(text, start, text[end:], (hit["sign"] or "").strip())
    return direction * (value / 100.0 if share else value), share


def _direction(text: str, start: int, after: str, sign: str = "") -> float:
    """+1 or −1, as the sign, the word beside the amount and the verb before it say; they must agree."""
    beside = _AFTER.match(after) or _LATER.match(after)
    verbs = list(_VERB.finditer(text[:start]))
    verb = verbs[-1] if verbs else None
    if verb is not None and _DENIED.search(text[: verb.start()]):
        raise _unreadable("denies the change it names")
    said = [1.0 if one["up"] else -1.0 for one in (beside, verb) if one is not None and (one["up"] or one["down"])]
    if sign:
        said.append(1.0 if sign == "+" else -1.0)
    if sign in ("-", "−", "–") and verb is not None and verb["down"]:
        raise _unreadable("takes away a negative amount")
    if not said:
        raise _unreadable("names an amount without saying whether it is more or less")
    if len(set(said)) > 1:
        raise _unreadable("says both more and less of one amount")
    return said[0]


def _unreadable(what: str) -> QuestionNotUnderstood:
    return QuestionNotUnderstood(
        f"the question {what}; ask for one change, such as 'two more rep calls' or 'samples cut by 20 %'"
    )
