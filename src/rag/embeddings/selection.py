"""Which embedding model is used here?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from src.errors import ConfigError
from src.rag.configuration import EmbeddingSettings
from src.rag.embeddings.minilm import MiniLMEmbeddings
from src.rag.embeddings.minilm_files import missing_packages
from src.rag.embeddings.provider import EmbeddingProvider
from src.resilience.outcomes import Unavailable

if TYPE_CHECKING:
    from src.llm.budget import Budget
    from src.llm.embeddings import OpenAIEmbeddings
    from src.llm.traced import Tracer

SWITCHED_OFF = Unavailable("embeddings", "switched off: embedding.provider is none in config/rag.yaml")


def open_embeddings(
    settings: EmbeddingSettings, *, tracer: Tracer | None = None, budget: Budget | None = None
) -> EmbeddingProvider | Unavailable:
    """The configured model; with ``auto`` the local one where its packages are installed, and none elsewhere.

    Nothing is loaded or asked before the first text. Unavailable says why there is no model. Raises
    ConfigError when a model is asked for by name and cannot be used.
    """
    if settings.provider == "none":
        return SWITCHED_OFF
    if settings.provider == "openai":
        return _openai(settings, tracer, budget)
    missing = missing_packages()
    if missing is None:
        return MiniLMEmbeddings(threads=settings.threads)
    if settings.provider == "auto":
        return missing
    raise ConfigError(f"embedding.provider is minilm, but {missing.reason}")


async def close_embeddings(provider: EmbeddingProvider | Unavailable) -> None:
    """Give up connections, where the model has any."""
    close: Callable[[], Awaitable[None]] | None = getattr(provider, "aclose", None)
    if close is not None:
        await close()


def _openai(settings: EmbeddingSettings, tracer: Tracer | None, budget: Budget | None) -> OpenAIEmbeddings:
    from src.llm.configuration import load_llm_config
    from src.llm.embeddings import OpenAIEmbeddings
    from src.mlops.tracing.configuration import load_observability_config

    return OpenAIEmbeddings(
        load_llm_config(),
        model=settings.openai_model,
        dims=settings.openai_dims,
        batch_size=settings.batch_size,
        prices=load_observability_config().prices,
        tracer=tracer,
        budget=budget,
    )
