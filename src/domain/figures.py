"""Which numbers does a text state, and is each of them known?"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import pairwise

from src.domain.number_reading import NumberReading, StatedName, StatedNumber, read_numbers

__all__ = [
    "Known",
    "StatedName",
    "StatedNumber",
    "is_rounding",
    "stated_names",
    "stated_numbers",
    "stated_ranges",
    "unfounded_names",
    "unfounded_numbers",
]

USUAL_LEVEL = 95.0
"""Level of the intervals of this project, in percent: it needs no source."""

NEAR = 40
"""Characters before and behind a number within which a text calls it a share."""

_SHARE = re.compile(
    r"(?i)\b(?:share|proportion|fraction|probability|rate|rates|ratio|coverage|recall|precision|auc)s?\b"
)
_TIMES = re.compile(r"(?i)\b(?:times|factor|fold|multiples?|ratio|x)\b")
_PERCENT = re.compile(r"(?i)%|\bper ?cent|\bpercent|\belasticity\b")
_REFERENCE = re.compile(
    r"(?i)\b(?:includ\w*|exclud\w*|contain\w*|cover\w*|cross\w*|span\w*|touch\w*|reach\w*|above|below|than|from|under|over"
    r"|side of)\s(?:the\s)?(?:value\s)?$"
)
_TO = re.compile(r"\s?%?\s?(?:[-\u2013\u2014]|to|up to|through|\.\.\.?|…)\s?[$€£]?")
_BETWEEN = re.compile(r"(?i)\bbetween\s$")
_COMMA = re.compile(r"[,;]\s?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_QUARTERS = {"first": "1", "second": "2", "third": "3", "fourth": "4"}


class _Scale(Enum):
    """What the percent sign does to a known value."""

    PERCENT = "the value is in percent"
    SHARE = "the value is a share of one"
    OTHER = "the value has another unit and is never a percentage"
    UNKNOWN = "either"


@dataclass(frozen=True, slots=True)
class Known:
    """A value that a text may state. ``unit`` in words decides whether it may be written as a percentage.

    A unit that names a share, rate or probability may, times 100; one in percent may as it is; another may not. Only a
    ratio, factor or multiple may be told as so many times. An empty unit leaves all open.
    """

    value: float
    unit: str = ""

    @property
    def _scale(self) -> _Scale:
        if not self.unit:
            return _Scale.UNKNOWN
        if _PERCENT.search(self.unit):
            return _Scale.PERCENT
        return _Scale.SHARE if _SHARE.search(self.unit) else _Scale.OTHER


def stated_numbers(text: str) -> tuple[StatedNumber, ...]:
    """The numbers of a text in digits and in words, percentages as written; not those inside names, ids and dates.

    List numbers, citations and the level of an interval ("95 % interval") are not among them.
    """
    return tuple(one for one in read_numbers(text).numbers if not one.level)


@lru_cache(maxsize=2048)
def stated_ranges(text: str) -> tuple[tuple[StatedNumber, StatedNumber], ...]:
    """The ranges of a text, lower end first as written: "0.12 to 0.31", "0.12–0.31", "between 1 and 2", "[1, 2]"."""
    numbers = stated_numbers(text)
    return tuple(
        (one, other)
        for one, other in pairwise(numbers)
        if _is_range(text, one.position, one.position + len(one.text), other.position)
    )


def _is_range(text: str, start: int, end: int, other: int) -> bool:
    gap = text[end:other]
    if _TO.fullmatch(gap):
        return True
    before = text[max(0, start - 12) : start]
    return (gap == " and " and _BETWEEN.search(before) is not None) or (
        _COMMA.fullmatch(gap) is not None and before.endswith(("[", "(")) and text[other : other + 24].count("]") > 0
    )


def stated_names(text: str) -> tuple[StatedName, ...]:
    """The dates, quarters, ids, versions and codes of a text, of those that have digits."""
    return read_numbers(text).names


def unfounded_numbers(
    text: str, known: Collection[float | Known], texts: Iterable[str] = (), *, within: float = math.inf
) -> tuple[str, ...]:
    """The numbers of ``text``, as written, that are neither a rounding of a ``known`` value nor stated in ``texts``.

    A share may be written as a percentage of the same value. A sign counts: "fell by 3" is -3, and "3" is not. The
    level of an interval is 95 % unless ``texts`` give another. Zero may be pointed at ("above 0") without being known.
    ``within`` is the greatest relative difference of a rounding, where half of the last digit is too much.
    """
    said = [(one, read_numbers(one)) for one in dict.fromkeys(texts)]
    readings = [reading for _, reading in said]
    told = (fact for one, reading in said for fact in _facts(one, reading))
    facts = _Facts((*(_Fact.of(one) for one in known), *told))
    levels = {one.value for reading in readings for one in reading.numbers if one.level} or {USUAL_LEVEL}
    years = {part for reading in readings for one in reading.names if one.date for part in _date(one.text)}
    verbatim = {_squeezed(one.text) for reading in readings for one in reading.numbers if math.isnan(one.value)}
    unknown = []
    for one in read_numbers(text).numbers:
        if one.level:
            founded = one.value in levels
        elif math.isnan(one.value):
            founded = _squeezed(one.text) in verbatim
        else:
            founded = _points_at_zero(one, text) or _is_year(one) and f"y{one.text}" in years
            founded = founded or any(_says(one, fact, within) for fact in facts.near(one))
        if not founded:
            unknown.append(one.text)
    return tuple(unknown)


def unfounded_names(text: str, texts: Iterable[str]) -> tuple[str, ...]:
    """The dates, quarters, ids and codes of ``text`` that stand in none of ``texts``; "March 2025" is "2025-03"."""
    given = tuple(texts)
    said = [read_numbers(one).names for one in given]
    words = {_squeezed(one.text) for names in said for one in names if not one.date}
    dates = [_date(one.text) for names in said for one in names if one.date]
    dates += [frozenset({f"y{one.text}"}) for text in given for one in read_numbers(text).numbers if _is_year(one)]
    return tuple(
        one.text
        for one in stated_names(text)
        if not (
            any(_date(one.text) <= date for date in dates) if one.date else _squeezed(one.text) in words
        )
    )  # fmt: skip


def is_rounding(one: StatedNumber, value: float, *, within: float = math.inf) -> bool:
    """Whether a number as written is ``value`` rounded to what was written, and to one significant digit at least.

    Signs are compared; percent signs are not looked at.
    """
    apart = abs(one.value - value)
    if not math.isfinite(value) or not math.isfinite(one.value):
        return False
    if value == 0 or one.value == 0:
        return apart == 0
    slack = 1e-9 * max(abs(value), abs(one.value))
    if apart > one.tolerance + slack or apart > within * abs(value) + slack or one.value * value < 0:
        return False
    last_digit = 10.0 ** math.floor(math.log10(abs(value)) + 1e-12)
    return 2 * one.tolerance <= last_digit * (1 + 1e-9) or apart <= 0.05 * abs(value)


@dataclass(frozen=True, slots=True)
class _Fact:
    """A value and how it may be written; ``multiple``: also as so many times."""

    value: float
    scale: _Scale
    multiple: bool = False

    @classmethod
    def of(cls, one: float | Known) -> _Fact:
        known = one if isinstance(one, Known) else Known(float(one))
        return cls(known.value, known._scale, multiple=not known.unit or _TIMES.search(known.unit) is not None)


class _Facts:
    """Facts by size: a number is compared with those few that it can be a rounding of."""

    def __init__(self, facts: Iterable[_Fact]) -> None:
        self._facts = sorted(
            (one for one in dict.fromkeys(facts) if math.isfinite(one.value)), key=lambda one: abs(one.value)
        )
        self._sizes = [abs(one.value) for one in self._facts]

    def near(self, number: StatedNumber) -> Iterator[_Fact]:
        """All facts that the number may state as they are, as a share or as a percentage, and hardly any others."""
        size = abs(number.value)
        for scale in (1.0, 100.0, 0.01):
            low, high = (size - number.tolerance) / scale, (size + number.tolerance) / scale
            first = bisect.bisect_left(self._sizes, low - 1e-6 * abs(low))
            yield from self._facts[first : bisect.bisect_right(self._sizes, high + 1e-6 * abs(high))]


def _facts(text: str, reading: NumberReading) -> Iterable[_Fact]:
    for one in reading.numbers:
        if one.level or math.isnan(one.value) or _points_at_zero(one, text):
            continue
        scale = _Scale.PERCENT if one.percent else _Scale.OTHER
        falls = one.direction < 0 or one.near < 0
        around = text[max(0, one.position - NEAR) : one.position + len(one.text) + NEAR]
        multiple = one.multiple or _TIMES.search(around) is not None
        if one.direction >= 0:
            yield _Fact(one.value, scale, multiple)
        if falls and not one.signed:
            yield _Fact(-one.value, scale, multiple)
        if not one.percent and 0 < one.value <= 1 and _SHARE.search(around):
            yield _Fact(one.value, _Scale.SHARE)


def _says(one: StatedNumber, fact: _Fact, within: float) -> bool:
    for value in _as_written(fact, one):
        if one.signed or not one.direction < 0 and not one.near < 0:
            candidates = [value]
        elif one.direction < 0:
            candidates = [-value]
        else:
            candidates = [value, -value]
        if any(is_rounding(one, candidate, within=within) for candidate in candidates):
            return True
    return False


def _as_written(fact: _Fact, one: StatedNumber) -> tuple[float, ...]:
    """The fact's value on the scale the number is written in; none where that is impossible."""
    if one.multiple and not fact.multiple:
        return ()
    if not one.percent:
        return (fact.value, fact.value / 100.0) if one.worded and fact.scale is _Scale.PERCENT else (fact.value,)
    match fact.scale:
        case _Scale.PERCENT:
            return (fact.value,)
        case _Scale.SHARE:
            return (100.0 * fact.value,)
        case _Scale.UNKNOWN:
            return (fact.value, 100.0 * fact.value)
        case _:
            return ()


def _points_at_zero(one: StatedNumber, text: str) -> bool:
    return one.value == 0 and _REFERENCE.search(text[max(0, one.position - 30) : one.position]) is not None


def _is_year(one: StatedNumber) -> bool:
    """A year that its sentence does not call one ("2025 sales"): nothing rose or fell by it."""
    return _YEAR.fullmatch(one.text) is not None and one.direction == 0


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text).lower()


def _date(text: str) -> frozenset[str]:
    """The parts of a date that are written: year, quarter, month, day, time."""
    lower = text.lower()
    parts = {f"y{year}" for year in re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", lower)}
    rest = re.sub(r"(?<!\d)(?:19|20)\d\d(?!\d)", " ", lower)
    for word, number in _QUARTERS.items():
        rest = rest.replace(f"{word} quarter", f"q{number}").replace(f"{word} half", f"h{number}")
    parts |= set(re.findall(r"[qh][1-4]", rest))
    for ordinal, month in enumerate(_MONTHS, start=1):
        if re.search(rf"\b{month}[a-z]*", rest):
            parts.add(f"m{ordinal}")
            parts |= {f"d{int(day)}" for day in re.findall(r"\d{1,2}", rest)}
            return frozenset(parts)
    numbers = re.findall(r"(?<![qh\d])\d{1,2}(?!\d)", rest)
    if re.match(r"\s*(?:19|20)\d\d[-/.]\d", lower):
        parts |= {f"{kind}{int(number)}" for kind, number in zip("mdHMS", numbers, strict=False)}
    elif re.fullmatch(r"\d{1,2}/(?:19|20)\d\d", lower):
        parts.add(f"m{int(numbers[0])}")
    elif numbers:
        parts.add(re.sub(r"\s", "", lower))
    return frozenset(parts)
