"""How do frozen results become JSON and come back equal, bit for bit?"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from enum import Enum
from functools import cache
from typing import Any, TypeVar

Result = TypeVar("Result")


def to_json(value: Any) -> Any:
    """Return ``value`` (nested frozen dataclasses, tuples, enums, numbers, text) as JSON types.

    Non-finite floats become null: a result that has none to report holds None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def from_json(kind: type[Result], raw: Any) -> Result:
    """Rebuild an instance of the dataclass ``kind`` from what ``to_json`` returned."""
    return typing.cast(Result, _build(kind, raw))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: Any, raw: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if raw is None else _build(_member(arguments, raw), raw)
    if origin is tuple:
        inner = arguments[:1] * len(raw) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        return tuple(_build(item_kind, item) for item_kind, item in zip(inner, raw, strict=True))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return kind(**{name: _build(_hints(kind)[name], item) for name, item in raw.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(raw)
    if kind is float:
        return math.nan if raw is None else float(raw)
    return raw


def _member(arguments: tuple[Any, ...], raw: Any) -> Any:
    """The member of a union that ``raw`` was made from: a tuple for a list, else the first that is not None."""
    members = [member for member in arguments if member is not types.NoneType]
    if isinstance(raw, list):
        return next(member for member in members if typing.get_origin(member) is tuple)
    return members[0]
