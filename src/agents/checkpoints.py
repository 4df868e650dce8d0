"""How do frozen results survive in a checkpoint and come back equal?"""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from src.causal_engine.serialise import from_json, to_json

KIND = "e2i"
SEVERAL = "e2i[]"


class ResultSerializer(JsonPlusSerializer):
    """Stores registered dataclasses, and tuples of them and of texts, as typed JSON; everything else as LangGraph
    does, safe types only.

    LangGraph's own encoding turns tuples into lists and 0.0 into 0, so a resumed run would not
    equal an unbroken one.
    """

    def __init__(self, types: tuple[type, ...]) -> None:
        super().__init__(allowed_msgpack_modules=None)
        self._types = {kind.__qualname__: kind for kind in types}

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Encode one channel value."""
        if self._registered(obj):
            return KIND, orjson.dumps(_named(obj))
        if type(obj) is tuple and all(type(one) is str or self._registered(one) for one in obj):
            return SEVERAL, orjson.dumps([one if type(one) is str else _named(one) for one in obj])
        return super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Decode one channel value."""
        kind, payload = data
        if kind == KIND:
            return self._rebuilt(orjson.loads(payload))
        if kind == SEVERAL:
            return tuple(one if isinstance(one, str) else self._rebuilt(one) for one in orjson.loads(payload))
        return super().loads_typed(data)

    def _registered(self, obj: Any) -> bool:
        return dataclasses.is_dataclass(obj) and type(obj).__qualname__ in self._types

    def _rebuilt(self, named: list[Any]) -> Any:
        name, raw = named
        return from_json(self._types[name], raw)


def _named(obj: Any) -> list[Any]:
    return [type(obj).__qualname__, to_json(obj)]
