"""Was this very request answered before? Replies on disk, for evaluation runs that are repeated."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from src.errors import DataUnavailable
from src.llm.client import Endpoint, LLMReply, LLMRequest, StreamPiece, ToolCall
from src.llm.structured import NotTheSchema, parse_reply
from src.resilience.outcomes import Unavailable


class CachedEndpoint:
    """Answers a repeated request from ``folder``, one file per request; only whole and valid replies are kept.

    The files hold replies, never prompts: a request is known by its hash.
    """

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self._endpoint = endpoint
        self._folder = folder

    @property
    def provider(self) -> str:
        """The endpoint's name."""
        return self._endpoint.provider

    async def send(self, request: LLMRequest) -> LLMReply | Unavailable:
        """From the cache, or asked and kept."""
        file = self._file(request)
        if (known := await asyncio.to_thread(_read, file, self.provider)) is not None:
            return known
        reply = await self._endpoint.send(request)
        await self._keep(file, request, reply)
        return reply

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPiece, None]:
        """From the cache in one piece, or asked and kept."""
        file = self._file(request)
        if (known := await asyncio.to_thread(_read, file, self.provider)) is not None:
            yield known.text
            yield known
            return
        async with aclosing(self._endpoint.stream(request)) as pieces:
            async for piece in pieces:
                if not isinstance(piece, str):
                    await self._keep(file, request, piece)
                yield piece

    def _file(self, request: LLMRequest) -> Path:
        return self._folder / f"{cache_key(self.provider, request)}.json"

    async def _keep(self, file: Path, request: LLMRequest, reply: LLMReply | Unavailable) -> None:
        if isinstance(reply, LLMReply) and _is_whole(request, reply):
            await asyncio.to_thread(_write, file, reply)


def cache_key(provider: str, request: LLMRequest) -> str:
    """SHA-256 of everything that can change the reply."""
    parts = {
        "provider": provider,
        "model": request.model,
        "system": request.system,
        "messages": [
            [turn.role, turn.content, turn.tool_call_id, [_call(call) for call in turn.tool_calls]]
            for turn in request.messages
        ],
        "schema": request.schema.model_json_schema() if request.schema else None,
        "tools": [[tool.name, tool.description, dict(tool.parameters)] for tool in request.tools],
        "max_tokens": request.max_tokens,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_whole(request: LLMRequest, reply: LLMReply) -> bool:
    if reply.stop_reason not in ("end_turn", "tool_use"):
        return False
    if request.schema is None or reply.tool_calls:
        return True
    try:
        parse_reply(reply, request.schema)
    except NotTheSchema:
        return False
    return True


def _call(call: ToolCall) -> list[Any]:
    return [call.id, call.name, dict(call.arguments)]


def _write(file: Path, reply: LLMReply) -> None:
    kept = {
        "text": reply.text,
        "model": reply.model,
        "stop_reason": reply.stop_reason,
        "tool_calls": [_call(call) for call in reply.tool_calls],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(kept, stream)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(file: Path, provider: str) -> LLMReply | None:
    """Raises DataUnavailable when the file is not one that ``_write`` left."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        calls = tuple(ToolCall(id=each[0], name=each[1], arguments=each[2]) for each in kept["tool_calls"])
        return LLMReply(
            text=kept["text"],
            parsed=None,
            model=kept["model"],
            provider=provider,
            input_tokens=0,
            output_tokens=0,
            stop_reason=kept["stop_reason"],
            cost=0.0,
            cached=True,
            tool_calls=calls,
            attempts=0,
        )
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError) as error:
        raise DataUnavailable(f"{file} is not a kept model reply; delete it and run again") from error
