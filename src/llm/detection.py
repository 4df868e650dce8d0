"""Which provider answers here, and how is its client put together?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from src.domain.prices import PriceTable
from src.errors import ConfigError
from src.llm.budget import Budget, MeteredVendor
from src.llm.cache import CachedEndpoint
from src.llm.client import Endpoint, LLMClient, Purpose, Vendor
from src.llm.configuration import LLMSettings, Provider, ProviderSettings
from src.llm.guarded import GuardedEndpoint
from src.llm.model_client import ModelClient
from src.llm.none import NoModel
from src.llm.scripted import ScriptedVendor, load_script
from src.llm.traced import TracedEndpoint, Tracer
from src.resilience.circuit_breaker import CircuitBreaker
from src.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class ClosableVendor(Vendor, Protocol):
    """A vendor with connections to give up."""

    async def aclose(self) -> None:
        """Close them."""
        ...


def detect_provider(config: LLMSettings) -> Provider:
    """The configured provider, else the one a key is there for, else ``none``.

    Raises ConfigError when the configured one cannot be reached: neither key nor base URL, or no script.
    """
    if config.provider is None:
        return "anthropic" if config.anthropic.key else "openai" if config.openai.key else "none"
    if config.provider == "scripted" and not config.scripted.replies:
        raise ConfigError("the model provider is scripted but there is no script: set E2I_SCRIPTED_REPLIES to a file")
    if config.provider in ("anthropic", "openai"):
        settings = config.anthropic if config.provider == "anthropic" else config.openai
        if not settings.is_reachable:
            name = config.provider.upper()
            raise ConfigError(
                f"the model provider is {config.provider} but neither {name}_API_KEY nor {name}_BASE_URL is set"
            )
    return config.provider


def open_client(
    config: LLMSettings,
    *,
    prices: PriceTable,
    tracer: Tracer | None = None,
    budget: Budget | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> LLMClient:
    """A client for one run in one event loop; ``budget`` defaults to the configured limits. Close it with ``aclose``.

    Raises ConfigError. Warns (UserWarning) of models that are about to end.
    """
    provider = detect_provider(config)
    if provider == "none":
        return NoModel()
    vendor, models = _vendor(provider, config)
    return client_over(vendor, config, models=models, prices=prices, tracer=tracer, budget=budget, sleep=sleep)


def langchain_client(
    model: BaseChatModel,
    config: LLMSettings,
    *,
    name: str,
    prices: PriceTable,
    tracer: Tracer | None = None,
    budget: Budget | None = None,
) -> ModelClient:
    """A client over a LangChain chat model; ``name`` is the model's name in prices and records."""
    from src.llm.langchain import LangChainVendor

    models = dict.fromkeys(config.anthropic.models.by_purpose(), name)
    return client_over(LangChainVendor(model), config, models=models, prices=prices, tracer=tracer, budget=budget)


def client_over(
    vendor: ClosableVendor,
    config: LLMSettings,
    *,
    models: Mapping[Purpose, str],
    prices: PriceTable,
    tracer: Tracer | None = None,
    budget: Budget | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> ModelClient:
    """Limits, cache and tracing of ``config`` around any vendor; from the wire outwards, in this order."""
    limits = budget or Budget(config.budget.max_tokens, config.budget.max_dollars)
    endpoint: Endpoint = GuardedEndpoint(
        MeteredVendor(vendor, prices=prices, budget=limits),
        breaker=CircuitBreaker(vendor.provider, config.circuit_breaker.breaker()),
        retry=config.retries.policy(),
        concurrency=config.concurrency,
        deadline_s=config.timeouts.deadline_seconds,
        sleep=sleep,
    )
    if config.cache.enabled:
        endpoint = CachedEndpoint(endpoint, config.cache.path)
    if tracer is not None:
        endpoint = TracedEndpoint(endpoint, tracer)
    return ModelClient(endpoint, models=models, max_tokens=config.max_tokens, close=vendor.aclose)


def _vendor(provider: Provider, config: LLMSettings) -> tuple[ClosableVendor, dict[Purpose, str]]:
    timeout_s = config.timeouts.request_seconds
    if provider == "anthropic":
        return _anthropic(config.anthropic, timeout_s), config.anthropic.models.by_purpose()
    if provider == "openai":
        return _openai(config.openai, timeout_s), config.openai.models.by_purpose()
    script = load_script(PROJECT_ROOT / Path(config.scripted.replies).expanduser())
    return ScriptedVendor(script), dict.fromkeys(config.anthropic.models.by_purpose(), "scripted")


def _anthropic(settings: ProviderSettings, timeout_s: float) -> ClosableVendor:
    with _installed("anthropic"):
        from src.llm.anthropic import AnthropicVendor, warn_of_deprecated

        warn_of_deprecated(settings.models.by_purpose().values())
        unenforced = settings.structured_output == "auto" and not settings.is_anthropics_own
        return AnthropicVendor(
            api_key=settings.key,
            base_url=settings.base_url or None,
            timeout_s=timeout_s,
            schemas_in_prompt=unenforced or settings.structured_output == "prompt",
        )


def _openai(settings: ProviderSettings, timeout_s: float) -> ClosableVendor:
    with _installed("openai"):
        from src.llm.openai import OpenAIVendor

        return OpenAIVendor(
            api_key=settings.key,
            base_url=settings.base_url or None,
            timeout_s=timeout_s,
            schemas_in_prompt=settings.structured_output == "prompt",
        )


@contextmanager
def _installed(package: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ConfigError(f"the {package} package is not installed: pip install 'e2i[llm]'") from error
