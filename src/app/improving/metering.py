"""What did the calls of one answer use, and could the model be asked at all?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from src.errors import BudgetExhausted, DataUnavailable, ServiceRefused
from src.llm.client import LLMClient, LLMReply, Message, ReplyStream
from src.resilience.outcomes import Unavailable


@dataclass(slots=True)
class Used:
    """Adds up. ``tokens`` and ``dollars`` are None from the first call on whose usage or price is not known.

    ``spent_out`` and ``out_of_reach`` are why the model was not asked, or did not answer.
    """

    calls: int = 0
    tokens: int | None = 0
    dollars: float | None = 0.0
    spent_out: BudgetExhausted | None = None
    out_of_reach: str | None = None

    def add(self, reply: LLMReply) -> None:
        """One reply. What the cache gave again costs nothing and counts with its tokens."""
        read = None if reply.input_tokens is None else reply.input_tokens + reply.cache_read_tokens
        told = None if read is None or reply.output_tokens is None else read + reply.output_tokens
        self.calls += 1
        self.tokens = None if self.tokens is None or told is None else self.tokens + told
        self.dollars = None if self.dollars is None or reply.cost is None else self.dollars + reply.cost

    def check(self) -> None:
        """A component goes on without a model; what it then says is none of the prompt's doing.

        Raises BudgetExhausted, and DataUnavailable for a model that was out of reach.
        """
        if self.spent_out is not None:
            raise self.spent_out
        if self.out_of_reach is not None:
            raise DataUnavailable(f"the model could not be asked: {self.out_of_reach}")


class MeteredClient:
    """A client whose replies, and what came instead of them, are noted in ``used``."""

    def __init__(self, client: LLMClient) -> None:
        self._client = client
        self.used = Used()

    @property
    def provider(self) -> str:
        """That of the client."""
        return self._client.provider

    async def complete(self, messages: Sequence[Message], **options: Any) -> LLMReply | Unavailable:
        """See ``LLMClient``."""
        try:
            reply = await self._client.complete(messages, **options)
        except BudgetExhausted as error:
            self.used.spent_out = error
            raise
        except ServiceRefused as error:
            self.used.out_of_reach = str(error)
            raise
        if isinstance(reply, Unavailable):
            self.used.out_of_reach = reply.reason
        else:
            self.used.add(reply)
        return reply

    def stream(self, messages: Sequence[Message], **options: Any) -> AbstractAsyncContextManager[ReplyStream]:
        """See ``LLMClient``; what is read along is not counted."""
        return self._client.stream(messages, **options)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()
