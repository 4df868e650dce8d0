"""Which two periods does a question compare? "between 2023 and 2024" is the second against the first."""

from __future__ import annotations

import re

from src.agents.tool_composer.amounts import MONTH

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR = r"(?:19|20)\d\d"
_POINT = (
    rf"(?:q[1-4](?: of)? {_YEAR}|h[12](?: of)? {_YEAR}|{_YEAR}[ -](?:q[1-4]|h[12])|{_YEAR}-(?:0[1-9]|1[0-2])"
    rf"|{MONTH}(?: of)? {_YEAR}|{_YEAR})"
)
_TO = re.compile(
    rf"\b(?:between|from) (?P<before>{_POINT}) (?:and|to) (?P<after>{_POINT})\b(?!-)"
    rf"|\b(?P<after2>{_POINT}) (?:against|versus|vs\.?|compared (?:with|to)|relative to) (?P<before2>{_POINT})\b(?!-)"
)


def compared_periods(words: str) -> dict[str, str]:
    """In lower-case words: ``reference`` and ``current`` as tools read them; {} where no two periods are compared."""
    hit = _TO.search(words)
    if hit is None:
        return {}
    before, after = hit["before"] or hit["before2"], hit["after"] or hit["after2"]
    return {"reference": _written(before), "current": _written(after)}


def _written(point: str) -> str:
    """ "march 2024" and "q1 of 2024" as "2024-03" and "2024-q1"."""
    found = re.search(_YEAR, point)
    year = found[0] if found else ""
    rest = re.sub(rf"{_YEAR}|\bof\b|[ -]", "", point)
    if not rest:
        return year
    if rest[:3] in _MONTHS:
        return f"{year}-{_MONTHS.index(rest[:3]) + 1:02d}"
    return f"{year}-{rest}"
