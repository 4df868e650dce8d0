"""What does a question say of the test it wants: effect to find, power, error rate, length, how many take part?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from src.agents.tool_composer.amounts import COUNT, DIGITS, PERCENT, value_of
from src.errors import QuestionNotUnderstood

WEEKS_PER_MONTH = 365.25 / 12 / 7
_RATE = rf"(?P<rate>{DIGITS})(?P<percent>\s?{PERCENT})?"
_POWER = (
    re.compile(rf"\b{_RATE} (?:statistical |of )?power\b"),
    re.compile(rf"\bpower(?: level)?(?: of| at| =|:|=| is)? {_RATE}"),
)
_CONFIDENCE = (
    re.compile(rf"\b{_RATE} (?:confidence|confident|certainty|sure)\b(?: level)?"),
    re.compile(rf"\bconfidence(?: level)?(?: of| at| =|:|=)? {_RATE}"),
)
_ALPHA = (
    re.compile(rf"\b{_RATE} (?:alpha|significance(?: level)?|error(?: rate)?|type[ -](?:1|i|one) error|level)\b"),
    re.compile(
        rf"\b(?:alpha|significance(?: level)?|error rate|type[ -](?:1|i|one) error(?: rate)?|p ?<|p-value (?:of|below))"
        rf"(?: of| at| =|:|=| is)? ?{_RATE}"
    ),
)
_LENGTH = re.compile(rf"\b{COUNT}[ -](?P<unit>weeks?|months?|quarters?|years?|days?)\b")
_PARTICIPANTS = re.compile(
    rf"(?<![\w.,]){COUNT} (?:\w{{2,12}} )?(?:hcps?|prescribers?|doctors?|physicians?|oncologists?|units|accounts?"
    r"|territor(?:y|ies)|participants?)\b"
)
_SPLIT = (
    re.compile(
        rf"\b{_RATE} (?:of (?:the |all |our )?(?:hcps?|prescribers?|units?|doctors?) )?"
        r"(?:treated|in treatment|treatment)\b"
    ),
    re.compile(r"\b(?P<rate>50)(?P<percent>)[/:-]50\b"),
)
_RELATIVE = re.compile(rf"(?<![\w.,]){COUNT}\s?{PERCENT}(?! of\b)")
_ABSOLUTE = re.compile(
    rf"\b(?:effect|uplift|lift|difference|increase|improvement|change)(?: size)?(?: of| is| =|:)? "
    rf"(?:at least |about )?{COUNT}(?![\d.,]*\s?{PERCENT})(?![\w]|[.,]\d)"
)
_IN_UNITS = re.compile(
    rf"(?<![\w.,]){COUNT} (?:more |extra |additional |new )?(?:nrx|trx|nbrx|scripts?|prescriptions?)\b"
)
_NUMBER = re.compile(rf"(?<![\w.,])(?P<count>{DIGITS})(?:\s?{PERCENT})?(?!\w|[.,]\d)")
# Which months are read is no length of a test.
_DATES = re.compile(
    rf"\b(?:last|past|previous)(?: {DIGITS}| \w{{2,8}})? (?:days?|weeks?|months?|quarters?|years?)\b"
    r"|\b(?:19|20)\d\d-\d\d(?:-\d\d)?\b"
)
_MONTHS = {"day": 1 / 30.4375, "week": 1 / WEEKS_PER_MONTH, "month": 1.0, "quarter": 3.0, "year": 12.0}


@dataclass
class Asked:
    """Arguments of a test plan, and sentences on what was read as something or not used."""

    arguments: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def design_of(words: str) -> Asked:
    """In lower-case words: power, error rate, length and size with the words that name them, then the effect.

    The one percentage that is left is the relative effect. Raises QuestionNotUnderstood for a rate outside what a
    test can have, and for several percentages of which none is named.
    """
    asked, text = Asked(), _DATES.sub(" ; ", words)
    for name, patterns, low, high, turn in (
        ("power", _POWER, 0.5, 0.99, False),
        ("alpha", _CONFIDENCE, 0.8, 0.9999, True),
        ("alpha", _ALPHA, 0.0001, 0.2, False),
        ("share_treated", _SPLIT, 0.1, 0.9, False),
    ):
        text = _rate(asked, text, name, patterns, low, high, turn=turn)
    text = _length(asked, text)
    text = _participants(asked, text)
    text = _effect(asked, text)
    unused = list(dict.fromkeys(hit[0].strip() for hit in _NUMBER.finditer(text) if not _year(hit["count"])))
    if unused:
        asked.notes.append(f"not used for the size of the test: {', '.join(unused)}; no argument of it was recognised")
    return asked


def _year(count: str) -> bool:
    return re.fullmatch(r"(?:19|20)\d\d", count) is not None


def _rate(
    asked: Asked, text: str, name: str, patterns: tuple[re.Pattern[str], ...], low: float, high: float, *, turn: bool
) -> str:
    for pattern in patterns:
        hit = pattern.search(text)
        if hit is None:
            continue
        value = value_of(hit["rate"])
        value = value / 100.0 if hit["percent"] or value > 1 else value
        if not low <= value <= high:
            raise QuestionNotUnderstood(
                f"'{hit[0].strip()}' is outside what a test can have ({low:g} to {high:g}); name another"
            )
        asked.arguments[name] = round(1.0 - value, 10) if turn else value
        return text[: hit.start()] + " ; " + text[hit.end() :]
    return text


def _length(asked: Asked, text: str) -> str:
    hit = _LENGTH.search(text)
    if hit is None:
        return text
    unit = hit["unit"].rstrip("s")
    exact = value_of(hit["count"]) * _MONTHS[unit]
    months = max(1, round(exact))
    if months > 60:
        raise QuestionNotUnderstood(f"a test of {hit[0]} is longer than 60 months; name a shorter one")
    asked.arguments["months"] = months
    if unit in ("day", "week"):
        asked.notes.append(f"{hit[0]} were taken as {months} {'month' if months == 1 else 'months'}: rows are monthly")
    return text[: hit.start()] + " ; " + text[hit.end() :]


def _participants(asked: Asked, text: str) -> str:
    hit = _PARTICIPANTS.search(text)
    if hit is None:
        return text
    if (count := value_of(hit["count"])) == round(count):
        asked.arguments["participants"] = int(count)
    return text[: hit.start()] + " ; " + text[hit.end() :]


def _effect(asked: Asked, text: str) -> str:
    shares = list(_RELATIVE.finditer(text))
    absolute = _ABSOLUTE.search(text) or _IN_UNITS.search(text)
    values = {value_of(hit["count"]) for hit in shares}
    if len(values) > 1 or (values and absolute is not None):
        raise QuestionNotUnderstood(
            "the question names several amounts that could be the smallest effect of the test; name one, such as "
            "'an uplift of 10 %'"
        )
    for hit in reversed([*shares, *([absolute] if absolute is not None else [])]):
        text = text[: hit.start()] + " ; " + text[hit.end() :]
    if values:
        asked.arguments["relative_effect"] = values.pop() / 100.0
    elif absolute is not None:
        asked.arguments["minimum_effect"] = value_of(absolute["count"])
    return text
