"""How do RAGAS's metrics ask our model client and embeddings? The only module that imports ragas."""

from __future__ import annotations

import asyncio
import functools
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from src.errors import ServiceOutage
from src.rag.embeddings.provider import EmbeddingProvider
from src.resilience.outcomes import Unavailable

COMPONENT = "ragas"
SUPPORTED = ((0, 4, 3), (0, 5, 0))
"""From the first, below the second version."""
METRIC_CLASSES = (
    "Faithfulness",
    "AnswerRelevancy",
    "ContextPrecisionWithReference",
    "ContextPrecisionWithoutReference",
    "ContextRecall",
    "AnswerCorrectness",
)
INSTALL = "pip install 'ragas>=0.4.3,<0.5'"

Ask = Callable[[str, type[BaseModel]], Awaitable[BaseModel]]
"""A prompt and the schema of the reply."""


@dataclass(frozen=True, slots=True)
class Ragas:
    """The library, loaded: its version and the classes that are used, keyed by the names they have there."""

    version: str
    metrics: dict[str, Any]
    llm_base: Any
    embedding_base: Any


class EmbeddingsAway(ServiceOutage):
    """Texts could not be embedded."""


class Exchange:
    """What one metric asked and was told: RAGAS keeps only the score."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.replies: list[BaseModel] = []

    async def __call__(self, prompt: str, schema: type[BaseModel]) -> BaseModel:
        """Ask and note the reply."""
        reply = await self._ask(prompt, schema)
        self.replies.append(reply)
        return reply

    def of(self, name: str) -> list[Any]:
        """Replies whose schema has that name in RAGAS, in order."""
        return [reply for reply in self.replies if type(reply).__name__ == name]


@functools.cache
def load_ragas() -> Ragas | Unavailable:
    """Import the library, once: seconds of work, to be done in a thread. It reports nothing home."""
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    try:
        import ragas
        from ragas.embeddings.base import BaseRagasEmbedding
        from ragas.llms.base import InstructorBaseRagasLLM
        from ragas.metrics import collections
    except ImportError as error:
        return Unavailable(COMPONENT, f"ragas cannot be imported ({error.name or error}): {INSTALL}")
    if (problem := unsupported(ragas.__version__)) is not None:
        return Unavailable(COMPONENT, problem)
    metrics = {name: getattr(collections, name) for name in METRIC_CLASSES}
    return Ragas(ragas.__version__, metrics, InstructorBaseRagasLLM, BaseRagasEmbedding)


def unsupported(version: str) -> str | None:
    """Why a version cannot be used, None when it can."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if len(numbers) == 3 and SUPPORTED[0] <= numbers < SUPPORTED[1]:
        return None
    return f"ragas {version} is installed, the metrics are known for 0.4.3 up to, not including, 0.5: {INSTALL}"


async def available() -> Ragas | Unavailable:
    """``load_ragas`` without holding up the event loop."""
    return await asyncio.to_thread(load_ragas)


async def run_metric(
    ragas: Ragas, name: str, fields: dict[str, Any], exchange: Exchange, embeddings: EmbeddingProvider | None = None
) -> float:
    """Score with a new metric object; NaN where RAGAS produced nothing. Raises what ``exchange`` raises."""
    parts: dict[str, Any] = {"llm": _language_model(ragas, exchange)}
    if embeddings is not None:
        parts["embeddings"] = _embedding(ragas, embeddings)
    metric = ragas.metrics[name](**parts)
    # A vector of zeros makes NaN, which the caller reports; NumPy need not warn of it.
    with np.errstate(invalid="ignore", divide="ignore"):
        result = await metric.ascore(**fields)
    return float(result.value)


def _language_model(ragas: Ragas, exchange: Exchange) -> Any:
    class OurModel(ragas.llm_base):  # type: ignore[misc,name-defined]  # the base is known when it is installed
        def generate(self, prompt: str, response_model: type[BaseModel]) -> BaseModel:
            raise NotImplementedError("metrics are awaited here")

        async def agenerate(self, prompt: str, response_model: type[BaseModel]) -> BaseModel:
            return await exchange(prompt, response_model)

    return OurModel()


def _embedding(ragas: Ragas, provider: EmbeddingProvider) -> Any:
    class OurEmbedding(ragas.embedding_base):  # type: ignore[misc,name-defined]  # as above
        def embed_text(self, text: str, **_: Any) -> list[float]:
            raise NotImplementedError("metrics are awaited here")

        async def aembed_text(self, text: str, **_: Any) -> list[float]:
            return (await embedded(provider, [text]))[0]

        async def aembed_texts(self, texts: list[str], **_: Any) -> list[list[float]]:
            return await embedded(provider, texts)

    return OurEmbedding()


async def embedded(provider: EmbeddingProvider, texts: Sequence[str]) -> list[list[float]]:
    """Vectors of ``texts``. Raises EmbeddingsAway."""
    vectors = await provider.embed(texts)
    if isinstance(vectors, Unavailable):
        raise EmbeddingsAway(f"the texts could not be embedded: {vectors.reason}")
    return [list(map(float, vector)) for vector in vectors]
