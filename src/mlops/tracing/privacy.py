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
        (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._\-]{8,}", rf"\1 {REDACTED}"),
        (r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)", REDACTED),
        (
            r"(?i)\b((?:[a-z0-9]+[_-])*(?:password|passwd|pwd|secret|api[_-]?key|token|authorization))"
            r"(\s*[\"']?\s*[=:]\s*[\"']?)(?!\[redacted\])[^\s\"',;&}\])]+",
            rf"\1\2{REDACTED}",
        ),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", REDACTED),
        (r"\b[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+\.[A-Za-z0-9.\-]*[A-Za-z]{2,}\b", REDACTED),
        (r"\b\d{3}-\d{2}-\d{4}\b", REDACTED),
        (r"(?i)\b(?:pat|patient|hcp|npi|mrn|pt)[_#-]\d[0-9a-z]*\b", REDACTED),
        (r"(?i)\b(npi|mrn)(\s*(?:no\.?|number)?\s*[:#]?\s*)\d{5,12}\b", rf"\1\2{REDACTED}"),
        (
            r"\b((?:Dr|Doctor|Patient|patient|Mr|Mrs|Ms|Prof)\.?\s+)[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+){0,2}",
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
            return {self.clean_text(key): self._clean_item(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.clean(item) for item in value]
        return value

    def clean_text(self, text: str) -> str:
        """``text`` with what looks like a secret or an identifier replaced."""
        return self._clean_short(text) if len(text) < 48 else _replaced(text)

    def _clean_item(self, key: str, item: Any) -> Any:
        if not self.is_private_key(key) or item is None or isinstance(item, bool):
            return self.clean(item)
        if isinstance(item, int | float) and _plain(key).endswith("token"):
            return item  # a number of tokens is a count
        return REDACTED

    def _is_private_key(self, key: str) -> bool:
        plain = _plain(key)
        if plain in self._keys or any(plain.endswith(f"_{private}") for private in self._keys):
            return True
        words = plain.split("_")
        if any(word in _SECRET_WORDS for word in words):
            return True
        return any(f"{first} {second}" in _SECRET_PAIRS for first, second in zip(words, words[1:], strict=False))


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

    Tables, arrays and other objects are named, never written out. Cost is bounded whatever ``value`` is.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    return _Copier(budget).copy(value, 0)


class _Copier:
    """Walks a value until the budget of characters and nodes is spent."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.nodes = _MAX_NODES

    def copy(self, value: Any, depth: int) -> Any:
        self.nodes -= 1
        if value is None or isinstance(value, bool | int | float) and not isinstance(value, Enum):
            self.left -= 8
            return value
        if isinstance(value, str) and not isinstance(value, Enum):
            return self._text(value)
        if depth >= _MAX_DEPTH:
            return CUT
        if isinstance(value, Mapping):
            return self._mapping(value.items(), depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value, depth)
        if is_dataclass(value) and not isinstance(value, type):
            return self._mapping(((field.name, getattr(value, field.name)) for field in fields(value)), depth)
        return self._text(_named(value))

    def _text(self, text: str) -> str:
        if len(text) > self.left:
            text, self.left = text[: max(self.left, 0)] + CUT, 0
        else:
            self.left -= len(text) + 2
        return text

    def _mapping(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        for key, item in items:
            if self.left <= 0 or self.nodes <= 0:
                copied[CUT] = True
                break
            copied[self._text(key if isinstance(key, str) else _named(key))] = self.copy(item, depth + 1)
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
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return str(value.item())
    shape = getattr(value, "shape", None)
    return f"<{type(value).__name__} {shape}>" if isinstance(shape, tuple) else f"<{type(value).__name__}>"


def _plain(key: str) -> str:
    return "_".join(_WORD.findall(key)).lower()
