"""What may leave the process? Bounded copies of what was recorded, without secrets and identifiers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any
from uuid import UUID

from src.contracts.tables import TABLES

REDACTED = "[redacted]"
CUT = "…[truncated]"

_PLAIN_NUMBERS = frozenset({bool, int, float})
_MAX_NODES = 2_000
_MAX_DEPTH = 12

# A key is secret when one of its words, or two neighbours, are listed; "tokens" is a count, "token" is not.
_SECRET_WORDS = frozenset(
    {"password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "authorization", "credential"}
    | {"credentials", "cookie", "apikey", "bearer", "jwt", "signature", "dsn"}
)
_SECRET_PAIRS = frozenset(
    {"api key", "access key", "private key", "secret key", "auth key", "connection string", "session key"}
)

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

# What identifies somebody or opens something, wherever it stands in a text.
_TEXT_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b(?:sk|pk|rk)-[A-Za-z0-9_\-]{8,}", REDACTED),
        (r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|xox[abprs]-[A-Za-z0-9-]{8,}|AKIA[0-9A-Z]{12,})", REDACTED),
        (r"\beyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]*", REDACTED),
        (r"(?i)\b(bearer)\s+[A-Za-z0-9+/=._\-]{8,}", rf"\1 {REDACTED}"),
        # Encoded credentials: plain words ("basic statistics") have no digits and no capitals inside.
        (r"\b([Bb]asic|BASIC)\s+(?=\S*[0-9=]|\S+[A-Z])[A-Za-z0-9+/]{8,}={0,2}", rf"\1 {REDACTED}"),
        (r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)", REDACTED),
        (
            # "Prior authorization" is a step of an insurer's.
            r"(?i)(?<!prior[ -])\b(?!prior[_-]authorization)"
            r"((?:[a-z0-9]+[_-])*(?:password|passwd|pwd|secret|api[_-]?key|token|authorization))"
            r"(\s*[\"']?\s*[=:]\s*[\"']?)(?!\[redacted\])[^\s\"',;&}\])]+",
            rf"\1\2{REDACTED}",
        ),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", REDACTED),
        (r"\b[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+\.[A-Za-z0-9.\-]*[A-Za-z]{2,}\b", REDACTED),
        (r"\b\d{3}-\d{2}-\d{4}\b", REDACTED),
        (r"(?i)\b(?:pat|patient|hcp|npi|mrn|pt)[_#-]\d[0-9a-z]*\b", REDACTED),
        (r"(?i)\b(npi|mrn)(\s*(?:no\.?|number)?\s*[:#]?\s*)\d{5,12}\b", rf"\1\2{REDACTED}"),
        (
            r"\b((?:Dr|Doctor|Patient|patient|Mr|Mrs|Ms|Prof)\.?\s+)"
            # What is said of patients in analytics, not of a patient.
            r"(?!(?:[TN]Rx|NBRx|HCPs?|Adherence|Count|Journeys?|Outcomes?|Persistence|Population|Segments?|Share|Starts?"
            r"|Support|Touch|Volumes?)\b)"
            r"[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+){0,2}",
            rf"\1{REDACTED}",
        ),
    )
)

# Most texts hold nothing that any pattern could match; these tell quickly.
_SIGNS = (
    *("@", "://", "-----", "pass", "pwd", "secret", "key", "token", "auth", "bearer", "basic", "npi", "mrn", "eyj"),
    *("akia", "xox", "gh", "sk-", "pk-", "rk-", "dr", "doctor", "patient", "mr", "ms", "prof"),
)
_DIGIT_SIGNS = re.compile(r"[0-9]-[0-9]|[_#-][0-9]")
_BROKEN_WORD = re.compile(r"[^\s\"'<>(){}\[\],;]+\Z")
_LONGEST_WORD = 256


class Redactor:
    """Replaces secrets and identifiers by key and by pattern. ``keys`` are further keys never recorded."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = frozenset({_plain(key) for key in keys} | personal_columns())
        self.is_private_key: Callable[[str], bool] = lru_cache(maxsize=4096)(self._is_private_key)
        self._clean_short: Callable[[str], str] = lru_cache(maxsize=8192)(_replaced)

    def clean(self, value: Any) -> Any:
        """A copy of a JSON-like value with private keys' values and private parts of texts replaced."""
        if isinstance(value, str):
            return self.clean_text(value)
        if isinstance(value, dict):
            named = ((key if isinstance(key, str) else str(key), item) for key, item in value.items())
            return {self.clean_text(key): self._clean_item(key, item) for key, item in named}
        if isinstance(value, list):
            return [self.clean(item) for item in value]
        return value

    def clean_text(self, text: str) -> str:
        """``text`` with what looks like a secret or an identifier replaced."""
        return self._clean_short(text) if len(text) < 48 else _replaced(text)

    def _clean_item(self, key: str, item: Any) -> Any:
        if not self.is_private_key(key) or item is None or isinstance(item, bool):
            return self.clean(item)
        # A number under "token_count" or "max_token" is a count.
        is_count = isinstance(item, int | float) and _secret_words(_plain(key)) == {"token"}
        return self.clean(item) if is_count else REDACTED

    def _is_private_key(self, key: str) -> bool:
        plain = _plain(key)
        names = (plain, plain.removesuffix("s"))
        if any(name == private or name.endswith(f"_{private}") for name in names for private in self._keys):
            return True
        return bool(_secret_words(plain))


def _secret_words(plain: str) -> frozenset[str]:
    """The words, or pairs of neighbours, that make a key secret."""
    words = plain.replace("prior_authorization", "").split("_")
    pairs = {f"{first} {second}" for first, second in zip(words, words[1:], strict=False)}
    return (_SECRET_WORDS & set(words)) | (_SECRET_PAIRS & pairs)


def _replaced(text: str) -> str:
    lowered = text.lower()
    if not any(sign in lowered for sign in _SIGNS) and _DIGIT_SIGNS.search(text) is None:
        return text
    for pattern, replacement in _TEXT_PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def personal_columns() -> frozenset[str]:
    """Columns of the data contract that identify a person, and the prescriber's key."""
    named = {column.name for table in TABLES.values() for column in table.columns if column.is_personal}
    return frozenset(named | {"hcp_id", "patient_id"})


def snapshot(value: Any, budget: int) -> Any:
    """A JSON-like copy of ``value`` taken now, of at most about ``budget`` characters.

    Tables, arrays and other objects are named, never written out. Cost is bounded whatever ``value`` is,
    and an object that cannot be read is named with the error: nothing is raised.
    """
    if value is None or type(value) in _PLAIN_NUMBERS:
        return value
    return _Copier(budget).copy(value, 0)


def beginning(text: str, length: int) -> str:
    """The first ``length`` characters of a longer ``text``, without the word that the cut goes through.

    Half of an address or of a key would not be recognised as one.
    """
    if len(text) <= length:
        return text
    kept = text[: max(length, 0)]
    whole = max(len(kept) - _LONGEST_WORD, 0)
    return kept[:whole] + _BROKEN_WORD.sub("", kept[whole:]) + CUT


class _Copier:
    """Walks a value until the budget of characters and nodes is spent."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.nodes = _MAX_NODES

    def copy(self, value: Any, depth: int) -> Any:
        self.nodes -= 1
        if value is None or type(value) in _PLAIN_NUMBERS:
            self.left -= 8
            return value
        try:
            return self._of_other(value, depth)
        except Exception as error:  # noqa: BLE001 - an object that cannot be read must not fail the traced body
            return self._text(f"<{type(value).__name__} cannot be read: {type(error).__name__}>")

    def _of_other(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self._text(_named(value))
        if isinstance(value, str):
            return self._text(value)
        if depth >= _MAX_DEPTH:
            return CUT
        if isinstance(value, int | float) or _is_array_scalar(value):
            return self.copy(_plain_number(value), depth + 1)
        if isinstance(value, Mapping):
            return self._mapping(value.items(), depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value, depth)
        if is_dataclass(value) and not isinstance(value, type):
            return self._mapping(((field.name, getattr(value, field.name)) for field in fields(value)), depth)
        return self._text(_named(value))

    def _text(self, text: str) -> str:
        if len(text) > self.left:
            text, self.left = beginning(text, self.left), 0
        else:
            self.left -= len(text) + 2
        return text

    def _mapping(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        for key, item in items:
            if self.left <= 0 or self.nodes <= 0:
                copied[CUT] = True
                break
            name = key if isinstance(key, str) else _named(key)
            if len(name) > self.left:  # half a key would not tell whether its value is private
                copied[CUT], self.left = True, 0
                break
            copied[self._text(name)] = self.copy(item, depth + 1)
        return copied

    def _items(self, items: Iterable[Any], depth: int) -> list[Any]:
        copied: list[Any] = []
        for item in items:
            if self.left <= 0 or self.nodes <= 0:
                copied.append(CUT)
                break
            copied.append(self.copy(item, depth + 1))
        return copied


def _named(value: Any) -> str:
    """Plain values as text; anything else by its type and size, never by its content."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID | Decimal | PurePath | timedelta | int | float):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{type(value).__name__} of {len(value)}>"
    if _is_array_scalar(value):
        return str(value.item())
    shape = getattr(value, "shape", None)
    return f"<{type(value).__name__} {shape}>" if isinstance(shape, tuple) else f"<{type(value).__name__}>"


def _is_array_scalar(value: Any) -> bool:
    return getattr(value, "shape", None) == () and hasattr(value, "item")


def _plain_number(value: Any) -> Any:
    """The Python number behind a subclass of one, or behind an array's scalar."""
    if isinstance(value, float):
        return float(value)
    return int(value) if isinstance(value, int) else value.item()


def _plain(key: str) -> str:
    return "_".join(_WORD.findall(key)).lower()
