"""What can a caller ask of a language model, and what comes back?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel

from src.resilience.outcomes import Unavailable

Purpose = Literal["judge", "classification", "reasoning", "narration", "reflection"]
StopReason = Literal["end_turn", "max_tokens", "tool_use", "refusal", "other"]
Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model asks for; its result goes back as a message of role ``tool`` with the same id."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool on offer; ``parameters`` is the JSON schema of its arguments, an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``tool_calls`` belong to the assistant's turns, ``tool_call_id`` to those of role ``tool``."""

    role: Literal["user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class LLMReply:
    """What a model said. Tokens are those billed: ``input_tokens`` beside, not including, the cache tokens.

    Tokens are None where the server does not report them, ``cost`` (US dollars) where tokens or the price
    are unknown. ``model`` is the name the server gave. A ``cached`` reply used no tokens and costs 0.
    """

    text: str
    parsed: BaseModel | None
    model: str
    provider: str
    input_tokens: int | None
    output_tokens: int | None
    stop_reason: StopReason
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: float | None = None
    cached: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    attempts: int = 1

    def parsed_as(self, schema: type[Schema]) -> Schema:
        """``parsed``, typed. Raises TypeError when the call did not ask for that schema."""
        if not isinstance(self.parsed, schema):
            raise TypeError(f"the reply was not asked for as {schema.__name__}")
        return self.parsed


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """One request to one model, with every default filled in."""

    messages: tuple[Message, ...]
    model: str
    max_tokens: int
    purpose: Purpose = "reasoning"
    system: str | None = None
    schema: type[BaseModel] | None = None
    tools: tuple[Tool, ...] = ()
    cache_system: bool = False
    repair: bool = field(default=False, compare=False)
    """True for the request that asks for a corrected reply."""


StreamPiece = str | LLMReply | Unavailable
"""Pieces of text, then exactly one reply, or why there is none."""


class ReplyStream:
    """Text as it arrives; ``reply`` after the last piece."""

    def __init__(self, pieces: AsyncIterator[StreamPiece]) -> None:
        self._pieces = pieces
        self._reply: LLMReply | Unavailable | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._reply is not None:
            raise StopAsyncIteration
        piece = await anext(self._pieces)
        if isinstance(piece, str):
            return piece
        self._reply = piece
        raise StopAsyncIteration

    @property
    def reply(self) -> LLMReply | Unavailable:
        """The whole reply with its usage; Unavailable when it broke off. Raises RuntimeError before the end."""
        if self._reply is None:
            raise RuntimeError("the reply is known after the last piece of text")
        return self._reply


class LLMClient(Protocol):
    """A provider behind the one interface the project uses. One client belongs to one event loop."""

    @property
    def provider(self) -> str:
        """``anthropic``, ``openai``, ``langchain``, ``scripted`` or ``none``."""
        ...

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
        """Ask once. ``model`` defaults to the configured one for ``purpose``; with ``schema`` the reply is parsed.

        Returns Unavailable when no model is configured, or it cannot be reached in time. Raises
        BudgetExhausted before anything is sent, MalformedReply when the reply does not match the schema
        after one repair, ModelRefused, and ServiceRefused (credentials, unknown model, invalid request).
        """
        ...

    def stream(
        self,
        messages: Sequence[Message],
        *,
        purpose: Purpose = "reasoning",
        model: str | None = None,
        max_tokens: int | None = None,
        system: str | None = None,
        tools: Sequence[Tool] = (),
        cache_system: bool = False,
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Ask and read along: ``async with client.stream(…) as s: async for text in s: …``, then ``s.reply``.

        Raises as ``complete`` does, while iterating.
        """
        ...

    async def aclose(self) -> None:
        """Give up connections."""
        ...


class Vendor(Protocol):
    """One SDK: a request in, a reply out, and the SDK's own errors."""

    @property
    def provider(self) -> str:
        """Name on replies and spans."""
        ...

    async def send(self, request: LLMRequest) -> LLMReply:
        """One attempt."""
        ...

    def stream(self, request: LLMRequest) -> AsyncGenerator[str | LLMReply, None]:
        """One attempt: pieces of text, then the reply."""
        ...


class Endpoint(Protocol):
    """A vendor made safe: outages are values, refusals are our errors."""

    @property
    def provider(self) -> str:
        """Name on replies and spans."""
        ...

    async def send(self, request: LLMRequest) -> LLMReply | Unavailable:
        """Ask, with retries."""
        ...

    def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPiece, None]:
        """The same, piece by piece."""
        ...
