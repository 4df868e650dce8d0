"""Which months, and which delay, does a question speak of?"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from src.domain.reading import Reading
from src.errors import QuestionNotUnderstood

_MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name.lower(): i for i, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
_NUMBERS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_NUMBERS |= {"ten": 10, "eleven": 11, "twelve": 12, "a": 1, "an": 1, "1st": 1, "2nd": 2, "3rd": 3, "4th": 4}
_NUMBERS |= {"first": 1, "second": 2, "third": 3, "fourth": 4, "couple of": 2}
_LONGEST_LAG = 24
_LONGEST_HORIZON = 120

_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + ")"
_YEAR = r"(?:19[5-9]\d|20\d\d)"
_ORDINAL = "(?:first|second|third|fourth|1st|2nd|3rd|4th)"
_POINT = (
    rf"(?:{_MONTH}(?: of)? {_YEAR}|{_YEAR} {_MONTH}|{_YEAR} (?:0[1-9]|1[0-2])(?: [0-3]\d)?|(?:0?[1-9]|1[0-2]) {_YEAR}"
    rf"|q[1-4](?: of)? {_YEAR}|{_YEAR} q[1-4]|h[12](?: of)? {_YEAR}|{_YEAR} h[12]"
    rf"|{_ORDINAL} quarter(?: of| in)? {_YEAR}|(?:first|second|1st|2nd) half(?: of)? {_YEAR}|{_YEAR})"
)
_PART = rf"(?:{_MONTH}|q[1-4]|h[12])"
_COUNT = r"(?:\d{1,3}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_UNIT = "(?:month|quarter|year)s?"
_TO = "(?:and|to|until|till|through|thru|up to)"


@dataclass(frozen=True, slots=True)
class Period:
    """Whole months from ``start`` to ``end``, both included; None is open. ``since_launch`` leaves the
    first month to the brand's launch in the data."""

    start: date | None
    end: date | None
    since_launch: bool = False

    def __str__(self) -> str:
        if self.since_launch:
            return "since launch"
        if self.start and self.end:
            return f"{self.start:%Y-%m} to {self.end:%Y-%m}"
        return f"from {self.start:%Y-%m}" if self.start else f"until {self.end:%Y-%m}"

    def earlier(self, unit: str) -> Period | None:
        """The same stretch a month, quarter or year before, or the stretch of the same length just before ("period").

        None for one without beginning or end.
        """
        if self.start is None or self.end is None:
            return None
        length = (self.end.year - self.start.year) * 12 + self.end.month - self.start.month + 1
        months = {"month": 1, "quarter": 3, "year": 12}.get(unit, length)
        after_end = _add_months(self.end, 1 - months)
        return Period(_add_months(self.start, -months), _before(after_end))


@dataclass(frozen=True, slots=True)
class MissingYear:
    """A month, quarter or half was named without its year."""

    text: str

    def latest(self, today: date) -> Period:
        """The last one that had begun by ``today``."""
        this_year = _point(f"{self.text} {today.year}")
        begun = this_year.start is not None and this_year.start <= today
        return this_year if begun else _point(f"{self.text} {today.year - 1}")


def take_lag(reading: Reading) -> int | None:
    """Months between treatment and outcome ("two months later"), or None. Raises above two years."""
    for pattern, months in _LAGS:
        hit = reading.search(pattern, reading.free())
        if hit:
            lag = months(hit[0])
            if lag > _LONGEST_LAG:
                raise QuestionNotUnderstood(f"a delay of {lag} months is too long; at most {_LONGEST_LAG} can be asked")
            reading.take(hit[1])
            return lag
    return None


def months_ahead(reading: Reading) -> int | None:
    """How far "next quarter" or "the coming six months" reaches, or None; takes no words. Raises above ten years."""
    hit = reading.search(_AHEAD, reading.free())
    if hit is None:
        return None
    months = _months(hit[0]["count"] or "1", hit[0]["unit"])
    if not 0 < months <= _LONGEST_HORIZON:
        raise QuestionNotUnderstood(f"{months} months ahead cannot be asked; 1 to {_LONGEST_HORIZON} can")
    return months


def take_periods(reading: Reading, today: date) -> list[Period | MissingYear]:
    """Every period the question names, each different one once; normally none or one.

    Raises QuestionNotUnderstood when a period ends before it starts.
    """
    found: list[Period | MissingYear] = []
    for pattern, build in _PERIODS:
        while hit := reading.search(pattern, reading.free()):
            period = build(hit[0], today)
            if isinstance(period, Period) and period.start and period.end and period.start > period.end:
                raise QuestionNotUnderstood(f"the period '{hit[0].group()}' ends before it starts")
            reading.take(hit[1])
            found.append(period)
    if (hit := reading.search(_YEAR_BEFORE, reading.free())) and found and isinstance(found[-1], Period):
        reading.take(hit[1])
        found += [earlier] if (earlier := found[-1].earlier(hit[0]["unit"])) else []
    return list(dict.fromkeys(found))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else _NUMBERS[text]


def _months(count: str, unit: str) -> int:
    return _number(count) * {"m": 1, "q": 3, "y": 12}[unit[0]]


def _span(year: int, first: int, last: int) -> Period:
    return Period(date(year, first, 1), date(year, last, calendar.monthrange(year, last)[1]))


def _point(text: str) -> Period:
    """Months of one point: 'march 2023', '2023 03', 'q3 2024', 'second half of 2023' or '2023'."""
    year_text = re.search(rf"\b{_YEAR}\b", text)
    if year_text is None:
        raise ValueError(f"no year in '{text}'")
    year, rest = int(year_text.group()), text.replace(year_text.group(), "", 1).split()
    if not rest:
        return _span(year, 1, 12)
    if rest[0] in _MONTHS or rest[0].isdigit():
        month = _MONTHS[rest[0]] if rest[0] in _MONTHS else int(rest[0])
        return _span(year, month, month)
    size = 6 if rest[0][0] == "h" or "half" in rest else 3
    part = int(rest[0][1]) if re.fullmatch(r"[qh]\d", rest[0]) else _NUMBERS[rest[0]]
    return _span(year, (part - 1) * size + 1, part * size)


def _add_months(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def _before(first_day: date) -> date:
    return date.fromordinal(first_day.toordinal() - 1)


def _range(match: re.Match[str], today: date) -> Period:
    del today
    last = _point(match["last"])
    first_text = match["first"]
    if not re.search(_YEAR, first_text):
        assert last.end is not None
        first_text = f"{first_text} {last.end.year}"
    return Period(_point(first_text).start, last.end)


def _last(match: re.Match[str], today: date) -> Period:
    """The whole calendar months, quarters or years before the current one."""
    months = _months(match["count"] or "1", match["unit"])
    unit = 1 if match["count"] else _months("1", match["unit"])
    end = date(today.year, (today.month - 1) // unit * unit + 1, 1)
    return Period(_add_months(end, -months), _before(end))


def _this(match: re.Match[str], today: date) -> Period:
    unit = _months("1", match["unit"])
    start = date(today.year, (today.month - 1) // unit * unit + 1, 1)
    return Period(start, _before(_add_months(start, unit)))


def _year_to_date(match: re.Match[str], today: date) -> Period:
    del match
    return Period(date(today.year, 1, 1), _before(_add_months(today.replace(day=1), 1)))


def _open(match: re.Match[str], today: date) -> Period:
    del today
    point, word = _point(match["point"]), match["word"]
    assert point.start is not None
    assert point.end is not None
    if word in {"since", "from", "starting", "starting in", "beginning", "beginning in"}:
        return Period(point.start, None)
    if word == "after":
        return Period(date.fromordinal(point.end.toordinal() + 1), None)
    return Period(None, _before(point.start) if word in {"before", "prior to"} else point.end)


_YEAR_BEFORE = re.compile(r"\bthe (?P<unit>year|quarter|month|period) (?:before|earlier)\b")
_AHEAD = re.compile(rf"\b(?:next|coming|upcoming|following) (?:(?P<count>{_COUNT}) )?(?P<unit>{_UNIT})\b")

_Build = Callable[[re.Match[str], date], Period | MissingYear]
_SINCE = "since|from|starting in|starting|beginning in|beginning"
_UNTIL = "after|before|prior to|until|till|through|up to"

_PERIODS: tuple[tuple[re.Pattern[str], _Build], ...] = (
    (re.compile(r"\b(?:since|after|from) (?:(?:the|its|our) )?launch\b"), lambda *_: Period(None, None, True)),
    (
        re.compile(rf"\b(?:(?:between|from|in|during) )?(?P<first>{_POINT}|{_PART}) {_TO} (?P<last>{_POINT})\b"),
        _range,
    ),
    (re.compile(rf"\b(?P<first>{_YEAR}) (?P<last>{_YEAR})\b"), _range),
    (re.compile(r"\b(?:year to date|ytd|so far this year)\b"), _year_to_date),
    (
        re.compile(
            rf"\b(?:in |over |during )?(?:the )?(?:last|past|previous) (?:(?P<count>{_COUNT}) )?(?P<unit>{_UNIT})\b"
        ),
        _last,
    ),
    (re.compile(rf"\b(?:in |over |during )?this (?P<unit>{_UNIT})\b"), _this),
    (re.compile(rf"\b(?P<word>{_SINCE}|{_UNTIL}) (?P<point>{_POINT})\b"), _open),
    (re.compile(rf"\b(?:(?:in|during|for|over|within) )?(?P<point>{_POINT})\b"), lambda m, _: _point(m["point"])),
    (
        re.compile(rf"\b(?:in|during|since|after|before|until|for) (?P<point>{_PART})\b"),
        lambda m, _: MissingYear(m["point"]),
    ),
    (re.compile(r"\b(?P<point>q[1-4])\b"), lambda m, _: MissingYear(m["point"])),
)

_LAGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], int]], ...] = (
    (
        re.compile(rf"\b(?P<count>{_COUNT}) (?P<unit>{_UNIT}) (?:later|lag|lagged|delay|afterwards?|after)\b"),
        lambda m: _months(m["count"], m["unit"]),
    ),
    (
        re.compile(rf"\b(?:lag|lagged|delay|delayed|after)(?: of| by)? (?P<count>{_COUNT}) (?P<unit>{_UNIT})\b"),
        lambda m: _months(m["count"], m["unit"]),
    ),
    (re.compile(r"\b(?:in |during )?the (?:same|very) month\b"), lambda _: 0),
    (
        re.compile(r"\b(?:in |during )?(?:the )?(?:next|following|subsequent) (?P<unit>month|quarter)(?: s)?\b"),
        lambda m: _months("1", m["unit"]),
    ),
)
