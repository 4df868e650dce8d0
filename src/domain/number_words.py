"""What number do words stand for: "twenty-five", "two thirds", "half a million", "twice"?"""

from __future__ import annotations

import re

_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = ("third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_CARDINALS = {
    **{word: float(n) for n, word in enumerate(_ONES + _TEENS)},
    **{word: 10.0 * n for n, word in enumerate(_TENS, start=2)},
}  # fmt: skip
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "dozen": 12.0}
_PARTS = {
    "half": 2.0,
    "halves": 2.0,
    **{f"{word}{plural}": float(n) for n, word in enumerate(_ORDINALS, start=3) for plural in ("", "s")},
    "quarter": 4.0,
    "quarters": 4.0,
    "hundredth": 100.0,
    "hundredths": 100.0,
}
_MULTIPLES = {
    "twice": 2.0,
    "thrice": 3.0,
    "half": 0.5,
    **dict.fromkeys(("halve", "halves", "halved", "halving"), 0.5),
    **dict.fromkeys(("double", "doubles", "doubled", "doubling"), 2.0),
    **dict.fromkeys(("triple", "triples", "tripled", "tripling", "treble", "trebled"), 3.0),
    **dict.fromkeys(("quadruple", "quadruples", "quadrupled", "quadrupling"), 4.0),
    **dict.fromkeys(("quintuple", "quintupled"), 5.0),
    **{f"{word}fold": value for word, value in _CARDINALS.items() if value >= 2},
    "hundredfold": 100.0,
}
_VAGUE = {"tens": 10.0, "dozens": 12.0, "hundreds": 1e2, "thousands": 1e3, "millions": 1e6, "billions": 1e9}

CARDINAL = "(?:" + "|".join(sorted(_CARDINALS, key=len, reverse=True)) + ")"
_SCALE = "(?:" + "|".join(_SCALES) + ")"
_PART = "(?:" + "|".join(sorted(_PARTS, key=len, reverse=True)) + ")"
_TENS_AND_ONES = rf"(?:(?:{'|'.join(_TENS)})[\s-](?:{'|'.join(_ONES[1:10])})\b|{CARDINAL}\b)"
_AND = r"(?:(?<=hundred)|(?<=thousand)|(?<=million))\sand\s"
_WHOLE = (
    rf"(?:(?:an?\b|half a\b|{_TENS_AND_ONES})"
    rf"(?:[\s-]{_SCALE}\b(?:(?:{_AND}|\s){_TENS_AND_ONES})?){{0,5}}(?:\spoint(?:\s{CARDINAL}\b)+)?)"
)
_IN = rf"(?:one|1)\s(?:in|out of)(?:\severy)?\s(?:{CARDINAL}|\d{{1,3}})\b"
WORDED = (
    r"(?i)(?<![\w])(?<![\w]-)(?P<worded>"
    rf"{_IN}|(?:an?|one|{CARDINAL})[\s-]{_PART}\b|{_WHOLE}(?:\sand\sa\s(?:half|quarter|third))?|"
    + "|".join(sorted(_MULTIPLES, key=len, reverse=True))
    + r"|(?:"
    + "|".join(_VAGUE)
    + r")(?=\sof\b)"
    + r")(?![\w])"
)
"""A phrase that may be a number; ``read_words`` decides."""

_SHARE_OF = re.compile(r"(?i)^\s?(?:of|more|less|higher|lower|fewer|larger|smaller|greater|as)\b|^\s?(?:[.,;:!?)]|$)")
_NO_DOUBLE = re.compile(r"(?i)^[\s-]?(?:machine|ml\b|robust|blind|check|count|dip|edged|debias|selection)")
_PERIOD_AFTER = re.compile(r"(?i)^[\s-]?(?:year|yearly|hour|day|life|way|time)")
_PERIOD_BEFORE = re.compile(r"(?i)\b(?:first|second|last|latter|former|other|next|previous|each|per)\s$")


def read_words(phrase: str, before: str, after: str, unit: str = "") -> float | None:
    """The value of a phrase that ``WORDED`` found; None where it is a pronoun, an ordinal or a period.

    ``before`` and ``after`` are the text around it; ``unit`` what stands behind it ("percent", "times", "fold").
    """
    words = phrase.lower().replace("-", " ").split()
    if (share := _one_in(words)) is not None:
        return share
    if len(words) == 1 and words[0] in _MULTIPLES | _VAGUE:
        return _multiple(words[0], before, after)
    if words[-1] in _PARTS and len(words) == 2:
        return _part(words, before, after)
    if words in (["a"], ["an"]) or (words == ["one"] and not unit) or words == ["half", "a"]:
        return 0.5 if words == ["half", "a"] and unit.startswith("per") else None
    if words[-1] in _PARTS and "and" in words:
        at = len(words) - 3
        return _whole(words[:at]) + 1.0 / _PARTS[words[-1]] if at else None
    return _whole(words)


def is_multiple(phrase: str) -> bool:
    """Whether a phrase says how many times ("twice", "tripled")."""
    return _MULTIPLES.get(phrase.lower(), 0.0) >= 2


def _one_in(words: list[str]) -> float | None:
    if words[0] not in ("one", "1") or len(words) < 3 or words[1] not in ("in", "out"):
        return None
    whole = _CARDINALS.get(words[-1]) if not words[-1].isdigit() else float(words[-1])
    return 1.0 / whole if whole else None


def _multiple(word: str, before: str, after: str) -> float | None:
    if word in ("half", "halves") and (_PERIOD_AFTER.search(after) or _PERIOD_BEFORE.search(before)):
        return None
    if word.startswith("doubl") and _NO_DOUBLE.search(after):
        return None
    return (_MULTIPLES | _VAGUE)[word]


def _part(words: list[str], before: str, after: str) -> float | None:
    """ "a third of" is a share, "a third reason" is not; so is "three quarters of", "three quarters ago" is not."""
    whole, part = words
    if whole in ("a", "an"):
        shares = _SHARE_OF.search(after) is not None or before.lower().endswith("by ")
        return 1.0 / _PARTS[part] if part == "half" or shares else None
    count = _CARDINALS[whole]
    if part == "quarters" and not re.match(r"(?i)\s?of\b", after):
        return count
    if part.endswith("s") or whole == "one":
        return count / _PARTS[part]
    return count


def _whole(words: list[str]) -> float:
    """ "two hundred and five thousand", "half a million", "zero point three"."""
    total = current = 0.0
    if words[:2] == ["half", "a"]:
        words, current = words[2:], 0.5
    for place, word in enumerate(words):
        if word == "point":
            decimals = "".join(f"{_CARDINALS[one]:.0f}" for one in words[place + 1 :])
            return total + current + float(f"0.{decimals}")
        if word in _SCALES:
            current = (current or 1.0) * _SCALES[word]
            if word not in ("hundred", "dozen"):
                total, current = total + current, 0.0
        elif word in _CARDINALS:
            current += _CARDINALS[word]
    return total + current
