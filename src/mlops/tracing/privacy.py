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

from src.contracts.tables import PERSONAL_COLUMNS
from src.domain.identifiers import REDACTED
from src.mlops.tracing.private_text import TextPatterns

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

_OF_TOKENS = frozenset({"access", "api", "auth", "csrf", "id", "refresh", "session"})
_PEOPLE = frozenset({"patient", "hcp", "physician", "prescriber", "doctor", "provider"})
_OF_PEOPLE = frozenset({"name", "id", "first", "last"})

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

_BROKEN_WORD = re.compile(r"[^\s\"'<>(){}\[\],;]+\Z")
_LONGEST_WORD = 256


class Redactor:
    """Replaces secrets and identifiers by key and by pattern. ``keys`` are further keys never recorded."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = frozenset({_plain(key) for key in keys} | personal_columns())
        self.is_private_key: Callable[[str], bool] = lru_cache(maxsize=4096)(self._is_private_key)
        self._replaced = TextPatterns(self._keys).replaced
        self._clean_short: Callable[[str], str] = lru_cache(maxsize=8192)(self._replaced)

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

    def _clean_person(self, value: Any) -> Any:
        """What stands under a key such as ``patient``: its name and id are private too."""
        if not isinstance(value, dict):
            return self.clean(value)
        return {
            self.clean_text(key): REDACTED if _plain(key) in _OF_PEOPLE else self._clean_item(key, item)
            for key, item in value.items()
        }

    def clean_text(self, text: str) -> str:
        """``text`` with what looks like a secret or an identifier replaced."""
        return self._clean_short(text) if len(text) < 48 else self._replaced(text)

    def _clean_item(self, key: str, item: Any) -> Any:
        plain = _plain(key)
        if plain in _PEOPLE:
            return self._clean_person(item)
        if not self.is_private_key(key) or item is None or isinstance(item, bool):
            return self.clean(item)
        # A number under "token_count" or "max_token" is a count.
        counted = _secret_words(plain) == {"token"} and not _OF_TOKENS & set(plain.split("_"))
        return self.clean(item) if counted and isinstance(item, int | float) else REDACTED

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


def personal_columns() -> frozenset[str]:
    """Columns of the data contract that identify a person, and the prescriber's key."""
    return PERSONAL_COLUMNS | {"hcp_id", "patient_id"}


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
            shown = self._text(name)  # before the item takes what is left: the key must stay whole
            copied[shown] = self.copy(item, depth + 1)
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
