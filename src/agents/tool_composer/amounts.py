"""Which numbers does a question name, and what does it say of them? Shared by all readers of amounts."""

from __future__ import annotations

import re

SMALL = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
WORDS = {word: float(n) for n, word in enumerate(SMALL, start=2)}
WORDS |= {"one": 1.0, "fifteen": 15.0, "twenty": 20.0, "thirty": 30.0, "forty": 40.0, "fifty": 50.0, "hundred": 100.0}
DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,9})(?:\.\d{1,6})?"
COUNT = rf"(?P<count>{DIGITS}|(?:" + "|".join(sorted(WORDS, key=len, reverse=True)) + r")\b)"
PERCENT = r"(?:%|percent\b|per cent\b|pct\b|percentage points?\b)"
# A year or a share is no count of anything.
YEAR = re.compile(r"(?:19|20)\d\d")

MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_TIMES = re.compile(
    r"\b(?:(?:first|second|1st|2nd|last|other|this|next)[ -]half(?: of)?(?: (?:the )?(?:year|(?:19|20)\d\d))?"
    r"|half(?:[ -]|\s+(?:of\s+)?(?:a|the)\s+)?(?:years?|yearly|months?)\b|half of (?:19|20)\d\d"
    r"|(?:q[1-4]|h[12])(?:[ -](?:19|20)\d\d)?\b|(?:19|20)\d\d[ -]?(?:q[1-4]|h[12])\b"
    rf"|{MONTH}(?: of)? (?:19|20)\d\d\b|(?:19|20)\d\d-(?:0[1-9]|1[0-2])(?:-[0-3]\d)?\b"
    r"|(?:in|during|since|until|of|from|before|after|to|and|through|than in|by the end of)"
    r" (?:19|20)\d\d\b(?! (?:more|extra|additional|fewer|less))"
    r"|(?:19|20)\d\d (?:level|value|figure|number)s?\b"
    rf"|(?:over|for|within|in|during|after|last|past|next|coming|first|following|previous)(?: the)?(?: \w{{1,9}})?? "
    rf"(?:{DIGITS}|\w{{2,8}}) (?:days?|weeks?|months?|quarters?|years?)(?: later)?\b)"
)


def without_times(text: str) -> str:
    """Lower-case text with every date, period and length of time left out: "the second half of 2024" is no half."""
    return _TIMES.sub(" ; ", text)


def value_of(count: str) -> float:
    """The number that a matched count stands for."""
    return WORDS[count] if count in WORDS else float(count.replace(",", ""))
