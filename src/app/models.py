"""Which language model answers here, what does it cost, and does it really answer?"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, cast, get_args

from pydantic import BaseModel

from src.app.tracing import CALLER, traced_database
from src.domain.prices import ModelPrice, PriceTable
from src.errors import (
    BudgetExhausted,
    ContractViolation,
    DatabaseUnavailable,
    LLMError,
    MalformedReply,
    ServiceOutage,
    ServiceRefused,
    nearest_names,
)
from src.llm.client import LLMClient, LLMReply, Message, Purpose
from src.llm.configuration import CacheSettings, LLMSettings, Provider, load_llm_config
from src.llm.detection import detect_provider, open_client
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.resilience.outcomes import Unavailable
from src.settings import shown_address

WORD = "ready"
QUESTION = f"This checks a connection. Answer with the word '{WORD}'."
FLUSH_S = 5.0


class OneWord(BaseModel):
    """What the model is asked for."""

    word: str


@dataclass(frozen=True, slots=True)
class PurposeModel:
    """The model of a purpose; ``price`` is None when its cost is not known."""

    purpose: Purpose
    model: str
    price: ModelPrice | None

    def document(self) -> dict[str, Any]:
        """JSON form; prices in US dollars per million tokens."""
        price = None if self.price is None else {"input": self.price.input, "output": self.price.output}
        return {"purpose": self.purpose, "model": self.model, "price_per_million_tokens": price}


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """What is configured; ``base_url`` is None for the provider's own address, and never holds a password."""

    provider: Provider
    why: str
    base_url: str | None
    models: tuple[PurposeModel, ...]
    prices_as_of: date
    max_tokens: int | None
    max_dollars: float | None

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "provider": self.provider,
            "why": self.why,
            "base_url": self.base_url,
            "models": [one.document() for one in self.models],
            "prices_as_of": self.prices_as_of,
            "budget": {"max_tokens": self.max_tokens, "max_dollars": self.max_dollars},
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no usable answer."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckedCall:
    """One call: its reply, or the ``problem``; ``unstored`` says why its span is not in the database yet."""

    purpose: Purpose
    model: str
    latency_ms: float
    reply: LLMReply | None
    problem: Problem | None
    trace_id: str | None
    warnings: tuple[str, ...]
    unstored: str | None

    def document(self) -> dict[str, Any]:
        """JSON form; tokens and cost are null where they are not known."""
        reply, problem = self.reply, self.problem
        return {
            "purpose": self.purpose,
            "model": self.model,
            "latency_ms": self.latency_ms,
            "answered_by": reply and reply.model,
            "input_tokens": reply and reply.input_tokens,
            "output_tokens": reply and reply.output_tokens,
            "cost": reply and reply.cost,
            "attempts": reply and reply.attempts,
            "problem": problem and {"type": problem.type, "message": problem.message},
            "trace_id": self.trace_id,
            "warnings": list(self.warnings),
            "unstored": self.unstored,
        }


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """The setup and the call made with it; no call where no provider is configured."""

    setup: ModelSetup
    call: CheckedCall | None

    @property
    def usable(self) -> bool:
        """False when a provider is configured and does not answer as asked."""
        return self.call is None or self.call.problem is None

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {**self.setup.document(), "usable": self.usable, "call": self.call and self.call.document()}


def known_purpose(name: str) -> Purpose:
    """A purpose of models; raises ContractViolation."""
    if name not in get_args(Purpose):
        raise ContractViolation(f"there is no purpose '{name[:40]}'; {nearest_names(name, get_args(Purpose))}")
    return cast(Purpose, name)


def price_date() -> date:
    """The day whose published prices are configured."""
    return get_opik_connector().config.prices.as_of


def model_setup(config: LLMSettings, prices: PriceTable) -> ModelSetup:
    """What is configured and why that provider is taken.

    Raises ConfigError as ``detect_provider`` does.
    """
    provider = detect_provider(config)
    server = {"anthropic": config.anthropic, "openai": config.openai}.get(provider)
    names = server.models.by_purpose() if server else {}
    if provider == "scripted":
        names = dict.fromkeys(get_args(Purpose), "scripted")
    return ModelSetup(
        provider=provider,
        why=_why(config, provider),
        base_url=shown_address(server.base_url) if server and server.base_url else None,
        models=tuple(PurposeModel(purpose, name, prices.price(name)) for purpose, name in names.items()),
        prices_as_of=prices.as_of,
        max_tokens=config.budget.max_tokens,
        max_dollars=config.budget.max_dollars,
    )


async def check_model(purpose: str = "judge", *, on_progress: Callable[[str], None] = lambda _: None) -> ModelCheck:
    """Ask the model of a purpose for one word, as an object, within the configured limits and past the cache.

    A wrong answer, a refusal and an outage are the result's ``problem``. Without a database the span of
    the call waits in the spool, and the result says so. Raises ContractViolation for an unknown purpose,
    ConfigError, BudgetExhausted when the budget allows no call at all, and MigrationError.
    """
    asked, config = known_purpose(purpose), load_llm_config()
    connector = get_opik_connector()
    setup = model_setup(config, connector.config.prices)
    if setup.provider == "none":
        return ModelCheck(setup, None)
    model = next(one.model for one in setup.models if one.purpose == asked)
    async with AsyncExitStack() as opened:
        away = await _attach(opened, on_progress)
        on_progress(f"asking {model}")
        call = await _call(config, connector, asked, model)
        await connector.flush(FLUSH_S)
        return ModelCheck(setup, _with_whereabouts(call, connector, away))


async def _attach(opened: AsyncExitStack, on_progress: Callable[[str], None]) -> DatabaseUnavailable | None:
    """Let spans go to the database; a model can be checked while that is away."""
    on_progress("opening the database")
    try:
        await opened.enter_async_context(traced_database())
    except DatabaseUnavailable as error:
        return error
    return None


async def _call(config: LLMSettings, connector: OpikConnector, purpose: Purpose, model: str) -> CheckedCall:
    uncached = config.model_copy(update={"cache": CacheSettings(enabled=False)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        client = open_client(uncached, prices=connector.config.prices, tracer=connector)
    span = connector.trace_agent(CALLER, "check_model", metadata={"purpose": purpose})
    reply, problem, began = None, None, time.monotonic()
    try:
        async with span:
            reply = await _ask(client, purpose, model)
    except BudgetExhausted:
        raise
    except (LLMError, ServiceRefused, ServiceOutage) as error:
        problem = Problem(type(error).__name__, str(error))
    finally:
        latency_ms = (time.monotonic() - began) * 1000.0
        await client.aclose()
    trace_id = span.trace_id if connector.is_enabled else None
    told = tuple(str(one.message) for one in caught if one.category is UserWarning)
    return CheckedCall(purpose, model, latency_ms, reply, problem, trace_id, told, None)


async def _ask(client: LLMClient, purpose: Purpose, model: str) -> LLMReply:
    """The reply with the right word; raises MalformedReply for another one, and ServiceOutage."""
    reply = await client.complete([Message("user", QUESTION)], purpose=purpose, schema=OneWord)
    if isinstance(reply, Unavailable):
        raise ServiceOutage(reply.reason)
    if reply.parsed_as(OneWord).word.strip().strip(".").lower() != WORD:
        raise MalformedReply(f"{model} was asked for the word '{WORD}' and answered with another one")
    return reply


def _with_whereabouts(call: CheckedCall, connector: OpikConnector, away: DatabaseUnavailable | None) -> CheckedCall:
    pending = connector.get_status()["sinks"].get("database", {}).get("pending", 0)
    if not pending:
        return call
    return replace(call, unstored=f"the trace waits in the spool: {away or 'the database has not taken it yet'}")


def _why(config: LLMSettings, provider: Provider) -> str:
    if config.provider is not None:
        return f"set {_origin('E2I_LLM_PROVIDER')}"
    if provider == "none":
        nothing = "no provider is set, and neither ANTHROPIC_API_KEY nor OPENAI_API_KEY"
        own = config.anthropic.base_url or config.openai.base_url
        return f"{nothing}; a server of your own needs E2I_LLM_PROVIDER beside its address" if own else nothing
    return f"its key is set {_origin(f'{provider.upper()}_API_KEY')}"


def _origin(variable: str) -> str:
    return f"by {variable}" if os.environ.get(variable) else "in config/llm.yaml"
