"""May this run afford another call? Reserved before a request is sent, settled when its usage is known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from src.domain.prices import PriceTable
from src.errors import BudgetExhausted, ConfigError
from src.llm.client import LLMReply, LLMRequest, Vendor
from src.llm.failures import never_ran

# English runs at about four bytes a token; three leaves room.
BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 8


@dataclass(frozen=True, slots=True)
class Spending:
    """Tokens of every kind, and US dollars."""

    tokens: int
    dollars: float


class Budget:
    """Limits of one run, shared by its concurrent calls within one event loop; None is no limit.

    A call that does not fit beside the calls under way waits for them; one that does not fit what is
    already spent raises BudgetExhausted.
    """

    def __init__(self, max_tokens: int | None = None, max_dollars: float | None = None) -> None:
        for name, limit in (("max_tokens", max_tokens), ("max_dollars", max_dollars)):
            if limit is not None and not limit > 0:
                raise ConfigError(f"budget: {name} must be above 0, not {limit}")
        self.max_tokens = max_tokens
        self.max_dollars = max_dollars
        self._spent = Spending(0, 0.0)
        self._reserved = Spending(0, 0.0)
        self._settled = asyncio.Event()

    @property
    def spent(self) -> Spending:
        """What calls have used; the full reservation of those that broke off with unknown usage."""
        return self._spent

    @property
    def reserved(self) -> Spending:
        """The most that calls under way can still use."""
        return self._reserved

    async def reserve(self, tokens: int, dollars: float | None, *, model: str) -> Spending:
        """Set aside the most a call can use; ``dollars`` None when its price is unknown. Raises BudgetExhausted."""
        if self.max_dollars is not None and dollars is None:
            raise BudgetExhausted(
                f"the cost of this call to {model} is unknown, so a budget of {self.max_dollars:g} dollars cannot be "
                "kept: add the model under prices in config/observability.yaml, or limit tokens only"
            )
        wanted = Spending(tokens, dollars or 0.0)
        while not self._fits(wanted, self._spent.tokens + self._reserved.tokens, self._committed_dollars):
            if not self._fits(wanted, self._spent.tokens, self._spent.dollars):
                raise BudgetExhausted(self._refusal(wanted, model))
            self._settled.clear()
            await self._settled.wait()
        self._reserved = Spending(self._reserved.tokens + wanted.tokens, self._reserved.dollars + wanted.dollars)
        return wanted

    def settle(self, reserved: Spending, used: Spending) -> None:
        """Replace a reservation by what the call used."""
        left = Spending(self._reserved.tokens - reserved.tokens, self._reserved.dollars - reserved.dollars)
        self._reserved = left
        self._spent = Spending(self._spent.tokens + used.tokens, self._spent.dollars + used.dollars)
        self._settled.set()

    @property
    def _committed_dollars(self) -> float:
        return self._spent.dollars + self._reserved.dollars

    def _fits(self, wanted: Spending, tokens: int, dollars: float) -> bool:
        return (self.max_tokens is None or tokens + wanted.tokens <= self.max_tokens) and (
            self.max_dollars is None or dollars + wanted.dollars <= self.max_dollars * (1 + 1e-12)
        )

    def _refusal(self, wanted: Spending, model: str) -> str:
        parts = []
        if self.max_tokens is not None:
            parts.append(f"{self._spent.tokens} of {self.max_tokens} tokens used, up to {wanted.tokens} needed")
        if self.max_dollars is not None:
            parts.append(f"{self._spent.dollars:.4f} of {self.max_dollars:g} dollars used, up to {wanted.dollars:.4f}")
        return f"the run's budget does not allow a call to {model}: " + "; ".join(parts)


class MeteredVendor:
    """Puts a cost on every reply and keeps the budget, attempt by attempt."""

    def __init__(self, vendor: Vendor, *, prices: PriceTable, budget: Budget) -> None:
        self._vendor = vendor
        self._prices = prices
        self._budget = budget

    @property
    def provider(self) -> str:
        """The vendor's name."""
        return self._vendor.provider

    async def send(self, request: LLMRequest) -> LLMReply:
        """One attempt within the budget."""
        reserved = await self._reserve(request)
        used = reserved
        try:
            reply = self._priced(await self._vendor.send(request), request)
            used = _used(reply, reserved)
        except BaseException as error:
            used = Spending(0, 0.0) if never_ran(error) else reserved
            raise
        finally:
            self._budget.settle(reserved, used)
        return reply

    async def stream(self, request: LLMRequest) -> AsyncGenerator[str | LLMReply, None]:
        """One attempt within the budget; a stream left early counts as its full reservation."""
        reserved = await self._reserve(request)
        used = reserved
        try:
            async with aclosing(self._vendor.stream(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, LLMReply):
                        piece = self._priced(piece, request)
                        used = _used(piece, reserved)
                    yield piece
        except BaseException as error:
            used = Spending(0, 0.0) if never_ran(error) else used
            raise
        finally:
            self._budget.settle(reserved, used)

    async def _reserve(self, request: LLMRequest) -> Spending:
        prompt = estimate_prompt_tokens(request)
        written = prompt if request.cache_system else 0
        dollars = self._prices.cost(request.model, prompt - written, request.max_tokens, cache_write_tokens=written)
        return await self._budget.reserve(prompt + request.max_tokens, dollars, model=request.model)

    def _priced(self, reply: LLMReply, request: LLMRequest) -> LLMReply:
        if reply.input_tokens is None or reply.output_tokens is None:
            return reply
        cost = self._prices.cost(
            request.model,
            reply.input_tokens,
            reply.output_tokens,
            cache_read_tokens=reply.cache_read_tokens,
            cache_write_tokens=reply.cache_write_tokens,
        )
        return replace(reply, cost=cost)


def estimate_prompt_tokens(request: LLMRequest) -> int:
    """A careful estimate of the prompt's tokens: text, schema and tools."""
    texts = [request.system or "", *(message.content for message in request.messages)]
    texts += [json.dumps(dict(call.arguments)) for message in request.messages for call in message.tool_calls]
    texts += [tool.name + tool.description + json.dumps(dict(tool.parameters)) for tool in request.tools]
    if request.schema is not None:
        texts.append(json.dumps(request.schema.model_json_schema()))
    written = sum(len(text.encode()) for text in texts)
    return -(-written // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * (len(request.messages) + 1)


def _used(reply: LLMReply, reserved: Spending) -> Spending:
    """What the reply says, and the reservation for what it does not say."""
    if reply.input_tokens is None or reply.output_tokens is None:
        return reserved
    tokens = reply.input_tokens + reply.output_tokens + reply.cache_read_tokens + reply.cache_write_tokens
    return Spending(tokens, reserved.dollars if reply.cost is None else reply.cost)
