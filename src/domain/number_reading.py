"""Which numbers, dates and names with digits does a text consist of, whatever way they are written?

Every digit of a text belongs to exactly one of four: a number, a name (a date, quarter, id, version or code), a marker
(a list number, a citation, "slide 2") or the level of an interval ("95 % interval"). A number in words is a number.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from src.domain.number_words import CARDINAL, WORDED, is_multiple, read_words

_FALLS = (
    r"fall(?:s|en|ing)?|fell|(?:drop|slip|dip|cut)(?:s|ped|ping|ting)?|(?:declin|decreas|reduc)(?:es?|ed|ing)|reductions?"
    r"|lower(?:s|ed|ing)?|less|fewer|loss(?:es)?|los(?:es?|t|ing)|shr[iau]nks?|worse(?:n|ns|ned)?|minus|negative|below|down"
    r"|decay(?:s|ed)?|slump(?:s|ed)?|sheds?|shortfall"
)
_RISES = (
    r"ris(?:es?|en|ing)|rose|(?:increas|improv|rais)(?:es?|ed|ing)|gr(?:ow|ows|ew|own|owing|owth)"
    r"|(?:gain|lift|add|climb|surge|jump)(?:s|d|ed|ing)?|more|higher|up|positive|above|extra|additional|uplift"
)
BEFORE, AFTER = 6, 3
"""How many words before and behind a number the word of its movement may stand."""

_SPACES = dict.fromkeys("\u00a0\u202f\u2009\u2007\u2008", "\u00a0")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_YEAR = r"(?:19|20)\d\d"
_PERCENT = r"(?:%|percent\b|per[ -]?cent\b|percentage\b|pct\b|pp\b|ppts?\b)"
_LEVEL = r"(?:\d{2}(?:\.\d)?|ninety(?:[ -](?:five|nine))?|eighty)"
_INTERVAL = r"(?:intervals?|CIs?|limits?|bounds?|confidence)\b"
_UNIT = (
    rf"(?P<unit>[\s-]?{_PERCENT}(?:\spoints?\b)?|\s?(?:bps\b|basis points?\b)|\s?[x×](?![\w])|[\s-]fold\b|fold\b"
    r"|\stimes\b)"
)
_SCALE = (
    r"(?P<scale>[\s-]?(?:hundred|thousand|million|billion|trillion|dozen)\b|\s?(?:mn|mio|bn|tn)\b|[kKmMbB](?![\w]))"
)
_TIMES_TEN = r"(?P<exponent>[eE][-+\u2212]?\d+(?![\w])|\s?[x×*·]\s?10\s?\^?\s?[-+\u2212]?\d+(?![\w.])|\^[-+\u2212]?\d+)"

_PIECES: tuple[tuple[str, str], ...] = (
    ("name", r"https?://\S+"),
    ("name", r"(?<!\w)(?:run|chunk|path|step|spans|row|table|dataset|trace):[\w/#.:-]*\w"),
    ("name", r"(?<!\w)[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?!\w)"),
    (
        "name",
        r"(?<![\w.])(?!\d+[eE]\d+(?!\w))(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)(?:\d[0-9a-f]{7,}|[a-f][0-9a-f]{7,})(?!\w)",
    ),
    ("date", rf"(?<![\w.]){_YEAR}-?[QqHh][1-4](?!\w)"),
    (
        "date",
        rf"(?<![\w.]){_YEAR}[-/.](?:0[1-9]|1[0-2])(?:[-/.](?:0[1-9]|[12]\d|3[01]))?(?:T[\d:.]+)?(?:Z|[+-]\d\d:\d\d)?"
        r"(?![\w-]|\.\d)",
    ),
    ("date", rf"(?<![\w.])\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:{_YEAR}|\d\d)(?![\w]|\.\d)"),
    ("date", rf"(?<![\w./])(?:0?[1-9]|1[0-2])/{_YEAR}(?!\w)"),
    ("date", rf"(?i)(?<![\w.])\d{{1,2}}(?:st|nd|rd|th)?\.?\s(?:of\s)?{_MONTH}(?:,?\s{_YEAR})?(?!\w)"),
    ("date", rf"(?i)(?<!\w){_MONTH}\s(?:\d{{1,2}}(?:st|nd|rd|th)?,?\s)?(?:of\s)?{_YEAR}(?!\w)"),
    ("date", rf"(?<!\w)[QqHh][1-4](?:(?:\s|,\s|/|-|'|\s?’|\sof\s)(?:{_YEAR}|(?<=[/'’])\d\d))?(?![\w])"),
    ("date", rf"(?i)(?<!\w)(?:first|second|third|fourth)\s(?:quarter|half)(?:\sof\s(?:the\syear\s)?{_YEAR})?(?!\w)"),
    ("date", r"(?<!\w)FY\s?(?:19|20)?\d\d(?!\w)"),
    ("date", rf"(?<![\w.,$€£-]){_YEAR}\s?[-–/]\s?(?:{_YEAR}|\d\d)(?![\w%]|[.,]\d)"),
    (
        "date",
        rf"(?i)(?<!\w)(?:(?<=in )|(?<=since )|(?<=until )|(?<=during )|(?<=of )|(?<=year )|(?<=before )|(?<=after )"
        rf"|(?<=mid-)|(?<=pre-)|(?<=post-)|(?<=late )|(?<=early )|(?<=for )){_YEAR}(?![\w%]|[.,]\d|\s?%|\s(?:more|fewer"
        r"|additional|extra|new|million|thousand))",
    ),
    ("date", r"(?<![\w.])(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?![\w:])"),
    ("marker", r"\[\d{1,2}\]"),
    (
        "marker",
        r"(?i)(?<![\d%=:])(?<![\d%=:]\s)(?<!\bCI\s)(?<!interval\s)(?<!range\s)(?<!limits\s)(?<!bounds\s)(?<!between\s)"
        r"(?<!from\s)\[[1-9]\d?(?:,\s?[1-9]\d?)+\](?=\s|[.,;:!?\[]|$)",
    ),
    ("marker", r"(?m)^[ \t]*(?:[-*•#]+[ \t]+)?(?:\([1-9]\d?\)|[1-9]\d?[.)])(?=[ \t]+[^\W\d_`\"'*])"),
    (
        "marker",
        r"(?i)(?<!\w)(?:slides?|steps?|figures?|tables?|sections?|appendix|footnotes?|notes?)\s\d{1,2}(?![\w.%])",
    ),
    ("marker", r"(?i)(?<!\w)findings?\s\d{1,2}(?=[:,;)]|\.(?!\d))"),
    ("level", rf"(?i)(?<![\w.]){_LEVEL}[\s-]?{_PERCENT}[\s-]*(?:\w+[\s-])?{_INTERVAL}"),
    (
        "level",
        rf"(?i)(?<!\w)(?:intervals?|CIs?|confidence(?:\slevel)?)\s?(?:\(|of\s|at\s(?:the\s)?){_LEVEL}\s?{_PERCENT}",
    ),
    ("name", r"(?<![\w.])[vV]?\d+(?:\.\d+){2,}(?!\w)"),
    ("name", r"(?<!\w)[A-Z]{1,6}-\d{1,4}(?![\w.%]|\s?%)"),
    ("name", r"(?<![\w.])\d+(?:st|nd|rd|th)(?!\w)"),
    ("name", r"(?<!\w)(?!(?:USD|EUR|GBP|CHF|[xX×])\d)(?=[^\W\d]\w*\d)[^\W\d]\w*"),
    ("name", r"(?<!\w)[A-Za-z]\w*\^\d(?!\w)"),
    ("fraction", r"(?<![\w.])(?:(?P<whole>\d{1,4})\s)?(?P<over>\d{1,3})\u2044(?P<under>\d{1,3})(?![\w.])"),
    (
        "digits",
        rf"(?<![^\W\d_])(?:(?<!\w)(?:USD|EUR|GBP|CHF|[x×])\s?)?(?P<core>\d(?:\d|[.,'’\u00a0](?=\d))*|\.\d+)"
        rf"(?:(?:{_TIMES_TEN})|{_SCALE})?{_UNIT}?(?P<rest>\w*)",
    ),
    ("words", WORDED + rf"{_UNIT.replace('<unit>', '<worded_unit>')}?"),
)
_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _PIECES)
_GROUPED = re.compile(r"\d{1,3}(?:[,'’\u00a0]\d{3})+(?:\.\d+)?|\d*\.?\d+")
_SCALES = {
    "hundred": 1e2,
    "thousand": 1e3,
    "k": 1e3,
    "million": 1e6,
    "m": 1e6,
    "mn": 1e6,
    "mio": 1e6,
    "billion": 1e9,
    "b": 1e9,
    "bn": 1e9,
    "trillion": 1e12,
    "tn": 1e12,
    "dozen": 12.0,
}  # fmt: skip
_TIMES = re.compile(r"-?(?:x|×|fold|times)")
_HEDGE = re.compile(
    r"(?i)(?:\b(?:about|around|roughly|approximately|approx\.?|nearly|almost|some|circa|ca\.?|close to"
    r"|just (?:over|under))|[~≈∼])\s?(?:a\s)?[$€£]?$"
)
_SIGN_WORD = re.compile(r"(?i)\b(minus|negative|plus)\s$")
_MINUS = "-\u2212\u2013\u2012\u2010\u2011\ufe63\uff0d"
_MOVE = rf"\b(?:(?P<falls>{_FALLS})|(?P<rises>{_RISES}))\b"
_MOVING = re.compile(rf"(?i){_MOVE}")
_TIED_BEFORE = re.compile(rf"(?i){_MOVE}(?:(?:\s[\w-]+){{0,4}}?\sby|\s(?:\w+\s){{0,2}}?of)\s(?:[a-z]+\s){{0,2}}$")
_TIED_AFTER = re.compile(
    r"(?i)^\s(?:[\w-]+\s)?(?:(?P<falls>fewer|less|lower)|(?P<rises>more|higher|extra|additional))\b"
)
_BOUND = re.compile(
    rf"(?i)\b(?:(?:fewer|less|lower|smaller|more|higher|greater|larger)\sthan|below|above)"
    rf"(?=\s(?:about\s)?(?:[$€£]?[\d.]|{CARDINAL}\b|$))"
)
_STOP = re.compile(r"[.;!?]\s|\n")
_RANGE = re.compile(r"\s?[-\u2013\u2014]\s?|\sto\s|\s(?:and)\s")
_BETWEEN = re.compile(r"(?i)\b(?:between|from)\s[$€£]?[-\u2212+]?$")


@dataclass(frozen=True, slots=True)
class StatedNumber:
    """A number of a text: as written, its value, and how far its writing leaves it open (half of its last digit).

    ``value`` is that of the writing: 12 for "12 %", which is ``percent``, and 3 for "fell by 3", whose ``direction`` is
    -1 (1 for a rise, 0 where nothing is said). ``signed``: written with a sign. ``near``: -1 where a word of falling
    stands near without being tied to the number. ``level`` marks the level of an interval, ``multiple`` a number of
    times ("3x", "twice"). NaN for digits mixed with
    letters, which stand for no known value.
    """

    text: str
    value: float
    tolerance: float
    position: int
    percent: bool = False
    signed: bool = False
    direction: int = 0
    near: int = 0
    worded: bool = False
    level: bool = False
    multiple: bool = False


@dataclass(frozen=True, slots=True)
class StatedName:
    """A date, quarter, id, version or code with digits, as written and where."""

    text: str
    position: int
    date: bool = False


@dataclass(frozen=True, slots=True)
class NumberReading:
    """What was found; ``covered`` are the places of all of it, markers included, by start and end."""

    numbers: tuple[StatedNumber, ...]
    names: tuple[StatedName, ...]
    covered: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Plain:
    """One spelling of digits, spaces, signs and fractions; ``places`` leads back to the text as it was."""

    text: str
    places: Sequence[int]
    original: str

    def written(self, start: int, end: int) -> str:
        return self.original[self.places[start] : self.places[end - 1] + 1]


@lru_cache(maxsize=1_024)
def read_numbers(text: str) -> NumberReading:
    """Take a text apart. Places are those of ``text`` as it was given."""
    plain = _plain(text)
    numbers: list[StatedNumber] = []
    names: list[StatedName] = []
    covered: list[tuple[int, int]] = []
    for kind, match in _pieces(plain.text):
        start, end = match.span()
        covered.append((plain.places[start], plain.places[end - 1] + 1))
        if kind in ("name", "date"):
            names.append(StatedName(plain.written(start, end), plain.places[start], kind == "date"))
        elif kind == "level":
            numbers.append(_level(match, plain))
        elif kind != "marker":
            numbers += _READERS[kind](match, plain)
    return NumberReading(tuple(_ranged(numbers, plain)), tuple(names), tuple(covered))


def _plain(text: str) -> _Plain:
    if text.isascii():
        return _Plain(text, range(len(text)), text)
    characters: list[str] = []
    places: list[int] = []
    raised = False
    for place, character in enumerate(text):
        if character.isascii():
            characters.append(character)
            places.append(place)
            raised = False
            continue
        if unicodedata.category(character) == "Cf":
            continue
        above = unicodedata.decomposition(character).startswith("<super>")
        folded = _SPACES.get(character) or unicodedata.normalize("NFKC", character)
        if "\u2044" in folded and characters and characters[-1].isalnum():
            folded = f" {folded}"
        if above and not raised:
            folded = f"^{folded}"
        raised = above
        digits = "".join(str(unicodedata.digit(one)) if one.isdigit() else one for one in folded)
        characters += digits
        places += [place] * len(digits)
    return _Plain("".join(characters), tuple(places), text)


def _pieces(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """All pieces from left to right; at one place the kind that comes first in the list, and none inside another."""
    taken = bytearray(len(text))
    found: list[tuple[str, re.Match[str]]] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\x01" * (end - start)
                found.append((kind, match))
            elif kind == "digits":
                found += _remainder(pattern, text, match, taken)
    return iter(sorted(found, key=lambda one: one[1].start()))


def _remainder(
    pattern: re.Pattern[str], text: str, match: re.Match[str], taken: bytearray
) -> list[tuple[str, re.Match[str]]]:
    """Digits before or behind what a longer piece took out of the middle of them."""
    found = []
    for at in range(*match.span()):
        if taken[at] or not text[at].isdigit():
            continue
        end = taken.find(1, at, match.end())
        piece = pattern.match(text, at, match.end() if end < 0 else end)
        if piece is not None:
            taken[piece.start() : piece.end()] = b"\x01" * (piece.end() - piece.start())
            found.append(("digits", piece))
    return found


def _level(match: re.Match[str], plain: _Plain) -> StatedNumber:
    found = re.search(r"\d+(?:\.\d)?", match.group())
    worded = {"ninety": 90.0, "eighty": 80.0}
    value = float(found.group()) if found else next(n for word, n in worded.items() if word in match.group().lower())
    if not found:
        value += 5.0 * ("five" in match.group().lower()) + 9.0 * ("nine" in match.group().lower().replace("ninety", ""))
    written = plain.written(*match.span())
    return StatedNumber(written, value, 0.0, plain.places[match.start()], percent=True, level=True)


def _fraction(match: re.Match[str], plain: _Plain) -> Iterator[StatedNumber]:
    start = match.start()
    under = float(match["under"])
    value = float(match["whole"] or 0) + float(match["over"]) / under if under else math.nan
    yield StatedNumber(plain.written(*match.span()), value, 0.005, plain.places[start])


def _digits(match: re.Match[str], plain: _Plain) -> Iterator[StatedNumber]:
    """One number, or several where commas only list them ("1,2,3")."""
    core, start = match["core"], match.start("core")
    parts = [core] if _GROUPED.fullmatch(core) else re.split(r"[,'’\u00a0]", core)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        yield _number(part, start, match if last else None, plain)
        start += len(part) + 1


def _number(core: str, start: int, match: re.Match[str] | None, plain: _Plain) -> StatedNumber:
    """``match`` holds what follows the digits, for the last of several."""
    end = start + len(core) if match is None else match.end()
    sign, begin = _sign(plain.text, start)
    written = plain.written(begin, end).strip()
    rest = match["rest"] if match is not None else ""
    if core.count(".") > 1 or (rest and any(one.isdigit() or one == "_" for one in rest)):
        return StatedNumber(written, math.nan, 0.0, plain.places[begin])
    unit = (match["unit"] or "").strip().lower() if match is not None else ""
    factor = _factor(match) * (0.01 if unit.startswith(("bps", "basis")) else 1.0)
    digits = re.sub(r"[,'’\u00a0]", "", core)
    place = -len(digits.partition(".")[2])
    hedged = _HEDGE.search(plain.text[max(0, begin - 20) : begin]) is not None
    if hedged and "." not in digits:
        place = max(0, min(len(digits) - len(digits.rstrip("0")), len(digits) - 2))
    percent = unit.lstrip("-").startswith(("%", "per", "pct", "pp", "bps", "basis"))
    direction, near = (0, 0) if sign else _movement(plain.text, begin, end)
    return StatedNumber(
        written,
        (sign or 1) * float(digits) * factor,
        0.5 * 10.0**place * factor,
        plain.places[begin],
        percent=percent,
        signed=bool(sign),
        direction=direction,
        near=near,
        multiple=_TIMES.fullmatch(unit) is not None or plain.text[max(0, start - 1) : start] in "x×X" and start > 0,
    )


def _factor(match: re.Match[str] | None) -> float:
    if match is None:
        return 1.0
    if match["exponent"]:
        exponent = re.search(r"[-+\u2212]?\d+$", match["exponent"].replace("\u2212", "-"))
        power = int(exponent.group()) if exponent else 0
        if match["exponent"].startswith("^"):
            power = (power - 1) if match["core"] == "10" else 400
        return 10.0**power if abs(power) < 300 else math.nan
    return _SCALES[match["scale"].strip(" -\u00a0").lower()] if match["scale"] else 1.0


def _sign(text: str, start: int) -> tuple[int, int]:
    """1, -1 or 0 for no sign, and where the number begins with its sign and currency."""
    begin = start - 1 if start and text[start - 1] in "$€£" else start
    if begin and text[begin - 1] in _MINUS + "+":
        before = text[begin - 2] if begin > 1 else " "
        if not before.isalnum() and before not in ")]_%.":
            return (1 if text[begin - 1] == "+" else -1), begin - 1
    worded = _SIGN_WORD.search(text[max(0, begin - 10) : begin])
    if worded is not None:
        return (1 if worded[1].lower() == "plus" else -1), begin - len(worded[1]) - 1
    return 0, begin


def _words(match: re.Match[str], plain: _Plain) -> Iterator[StatedNumber]:
    start, end = match.span()
    unit = (match["worded_unit"] or "").strip(" -\u00a0").lower()
    percent = unit.startswith(("%", "per", "pct", "pp"))
    value = read_words(match["worded"], plain.text[max(0, start - 24) : start], plain.text[match.end("worded") :], unit)
    if value is None:
        return
    hedged = _HEDGE.search(plain.text[max(0, start - 20) : start]) is not None
    exact = value >= 1 or percent
    tolerance = min(0.1 * value, 0.5 * 10.0 ** math.floor(math.log10(value))) if hedged and value else 0.0
    if not exact and not hedged:
        tolerance = 0.005
    sign, begin = _sign(plain.text, start)
    direction, near = (0, 0) if sign else _movement(plain.text, start, end)
    written = plain.written(begin, end).strip()
    yield StatedNumber(
        written,
        (sign or 1) * value,
        min(tolerance, 0.02) if not exact else tolerance,
        plain.places[begin],
        percent=percent,
        signed=bool(sign),
        direction=direction,
        near=near,
        worded=True,
        multiple=_TIMES.fullmatch(unit) is not None or is_multiple(match["worded"]),
    )


def _movement(text: str, start: int, end: int) -> tuple[int, int]:
    """The movement tied to a number ("fell by", "a drop of", "3 fewer"), else 0; and -1 where falling stands near.

    A bound ("fewer than 11 of 290") moves nothing.
    """
    before = _BOUND.sub(" ", _STOP.split(text[max(0, start - 80) : start])[-1])
    after = _STOP.split(text[end : end + 50])[0]
    tied = _TIED_BEFORE.search(before) or _TIED_AFTER.search(after)
    near_before = " ".join(before.split()[-BEFORE:])
    near_after = " ".join(after.split()[:AFTER])
    found = [*reversed(list(_MOVING.finditer(near_before))), *_MOVING.finditer(near_after)]
    return _way(tied), min(_way(found[0] if found else None), 0)


def _way(move: re.Match[str] | None) -> int:
    return 0 if move is None else (-1 if move["falls"] else 1)


def _ranged(numbers: list[StatedNumber], plain: _Plain) -> Iterator[StatedNumber]:
    """The first end of a range takes the percent sign of the second ("12 to 31 %")."""
    for number, one in enumerate(numbers):
        following = numbers[number + 1] if number + 1 < len(numbers) else None
        if following is not None and following.percent and not one.percent and not following.level:
            gap = plain.original[one.position + len(one.text) : following.position]
            link = _RANGE.fullmatch(gap)
            before = plain.original[: one.position]
            if link is not None and (link.group().strip() != "and" or _BETWEEN.search(before)):
                one = replace(one, percent=True)
        yield one


_READERS = {"digits": _digits, "words": _words, "fraction": _fraction}
