"""How do names and values look in the store? Prefixed once, masked, text of bounded length, finite numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from src.errors import ContractViolation

MASK = "***"
MAX_TEXT = 500
_KEY = re.compile(r"[\w\-./ :]{1,250}")
_MODEL_NAME = re.compile(r"[\w\-. ]{1,250}")
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_CREDENTIALS = re.compile(r"(?P<scheme>\w[\w+.-]*://)[^\s/@]*@")


def prefixed(name: str, prefix: str) -> str:
    """``name`` with ``<prefix>_`` in front exactly once. Raises ContractViolation for an empty name."""
    lead = prefix.rstrip("_") + "_"
    bare = without_prefix(name, prefix)
    if not bare:
        raise ContractViolation(f"an experiment needs a name besides its prefix, not '{name}'")
    return lead + bare


def without_prefix(name: str, prefix: str) -> str:
    """``name`` without any ``<prefix>_`` in front."""
    lead, bare = prefix.rstrip("_") + "_", name.strip()
    while bare.startswith(lead):
        bare = bare.removeprefix(lead)
    return bare


class Masking:
    """Decides by its name whether a value is a secret."""

    def __init__(self, words: Iterable[str]) -> None:
        self._masked = frozenset(compact for word in words if (compact := "".join(_split(word))))
        alternatives = "|".join(r"[_\s-]?".join(map(re.escape, _split(word))) for word in words if _split(word))
        # "token: abc" and "password=abc" inside a message.
        self._assigned = re.compile(rf"(?i)\b(\w*(?:{alternatives}))(['\"]?\s*[=:]\s*)\S+") if alternatives else None

    def hides(self, name: str, value: Any = "") -> bool:
        """Whether ``name`` holds one of the words. Its plural hides everything but numbers: max_tokens is no secret."""
        words = _split(name)
        runs = {"".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
        if runs & self._masked:
            return True
        plural = any(run.removesuffix("s") in self._masked for run in runs)
        return plural and not isinstance(value, int | float)

    def text(self, name: str, value: Any) -> str:
        """``value`` as text of at most 500 characters, ``***`` where ``name`` says it is a secret."""
        return MASK if self.hides(name, value) else _as_text(self._inside(value))[:MAX_TEXT]

    def texts(self, values: Mapping[str, Any], what: str) -> dict[str, str]:
        """Every value as text. Raises ContractViolation for a name the store does not take."""
        return {checked_key(name, what): self.text(name, value) for name, value in values.items()}

    def message(self, error: BaseException) -> str:
        """The message of an exception without credentials, at most 500 characters."""
        return self.scrub(str(error))[:MAX_TEXT]

    def scrub(self, text: str) -> str:
        """``text`` without credentials in addresses and without values assigned to secret names."""
        bare = without_credentials(text)
        return self._assigned.sub(rf"\1\2{MASK}", bare) if self._assigned else bare

    def _inside(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                str(name): MASK if self.hides(str(name), item) else self._inside(item) for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._inside(item) for item in value]
        return without_credentials(value) if isinstance(value, str) else value


def without_credentials(text: str) -> str:
    """``text`` with user and password taken out of every address in it."""
    return _CREDENTIALS.sub(rf"\g<scheme>{MASK}@", text)


def checked_key(name: str, what: str) -> str:
    """``name`` if the store takes it. Raises ContractViolation: a refused name would be lost in a later replay."""
    if not isinstance(name, str) or not _KEY.fullmatch(name):
        raise ContractViolation(f"{what} name {name!r} must be 1 to 250 letters, digits, spaces or one of _ - . / :")
    return name


def checked_model_name(name: str) -> str:
    """``name`` if it can name a registered model. Raises ContractViolation."""
    if not isinstance(name, str) or not _MODEL_NAME.fullmatch(name):
        raise ContractViolation(f"a model name must be 1 to 250 letters, digits, spaces or one of _ - ., not {name!r}")
    return name


def split_finite(metrics: Mapping[str, Any]) -> tuple[dict[str, float], tuple[str, ...]]:
    """The finite metrics, and the names of the others. Raises ContractViolation for what is no number."""
    numbers = {checked_key(name, "metric"): _number(name, value) for name, value in metrics.items()}
    finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
    return finite, tuple(sorted(set(numbers) - set(finite)))


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, str | bytes):
            raise TypeError("text")
        return float(value)
    except (TypeError, ValueError) as error:
        raise ContractViolation(f"metric '{name}' must be a number, not {type(value).__name__}") from error


def _split(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)
