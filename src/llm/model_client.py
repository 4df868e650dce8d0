"""How does a question to a model become a validated reply? The client callers hold, over any provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Self

from pydantic import BaseModel

from src.errors import ConfigError, MalformedReply, ModelRefused
from src.llm.client import Endpoint, LLMReply, LLMRequest, Message, Purpose, ReplyStream, StreamPiece, Tool
from src.llm.structured import NotTheSchema, parse_reply, repair_request
from src.resilience.outcomes import Unavailable

DEFAULT_MAX_TOKENS = 1024


class ModelClient:
    """An ``LLMClient`` over an endpoint: picks the model of a purpose, parses, repairs once, names refusals."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        models: Mapping[Purpose, str],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._models = dict(models)
        self._max_tokens = max_tokens
        self._close = close

    @property
    def provider(self) -> str:
        """Who answers."""
        return self._endpoint.provider

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        purpose: Purpose = "reasoning",
        model: str | None = None,
        max_tokens: int | None = None,
        schema: type[BaseModel] | None = None,
        system: str | None = None,
        tools: Sequence[Tool] = (),
        cache_system: bool = False,
    ) -> LLMReply | Unavailable:
        """See ``LLMClient.complete``."""
        request = replace(
            self._request(messages, purpose, model, max_tokens, system, tools, cache_system), schema=schema
        )
        reply = await self._ask(request)
        if schema is None or isinstance(reply, Unavailable) or reply.tool_calls:
            return reply
        try:
            return replace(reply, parsed=parse_reply(reply, schema))
        except NotTheSchema as problem:
            return await self._repaired(repair_request(request, reply, problem), schema)

    @asynccontextmanager
    async def stream(
        self,
        messages: Sequence[Message],
        *,
        purpose: Purpose = "reasoning",
        model: str | None = None,
        max_tokens: int | None = None,
        system: str | None = None,
        tools: Sequence[Tool] = (),
        cache_system: bool = False,
    ) -> AsyncIterator[ReplyStream]:
        """See ``LLMClient.stream``."""
        request = self._request(messages, purpose, model, max_tokens, system, tools, cache_system)
        async with (
            aclosing(self._endpoint.stream(request)) as pieces,
            aclosing(_without_refusal(pieces, request.model)) as accepted,
        ):
            yield ReplyStream(accepted)

    async def aclose(self) -> None:
        """Give up connections."""
        if self._close is not None:
            await self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _request(
        self,
        messages: Sequence[Message],
        purpose: Purpose,
        model: str | None,
        max_tokens: int | None,
        system: str | None,
        tools: Sequence[Tool],
        cache_system: bool,
    ) -> LLMRequest:
        name = model or self._models.get(purpose)
        if name is None:
            raise ConfigError(f"no model is configured for {purpose}: add {self.provider}.models.{purpose} to the file")
        limit = self._max_tokens if max_tokens is None else max_tokens
        if not messages or limit < 1:
            raise ValueError("a request needs at least one message and a positive limit of tokens")
        return LLMRequest(tuple(messages), name, limit, purpose, system, tools=tuple(tools), cache_system=cache_system)

    async def _ask(self, request: LLMRequest) -> LLMReply | Unavailable:
        reply = await self._endpoint.send(request)
        if isinstance(reply, LLMReply):
            _refuse_refusal(reply, request.model)
        return reply

    async def _repaired(self, request: LLMRequest, schema: type[BaseModel]) -> LLMReply | Unavailable:
        reply = await self._ask(request)
        if isinstance(reply, Unavailable):
            return reply
        try:
            return replace(reply, parsed=parse_reply(reply, schema))
        except NotTheSchema as problem:
            raise MalformedReply(
                f"{request.model} did not answer as {schema.__name__}, also when asked again: {problem.for_people}"
            ) from None


async def _without_refusal(pieces: AsyncIterator[StreamPiece], model: str) -> AsyncGenerator[StreamPiece, None]:
    async for piece in pieces:
        if isinstance(piece, LLMReply):
            _refuse_refusal(piece, model)
        yield piece


def _refuse_refusal(reply: LLMReply, model: str) -> None:
    if reply.stop_reason == "refusal":
        raise ModelRefused(f"{model} declined to answer; reword the request or use another model")
