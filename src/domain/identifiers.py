"""Does a text name or number a person? The kinds and lines of what looks like it, never the values."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum


class IdentifierKind(StrEnum):
    """What a finding looks like."""

    EMAIL = "e-mail address"
    PHONE = "phone number"
    NPI = "10-digit NPI"
    PATIENT = "patient id"
    PRESCRIBER = "prescriber id"
    RECORD_NUMBER = "medical record number"
    SOCIAL_SECURITY = "social security number"


@dataclass(frozen=True, slots=True)
class Identifier:
    """One finding: what it looks like and the line it stands on, from 1."""

    kind: IdentifierKind
    line: int


# Not inside a longer word, number, date or address.
_BEFORE = r"(?<![\w./@+-])"
_AFTER = r"(?![\w/@]|[.,-]\d)"
_CODE = r"(?=[\w-]*\d)[A-Za-z0-9][\w-]{2,}"
_LABEL = r"[\"']?\s{0,2}(?:ids?|identifiers?|no\.?|numbers?|#)[\"']?\s{0,2}(?:is\s|=|:|#|\|)?\s{0,2}[\"']?"

_NUMBER, _LONG_NUMBER = ("(number)",), ("(long number)",)
_DIGIT_RUNS = re.compile(r"\d{4,}")
_PRESCRIBERS = ("hcp", "physician", "prescriber", "doctor")

# Each with the signs without which it cannot match: most texts have none of them. In this order: what one
# pattern found is not found again by a later one.
_PATTERNS: tuple[tuple[IdentifierKind, tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (kind, signs, re.compile(pattern))
    for kind, signs, pattern in (
        (
            IdentifierKind.EMAIL,
            ("@",),
            r"[\w.%+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.[^\W\d_]{2,24}(?![\w@])",
        ),
        (IdentifierKind.SOCIAL_SECURITY, _NUMBER, rf"{_BEFORE}\d{{3}}-\d{{2}}-\d{{4}}{_AFTER}"),
        (
            IdentifierKind.NPI,
            ("npi",),
            rf"(?i)\bnpi(?:\s?(?:no\.?|numbers?|id))?[\"']?\s{{0,2}}[:=#|]?\s{{0,2}}[\"']?\d{{10}}{_AFTER}",
        ),
        (
            IdentifierKind.RECORD_NUMBER,
            ("mrn",),
            r"(?i)\bmrn(?:\s?(?:no\.?|number))?\s{0,2}[:=#_|-]?\s{0,2}\d[0-9a-z]{3,}\b",
        ),
        (
            IdentifierKind.PATIENT,
            ("pat_", "pat-", "pat#", "patient_", "patient-", "patient#", "pt_", "pt-", "pt#"),
            r"(?i)(?<![a-z0-9])(?:pat|patient|pt)[_#-]\d{3,}[0-9a-z]*\b",
        ),
        (
            IdentifierKind.PATIENT,
            ("patient", "subject", "member"),
            rf"(?i)(?<![a-z0-9])(?:patient|subject|member)[_ -]?{_LABEL}{_CODE}",
        ),
        (
            IdentifierKind.PRESCRIBER,
            _PRESCRIBERS,
            r"(?i)(?<![a-z0-9])(?:hcp|physician|prescriber|doctor)[_#-]\d{3,}[0-9a-z]*\b",
        ),
        (
            IdentifierKind.PRESCRIBER,
            _PRESCRIBERS,
            rf"(?i)(?<![a-z0-9])(?:hcp|physician|prescriber|doctor)[_ -]?{_LABEL}{_CODE}",
        ),
        (
            IdentifierKind.PHONE,
            ("+",),
            r"(?<![\w)+])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?<=\d{2})(?![\w/])",
        ),
        (
            IdentifierKind.PHONE,
            _NUMBER,
            rf"(?<![\w./@+-])(?:\+?1[ .-])?(?:\(\d{{3}}\) ?|\d{{3}}[ .-])\d{{3}}[.-]\d{{4}}{_AFTER}",
        ),
        # National provider identifiers begin with 1 or 2, area codes with 2 to 9.
        (IdentifierKind.NPI, _LONG_NUMBER, rf"{_BEFORE}[12]\d{{9}}{_AFTER}"),
        (IdentifierKind.PHONE, _LONG_NUMBER, rf"{_BEFORE}[3-9]\d{{2}}[2-9]\d{{6}}{_AFTER}"),
    )
)
_LEAST_PHONE_DIGITS, _MOST_PHONE_DIGITS = 8, 15


def find_identifiers(text: str) -> tuple[Identifier, ...]:
    """What looks like an identifier of a person in ``text``, by place, each kind once per line.

    Any plain number of ten digits that could be a provider's or a phone number counts as one: a
    document is held back rather than let through. Names are not found.
    """
    line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
    taken: list[tuple[int, int]] = []
    found: set[tuple[int, IdentifierKind]] = set()
    lowered = text.lower()
    numbers = _numbers(lowered)
    for kind, signs, pattern in _PATTERNS:
        if not any(sign in numbers or sign in lowered for sign in signs):
            continue
        for match in pattern.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in taken):
                continue
            if kind is IdentifierKind.PHONE and not _is_phone_length(match.group()):
                continue
            taken.append(match.span())
            found.add((bisect_right(line_starts, match.start()), kind))
    return tuple(Identifier(kind, line) for line, kind in sorted(found))


def _numbers(text: str) -> tuple[str, ...]:
    """Signs for numbers of four and of ten digits."""
    longest = max((len(run) for run in _DIGIT_RUNS.findall(text)), default=0)
    return (*(_NUMBER if longest >= 4 else ()), *(_LONG_NUMBER if longest >= 10 else ()))


def _is_phone_length(text: str) -> bool:
    return _LEAST_PHONE_DIGITS <= sum(character.isdigit() for character in text) <= _MOST_PHONE_DIGITS
