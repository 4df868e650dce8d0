"""What does a caller get when no model is configured? The same typed answer every time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from src.llm.client import Message, ReplyStream, StreamPiece
from src.llm.failures import COMPONENT
from src.resilience.outcomes import Unavailable

NOT_CONFIGURED = Unavailable(
    COMPONENT,
    "no model is configured: set ANTHROPIC_API_KEY or OPENAI_API_KEY, or provider and base_url in config/llm.yaml",
)


class NoModel:
    """An ``LLMClient`` that answers Unavailable."""

    provider = "none"

    async def complete(self, messages: Sequence[Message], **_: Any) -> Unavailable:
        """Unavailable."""
        return NOT_CONFIGURED

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message], **_: Any) -> AsyncIterator[ReplyStream]:
        """A stream without text whose reply is Unavailable."""
        yield ReplyStream(_nothing())

    async def aclose(self) -> None:
        """Nothing is open."""


async def _nothing() -> AsyncIterator[StreamPiece]:
    yield NOT_CONFIGURED
