"""How is a retriever put together over a database?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.domain.vocabulary import Vocabulary, load_vocabulary
from src.rag.configuration import RagConfig
from src.rag.embeddings.minilm import MiniLMEmbeddings
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.embeddings.selection import open_embeddings
from src.rag.retrieval.arms import SearchArm
from src.rag.retrieval.dense_arm import DenseArm
from src.rag.retrieval.graph_arm import GraphArm
from src.rag.retrieval.retriever import HybridRetriever
from src.rag.retrieval.text_arm import TextArm
from src.rag.retrieval.word_index_store import WordIndexStore
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.rag_chunks import ChunkRepository
from src.storage.retrieval_configurations import RetrievalConfig, active_configuration

if TYPE_CHECKING:
    from src.mlops.opik_connector import OpikConnector


def open_retriever(
    database: Database,
    config: RagConfig,
    *,
    embeddings: EmbeddingProvider | Unavailable | None = None,
    vocabulary: Vocabulary | None = None,
    tracer: OpikConnector | None = None,
) -> HybridRetriever:
    """The three arms over that database. ``embeddings`` default to the configured model.

    Nothing is loaded before the first query. Whoever passes embeddings closes them; those opened here are
    closed by nobody, so pass them where the provider holds connections (openai).
    """
    chunks = ChunkRepository(database)
    names = vocabulary or load_vocabulary()
    model = open_embeddings(config.embedding, tracer=tracer) if embeddings is None else embeddings

    async def active() -> RetrievalConfig:
        return await active_configuration(database)

    return HybridRetriever(
        open_arms(chunks, config, model, names),
        chunks=chunks,
        configuration=active,
        settings=config.retrieval,
        vocabulary=names,
        tracer=tracer,
    )


def open_arms(
    chunks: ChunkRepository, config: RagConfig, embeddings: EmbeddingProvider | Unavailable, vocabulary: Vocabulary
) -> list[SearchArm]:
    """Every way to find chunks, as ``open_retriever`` joins them."""
    return [
        DenseArm(chunks, embeddings, loads=isinstance(embeddings, MiniLMEmbeddings)),
        TextArm(WordIndexStore(chunks, config.corpus.folder), vocabulary),
        GraphArm(chunks),
    ]
