"""How do frozen results survive in a checkpoint and come back equal?"""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from src.causal_engine.serialise import from_json, to_json

KIND = "e2i"


class ResultSerializer(JsonPlusSerializer):
    """Stores registered dataclasses as typed JSON; everything else as LangGraph does, safe types only.

    LangGraph's own encoding turns tuples into lists and 0.0 into 0, so a resumed run would not
    equal an unbroken one.
    """

    def __init__(self, types: tuple[type, ...]) -> None:
        super().__init__(allowed_msgpack_modules=None)
        self._types = {kind.__qualname__: kind for kind in types}

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Encode one channel value."""
        name = type(obj).__qualname__
        if dataclasses.is_dataclass(obj) and name in self._types:
            return KIND, orjson.dumps([name, to_json(obj)])
        return super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Decode one channel value."""
        kind, payload = data
        if kind != KIND:
            return super().loads_typed(data)
        name, raw = orjson.loads(payload)
        return from_json(self._types[name], raw)
