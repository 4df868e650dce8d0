"""What Python value does a JSON or list cell stand for, and how is it written as text?"""

from __future__ import annotations

import json
from typing import Any

NOT_A_VALUE = object()


def as_json(value: Any) -> Any:
    """The object or array that ``value`` is or, as text, spells; ``NOT_A_VALUE`` when it is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_refuse_constant)
        except ValueError:
            return NOT_A_VALUE
    elif hasattr(value, "tolist"):
        value = value.tolist()
    return value if isinstance(value, dict | list) else NOT_A_VALUE


def as_list(value: Any) -> list[str] | object:
    """The list of texts that ``value`` (sequence, array or JSON array text) is; ``NOT_A_VALUE`` otherwise."""
    parsed = list(value) if isinstance(value, tuple) else as_json(value)
    if isinstance(parsed, list) and all(isinstance(item, str) for item in parsed):
        return parsed
    return NOT_A_VALUE


def json_text(value: Any) -> str:
    """``value`` as JSON text that PostgreSQL accepts; ValueError for NaN and what JSON cannot hold."""
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
