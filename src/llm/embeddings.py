"""How are texts embedded by an OpenAI-compatible server, with the limits that model calls have?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from src.domain.prices import PriceTable
from src.errors import ConfigError, ContractViolation
from src.llm.budget import BYTES_PER_TOKEN, Budget, Spending
from src.llm.configuration import LLMSettings
from src.llm.failures import BrokenReply, as_refusal, as_unavailable, never_ran
from src.llm.openai import open_sdk
from src.llm.traced import LLMSpan, Tracer
from src.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from src.resilience.outages import is_outage
from src.resilience.outcomes import Unavailable
from src.resilience.retry import retry_async

if TYPE_CHECKING:
    from openai.types import CreateEmbeddingResponse

Vectors = NDArray[np.float32]

PROVIDER = "openai"
_NOT_VECTORS = "answered with something that is no embedding; check the base URL"


class OpenAIEmbeddings:
    """An ``EmbeddingProvider`` over the official SDK: one breaker, one budget, retries within one deadline a request.

    ``batch_size`` texts go in one request, several requests at once. Texts are never put on spans.
    """

    def __init__(
        self,
        settings: LLMSettings,
        *,
        model: str,
        dims: int,
        batch_size: int,
        prices: PriceTable,
        budget: Budget | None = None,
        tracer: Tracer | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._model = model
        self._dims = dims
        self._batch_size = batch_size
        self._prices = prices
        self._budget = budget or Budget(settings.budget.max_tokens, settings.budget.max_dollars)
        self._tracer = tracer
        self._sleep = sleep
        self._breaker = CircuitBreaker(f"{PROVIDER} embeddings", settings.circuit_breaker.breaker())
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._sdk = _sdk(settings)

    @property
    def model(self) -> str:
        """Name stored beside every vector."""
        return self._model

    @property
    def dims(self) -> int:
        """Length of a vector."""
        return self._dims

    @property
    def spent(self) -> Spending:
        """What the requests have used so far."""
        return self._budget.spent

    async def embed(self, texts: Sequence[str]) -> Vectors | Unavailable:
        """Unit vectors, one a text; Unavailable when the server cannot be reached in time.

        Raises ContractViolation for an empty text, BudgetExhausted before anything is sent, ServiceRefused
        (credentials, unknown model), ConfigError when the vectors have another length than configured.
        """
        for at, text in enumerate(texts):
            if not text.strip():
                raise ContractViolation(f"text {at + 1} of {len(texts)} is empty: there is nothing to embed")
        parts = [texts[at : at + self._batch_size] for at in range(0, len(texts), self._batch_size)]
        blocks: list[Vectors] = []
        for done in await asyncio.gather(*map(self._request, parts)):
            if isinstance(done, Unavailable):
                return done
            blocks.append(done)
        return np.concatenate(blocks) if blocks else np.empty((0, self._dims), dtype=np.float32)

    async def aclose(self) -> None:
        """Close connections."""
        await self._sdk.close()

    async def _request(self, texts: Sequence[str]) -> Vectors | Unavailable:
        attempts = 0

        async def attempt() -> Vectors:
            nonlocal attempts
            attempts += 1
            return await self._traced(texts)

        async with self._slots:
            try:
                async with asyncio.timeout(self._settings.timeouts.deadline_seconds):
                    return await retry_async(
                        lambda: self._breaker.acall(attempt), self._settings.retries.policy(), sleep=self._sleep
                    )
            except Exception as error:  # noqa: BLE001 - outages become values, everything else is raised
                return self._failed(error, attempts)

    def _failed(self, error: Exception, attempts: int) -> Unavailable:
        if isinstance(error, CircuitOpenError) or is_outage(error):
            return as_unavailable(error, PROVIDER, attempts)
        refusal = as_refusal(error, PROVIDER, self._model)
        if refusal is None:
            raise error
        raise refusal from None

    async def _traced(self, texts: Sequence[str]) -> Vectors:
        if self._tracer is None:
            return (await self._metered(texts))[0]
        metadata = {"purpose": "embedding", "texts": len(texts)}
        async with self._tracer.trace_llm_call(self._model, provider=PROVIDER, metadata=metadata) as span:
            vectors, used = await self._metered(texts)
            _record(span, used)
            return vectors

    async def _metered(self, texts: Sequence[str]) -> tuple[Vectors, Spending]:
        estimate = -(-sum(len(text.encode()) for text in texts) // BYTES_PER_TOKEN) + len(texts)
        dollars = self._prices.cost(self._model, estimate, 0)
        reserved = await self._budget.reserve(estimate, dollars, model=self._model)
        used = reserved
        try:
            vectors, tokens = await self._send(texts)
            # A server that does not count is charged what was set aside.
            used = reserved if tokens is None else Spending(tokens, self._prices.cost(self._model, tokens, 0) or 0.0)
        except BaseException as error:
            used = Spending(0, 0.0) if never_ran(error) else reserved
            raise
        finally:
            self._budget.settle(reserved, used)
        return vectors, used

    async def _send(self, texts: Sequence[str]) -> tuple[Vectors, int | None]:
        import openai

        try:
            reply = await self._sdk.embeddings.create(model=self._model, input=list(texts))
        except (json.JSONDecodeError, openai.APIResponseValidationError):
            raise BrokenReply(_NOT_VECTORS) from None
        return self._vectors(reply, len(texts)), reply.usage.prompt_tokens if reply.usage else None

    def _vectors(self, reply: CreateEmbeddingResponse, expected: int) -> Vectors:
        found = sorted(getattr(reply, "data", None) or (), key=lambda item: item.index)
        if [item.index for item in found] != list(range(expected)):
            raise BrokenReply(f"answered with {len(found)} vectors for {expected} texts")
        vectors = np.array([item.embedding for item in found], dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self._dims:
            raise ConfigError(
                f"{self._model} gives vectors of {len(found[0].embedding)} numbers, not {self._dims}: "
                "set embedding.openai_dims in config/rag.yaml"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths) & (lengths > 0)):
            raise BrokenReply("answered with a vector that has no direction")
        return np.asarray(vectors / lengths, dtype=np.float32)


def _record(span: LLMSpan, used: Spending) -> None:
    span.log_tokens(used.tokens, 0)
    span.set_cost(used.dollars or None)


def _sdk(settings: LLMSettings) -> Any:
    """The SDK's client, its own retries off. Raises ConfigError without the package, a key or an address."""
    if not settings.openai.is_reachable:
        raise ConfigError("embedding.provider is openai but neither OPENAI_API_KEY nor OPENAI_BASE_URL is set")
    try:
        return open_sdk(settings.openai.key, settings.openai.base_url or None, settings.timeouts.request_seconds)
    except ModuleNotFoundError as error:
        raise ConfigError("the openai package is not installed: pip install 'e2i[llm]'") from error
