"""Which digest has a state, the same in every process?"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from src.causal_engine.serialise import to_json

_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_SERIALIZE_NUMPY


def digest(written: object) -> str:
    """SHA-256 of the canonical JSON of a state or an update: keys sorted, results as they are stored.

    Raises TypeError for a value that has no JSON.
    """
    return hashlib.sha256(orjson.dumps(written, default=_plain, option=_CANONICAL)).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(type(value).__name__)
