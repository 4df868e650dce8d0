"""How do frozen results become JSON and, bit for bit, results again?

The dataclasses' own type hints drive both directions, so a new field needs no code here.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from src.errors import ContractViolation

Result = TypeVar("Result")
NonFinite = Literal["text", "null"]
EncodeFloat = Callable[[float], float | str | None]

# JSON has no NaN and no infinity, and PostgreSQL's jsonb (numeric) has no negative zero: these few travel as text.
_TEXT_TO_FLOAT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "-0.0": -0.0}


def to_json(value: Any, *, nonfinite: NonFinite = "text") -> Any:
    """Return a result (a frozen dataclass) as JSON-ready dicts, lists and scalars.

    With "text" nothing is lost: floats that JSON or jsonb cannot hold become the strings "NaN",
    "Infinity", "-Infinity", "-0.0". With "null" (for readers) what is not a finite number is null.
    Raises ContractViolation when a value does not have its declared type.
    """
    encode_float = _float_or_text if nonfinite == "text" else _float_or_null
    return _encode(value, type(value), type(value).__name__, encode_float)


def from_json(kind: type[Result], stored: Any) -> Result:
    """Rebuild the instance of the dataclass ``kind`` that ``to_json`` returned; equal to it in every bit.

    Raises ContractViolation naming the place when a key is missing or unknown or a value is wrong.
    """
    result: Result = _decode(stored, kind, kind.__name__)
    return result


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _encode(value: Any, hint: Any, where: str, encode_float: EncodeFloat) -> Any:
    if value is None:
        return _none_allowed(hint, where)
    hint, form = _form(hint)
    if form is dict:
        _require(isinstance(value, hint), where, value)
        hints = _hints(hint)
        return {
            name: _encode(getattr(value, name), kind, f"{where}.{name}", encode_float) for name, kind in hints.items()
        }
    if form is list:
        _require(isinstance(value, tuple), where, value)
        kinds = _item_hints(hint, len(value), where)
        pairs = enumerate(zip(value, kinds, strict=True))
        return [_encode(item, kind, f"{where}[{i}]", encode_float) for i, (item, kind) in pairs]
    return _encode_scalar(value, hint, where, encode_float)


def _encode_scalar(value: Any, hint: Any, where: str, encode_float: EncodeFloat) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        _require(isinstance(value, hint), where, value)
        return value.value
    if hint is str:
        _require(isinstance(value, str), where, value)
        return str(value)
    if get_origin(hint) is Literal:
        _require(value in get_args(hint), where, value)
        return value
    if hint is date:
        _require(type(value) is date, where, value)
        return str(value)
    try:
        return encode_float(float(value)) if hint is float else hint(value)
    except (TypeError, ValueError) as error:
        raise ContractViolation(f"{where}: {value!r} is not a {getattr(hint, '__name__', hint)}") from error


def _float_or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _float_or_text(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "-0.0" if value == 0 and math.copysign(1.0, value) < 0 else value


def _decode(stored: Any, hint: Any, where: str) -> Any:
    if stored is None:
        return _none_allowed(hint, where)
    hint, form = _form(hint)
    if form is dict:
        return _decode_dataclass(stored, hint, where)
    if form is list:
        _require(isinstance(stored, list | tuple), where, stored)
        kinds = _item_hints(hint, len(stored), where)
        return tuple(_decode(item, k, f"{where}[{i}]") for i, (item, k) in enumerate(zip(stored, kinds, strict=True)))
    return _decode_scalar(stored, hint, where)


def _decode_dataclass(stored: Any, kind: type, where: str) -> Any:
    _require(isinstance(stored, Mapping), where, stored)
    hints = _hints(kind)
    unknown = sorted(set(stored) - set(hints))
    if unknown:
        raise ContractViolation(f"{where}: unknown key '{unknown[0]}'; it was stored by another version of E2I")
    required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    missing = sorted(required - set(stored))
    if missing:
        raise ContractViolation(f"{where}: key '{missing[0]}' is missing; it was stored by another version of E2I")
    return kind(**{name: _decode(value, hints[name], f"{where}.{name}") for name, value in stored.items()})


def _decode_scalar(stored: Any, hint: Any, where: str) -> Any:
    if hint is float:
        if isinstance(stored, str):
            _require(stored in _TEXT_TO_FLOAT, where, stored)
            return _TEXT_TO_FLOAT[stored]
        _require(isinstance(stored, int | float) and not isinstance(stored, bool), where, stored)
        return float(stored)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(stored)
        except ValueError as error:
            raise ContractViolation(f"{where}: {stored!r} is no {hint.__name__}") from error
    if get_origin(hint) is Literal:
        _require(stored in get_args(hint), where, stored)
        return stored
    if hint is date:
        return _decode_date(stored, where)
    _require(type(stored) is hint, where, stored)
    return stored


def _decode_date(stored: Any, where: str) -> date:
    _require(isinstance(stored, str), where, stored)
    try:
        return date.fromisoformat(stored)
    except ValueError as error:
        raise ContractViolation(f"{where}: {stored!r} is no date") from error


@cache
def _form(hint: Any) -> tuple[Any, type]:
    """A hint without None, and what becomes of its values: a dict, a list or one value."""
    bare = _without_none(hint)
    if dataclasses.is_dataclass(bare) and isinstance(bare, type):
        return bare, dict
    return bare, list if get_origin(bare) is tuple else object


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else hint
    return hint


def _none_allowed(hint: Any, where: str) -> None:
    if type(None) not in get_args(hint):
        raise ContractViolation(f"{where}: there is no value where one is required")


def _item_hints(hint: Any, length: int, where: str) -> tuple[Any, ...]:
    kinds = get_args(hint)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return (kinds[0],) * length
    if len(kinds) != length:
        raise ContractViolation(f"{where}: expected {len(kinds)} values, found {length}")
    return kinds


def _require(condition: bool, where: str, value: Any) -> None:
    if not condition:
        raise ContractViolation(f"{where}: unexpected value {str(value)[:40]!r}")
