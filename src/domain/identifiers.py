"""Does a text name or number a person? The kinds and lines of what looks like it, never the values."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

REDACTED = "[redacted]"


class IdentifierKind(StrEnum):
    """What a finding looks like."""

    EMAIL = "e-mail address"
    PHONE = "phone number"
    NPI = "10-digit NPI"
    PATIENT = "patient id"
    PRESCRIBER = "prescriber id"
    RECORD_NUMBER = "medical record number"
    SOCIAL_SECURITY = "social security number"
    BIRTH_DATE = "date of birth"


@dataclass(frozen=True, slots=True)
class Identifier:
    """One finding: what it looks like and the line it stands on, from 1."""

    kind: IdentifierKind
    line: int


Span = tuple[int, int]

# Not inside a longer word, number, date or address.
_BEFORE = r"(?<![\w./@+-])"
_AFTER = r"(?![\w/@]|[.,-]\d)"
_NO_YEAR = r"(?!(?:19|20)\d\d(?:\b|[-/]))"
# What is counted or compared is no code: "1234567890 USD", "the patient number is 123 higher".
_NO_AMOUNT = (
    r"(?!\s?(?:%|\$|€|£)|\s(?i:us[ -]?d|us dollars|dollars?|eur|euros?|chf|gbp|per ?cent|mg|ml|units?|[tn]rx|nbrx"
    r"|prescriptions|scripts|calls|visits|patients|hcps|tablets|days|weeks|months|years|higher|lower|more|less|fewer"
    r"|above|below|million|billion)\b)"
)
_NO_MONEY_BEFORE = r"(?<![$€£])(?<![$€£] )(?<!USD )(?<!EUR )(?<!CHF )(?<!GBP )"
_CODE = rf"{_NO_YEAR}(?=[\w-]{{0,40}}\d)[A-Za-z0-9][\w-]{{2,63}}(?![\w-]){_NO_AMOUNT}"
_SIGN = r"[\"']?\s{0,2}[:=#|]?\s{0,2}[\"']?"
_LABEL = r"[\"']?\s{0,2}(?:ids?|identifiers?|no\.?|numbers?|#)[\"']?\s{0,2}(?:is\s|=|:|#|\|)?\s{0,2}[\"']?"
_DATE = r"(?:\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}\.?\s[a-z]{3,9}\.?\s\d{4}|[a-z]{3,9}\.?\s\d{1,2},?\s\d{4})"

_NUMBER, _LONG_NUMBER, _DIGIT = ("(number)",), ("(long number)",), "(digit)"
_DIGIT_RUNS = re.compile(r"\d+")
_PATIENTS = ("patient", "subject", "member")
_PRESCRIBERS = ("hcp", "physician", "prescriber", "doctor")
_PRESCRIBER = r"(?i)(?<![a-z0-9])(?:hcp|physician|prescriber|doctor)"

# Each with the signs without which it cannot match: most texts have none of them. In this order: what one
# pattern found is not found again by a later one. Every repetition is bounded: a text is read in linear time.
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
            IdentifierKind.SOCIAL_SECURITY,
            ("ssn", "social security"),
            rf"(?i)\b(?:ssn|social security)(?:\s(?:no\.?|numbers?))?{_SIGN}\d{{3}}[ .-]?\d{{2}}[ .-]?\d{{4}}{_AFTER}",
        ),
        (
            IdentifierKind.NPI,
            ("npi",),
            rf"(?i)\bnpi(?:[\s_]?(?:no\.?|numbers?|id))?{_SIGN}\d(?:[ -]?\d){{9}}{_AFTER}",
        ),
        (
            IdentifierKind.RECORD_NUMBER,
            ("mrn", "medical record"),
            r"(?i)\b(?:mrn|medical[ _-]record)(?:[ _]?(?:no\.?|numbers?|id|#))?[\"']?\s{0,2}[:=#_|-]?\s{0,2}[\"']?"
            r"[a-z]{0,3}-?\d[0-9a-z]{3,20}\b",
        ),
        (
            IdentifierKind.BIRTH_DATE,
            ("dob", "d.o.b", "birth", "born"),
            rf"(?i)\b(?:dob|d\.o\.b\.?|date[ _]of[ _]birth|birth[ _-]?(?:date|day)|born(?:\son)?){_SIGN}{_DATE}",
        ),
        (
            IdentifierKind.PATIENT,
            ("pat_", "pat-", "pat#", "patient_", "patient-", "patient#", "pt_", "pt-", "pt#"),
            r"(?i)(?<![a-z0-9])(?:pat|patient|pt)[_#-]\d{3,20}[0-9a-z]{0,20}\b",
        ),
        (IdentifierKind.PATIENT, ("pat", "pt"), rf"(?i)(?<![a-z0-9])(?:pat|patient|pt){_NO_YEAR}\d{{4,20}}\b"),
        (
            IdentifierKind.PATIENT,
            _PATIENTS,
            rf"(?i)(?<![a-z0-9])(?:patient|subject|member)[_ -]?{_LABEL}{_CODE}",
        ),
        (
            # "Patient P-10234", "patient 10234 stopped"
            IdentifierKind.PATIENT,
            _PATIENTS,
            r"(?i)(?<![a-z0-9])(?<!per )(?:patient|subject|member)\s{1,2}(?:[a-z]{1,3}-?)?"
            rf"{_NO_YEAR}(?:\d{{4,20}}|\d{{3}}-\d{{3,6}}){_AFTER}{_NO_AMOUNT}",
        ),
        (IdentifierKind.PRESCRIBER, _PRESCRIBERS, rf"{_PRESCRIBER}[_#-]\d{{3,20}}[0-9a-z]{{0,20}}\b"),
        (
            IdentifierKind.PRESCRIBER,
            _PRESCRIBERS,
            rf"{_PRESCRIBER}\s?{_NO_YEAR}(?!\d{{10}}\b)\d{{4,20}}{_AFTER}{_NO_AMOUNT}",
        ),
        (IdentifierKind.PRESCRIBER, _PRESCRIBERS, rf"{_PRESCRIBER}[_ -]?{_LABEL}{_CODE}"),
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
        (
            # With blanks only it may be a row of numbers: area and exchange codes begin with 2 to 9.
            IdentifierKind.PHONE,
            _NUMBER,
            rf"{_BEFORE}(?<!\d )(?<![$€£])(?:1 )?[2-9]\d\d [2-9]\d\d \d{{4}}{_AFTER}(?! \d){_NO_AMOUNT}",
        ),
        # National provider identifiers begin with 1 or 2, area codes with 2 to 9.
        (IdentifierKind.NPI, _LONG_NUMBER, rf"{_BEFORE}{_NO_MONEY_BEFORE}[12]\d{{9}}{_AFTER}{_NO_AMOUNT}"),
        (
            IdentifierKind.PHONE,
            _LONG_NUMBER,
            rf"{_BEFORE}{_NO_MONEY_BEFORE}[3-9]\d{{2}}[2-9]\d{{6}}{_AFTER}{_NO_AMOUNT}",
        ),
    )
)
_LEAST_PHONE_DIGITS, _MOST_PHONE_DIGITS = 8, 15

_PERSONS_COLUMN = re.compile(
    r"(?i)(?:(?P<patient>patient|subject|member|pt)|(?P<prescriber>hcp|physician|prescriber|doctor|provider))"
    r"[_ -]?(?:ids?|identifiers?|no\.?|numbers?|codes?|keys?|#)|(?P<record>mrn)|(?P<npi>npi)|(?P<social>ssn)"
)
_COLUMN_KINDS = {
    "patient": IdentifierKind.PATIENT,
    "prescriber": IdentifierKind.PRESCRIBER,
    "record": IdentifierKind.RECORD_NUMBER,
    "npi": IdentifierKind.NPI,
    "social": IdentifierKind.SOCIAL_SECURITY,
}
_COLUMN_SIGNS = (*_PATIENTS, *_PRESCRIBERS, "pt", "provider", "mrn", "npi", "ssn")
_DELIMITERS = ("|", "\t", ";", ",")
_AROUND_CELL = " *`\"'\r"
_CODE_CELL = re.compile(r"(?=\D{0,20}\d)\w[\w-]{0,63}")


def find_identifiers(text: str) -> tuple[Identifier, ...]:
    """What looks like an identifier of a person in ``text``, by place, each kind once per line.

    Any plain number of ten digits that could be a provider's or a phone number counts as one, unless a
    currency or a unit makes it an amount: a document is held back rather than let through. The cells below
    a heading such as ``patient_id`` count. Names are not found.
    """
    line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
    found = {(bisect_right(line_starts, start), kind) for kind, (start, _) in _findings(text)}
    return tuple(Identifier(kind, line) for line, kind in sorted(found))


def without_identifiers(text: str) -> str:
    """``text`` with all that ``find_identifiers`` finds replaced by ``[redacted]``."""
    pieces, at = list[str](), 0
    for start, end in sorted(span for _, span in _findings(text)):
        pieces += [text[at:start], REDACTED]
        at = end
    return "".join((*pieces, text[at:]))


def _findings(text: str) -> Iterator[tuple[IdentifierKind, Span]]:
    """Kind and place of each finding; no two overlap."""
    taken = bytearray(len(text))
    lowered = text.lower()
    numbers = _numbers(lowered)
    if not numbers and "@" not in lowered:
        return
    for kind, signs, pattern in _PATTERNS:
        if any(sign in numbers or sign in lowered for sign in signs):
            for match in pattern.finditer(text):
                if kind is not IdentifierKind.PHONE or _is_phone_length(match.group()):
                    yield from _take(kind, match.span(), taken)
    if any(sign in lowered for sign in _COLUMN_SIGNS):
        for kind, span in _cells_of_persons(text):
            yield from _take(kind, span, taken)


def _take(kind: IdentifierKind, span: Span, taken: bytearray) -> Iterator[tuple[IdentifierKind, Span]]:
    start, end = span
    if taken.find(1, start, end) < 0:
        taken[start:end] = b"\x01" * (end - start)
        yield kind, span


def _cells_of_persons(text: str) -> Iterator[tuple[IdentifierKind, Span]]:
    """Codes in the columns whose heading is an identifier's; a line without the heading's delimiter ends the table."""
    columns: dict[int, IdentifierKind] = {}
    delimiter, at = "", 0
    for line in text.split("\n"):
        own = next((sign for sign in _DELIMITERS if sign in line), "")
        kinds = {number: _column_kind(cell) for number, cell in enumerate(_split(line, own))}
        if heads := {number: kind for number, kind in kinds.items() if kind is not None}:
            columns, delimiter = heads, own
        elif delimiter not in line or not line.strip():
            columns = {}
        if columns:
            yield from _codes(_split(line, delimiter), columns, at)
        at += len(line) + 1


def _split(line: str, delimiter: str) -> list[str]:
    return line.split(delimiter) if delimiter else [line]


def _codes(cells: list[str], columns: Mapping[int, IdentifierKind], at: int) -> Iterator[tuple[IdentifierKind, Span]]:
    """Those of one row, which begins at ``at``."""
    for number, cell in enumerate(cells):
        bare = cell.strip(_AROUND_CELL)
        if number in columns and _CODE_CELL.fullmatch(bare):
            start = at + cell.index(bare)
            yield columns[number], (start, start + len(bare))
        at += len(cell) + 1


def _column_kind(cell: str) -> IdentifierKind | None:
    match = _PERSONS_COLUMN.fullmatch(cell.strip(_AROUND_CELL)) if len(cell) < 80 else None
    return _COLUMN_KINDS[match.lastgroup] if match is not None and match.lastgroup else None


def _numbers(text: str) -> tuple[str, ...]:
    """Signs for any digit, and for numbers of four and of ten digits."""
    longest = max((len(run) for run in _DIGIT_RUNS.findall(text)), default=0)
    least = (_DIGIT,) if longest else ()
    return (*least, *(_NUMBER if longest >= 4 else ()), *(_LONG_NUMBER if longest >= 10 else ()))


def _is_phone_length(text: str) -> bool:
    return _LEAST_PHONE_DIGITS <= sum(character.isdigit() for character in text) <= _MOST_PHONE_DIGITS
