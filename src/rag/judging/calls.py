"""How is a judge model asked: how many questions at once, how often again, and until when?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from src.errors import ServiceOutage
from src.llm.client import LLMClient, LLMReply, Message
from src.rag.judging.metering import Tally
from src.resilience.outcomes import Unavailable
from src.resilience.retry import RetryPolicy

Schema = TypeVar("Schema", bound=BaseModel)
WAITS = RetryPolicy(first_delay_s=0.5, max_delay_s=20.0)


class JudgeAway(ServiceOutage):
    """The judge could not be reached within the tries and the time there was."""


@dataclass(frozen=True, slots=True)
class JudgeLimits:
    """``retry_count`` further tries after an outage; ``max_tokens`` of one reply."""

    retry_count: int
    max_tokens: int
    max_concurrent: int


class Judge:
    """Asks a model client for verdicts: at most ``max_concurrent`` requests at a time, again only after outages.

    ``metered``: the client counts its own calls (``MeteringTracer``); otherwise its replies are counted here, and
    what a refused or malformed reply cost is not known. ``model`` is the last name a server gave.
    """

    def __init__(
        self,
        client: LLMClient,
        limits: JudgeLimits,
        *,
        metered: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._limits = limits
        self._metered = metered
        self._sleep = sleep
        self._slots = asyncio.Semaphore(limits.max_concurrent)
        self.model: str | None = None

    @property
    def provider(self) -> str:
        """Who judges."""
        return self._client.provider

    async def ask(
        self, prompt: str, schema: type[Schema], *, deadline: float, tally: Tally, system: str | None = None
    ) -> Schema:
        """The reply as ``schema``. ``deadline`` is in the event loop's time.

        Raises JudgeAway, TimeoutError, and what ``LLMClient.complete`` raises.
        """
        for tried in range(self._limits.retry_count + 1):
            async with asyncio.timeout_at(deadline):
                reply = await self._once(prompt, schema, system)
            if isinstance(reply, LLMReply):
                return self._read(reply, schema, tally)
            await self._wait(reply, tried, deadline)
        raise AssertionError("unreachable: the last wait raises")

    async def _once(self, prompt: str, schema: type[Schema], system: str | None) -> LLMReply | Unavailable:
        async with self._slots:
            return await self._client.complete(
                [Message("user", prompt)],
                purpose="judge",
                schema=schema,
                system=system,
                max_tokens=self._limits.max_tokens,
            )

    def _read(self, reply: LLMReply, schema: type[Schema], tally: Tally) -> Schema:
        self.model = reply.model
        if not self._metered:
            tally.add_reply(reply)
        return reply.parsed_as(schema)

    async def _wait(self, outage: Unavailable, tried: int, deadline: float) -> None:
        """Until the next try; raises JudgeAway when there is none, or no time for it."""
        pause = max(outage.retry_after_s or 0.0, WAITS.delay_s(tried + 1))
        left = deadline - asyncio.get_running_loop().time()
        if tried >= self._limits.retry_count or pause >= left:
            raise JudgeAway(f"the judge could not be asked: {outage.reason}")
        await self._sleep(pause)
