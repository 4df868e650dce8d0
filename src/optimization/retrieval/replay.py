"""How well do retrieval settings find what is known to answer a question, asked once more?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from src.domain.improvement import ItemScores, LearningItem, Variant
from src.domain.vocabulary import Vocabulary
from src.errors import DataUnavailable
from src.optimization.retrieval.labels import LabelledQuery, labelled
from src.optimization.retrieval.measures import ranking_scores
from src.optimization.retrieval.recorded_search import patient
from src.optimization.retrieval.settings import config_of
from src.rag.configuration import RagConfig
from src.rag.corpus.chunking import count_tokens
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.retrieval.opening import open_retriever
from src.rag.retrieval.retriever import HybridRetriever
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.retrieval_configurations import RetrievalConfig

JUDGE = "labels"
CHARACTERS_PER_TOKEN = 4


class RetrievalReplay:
    """A ``Replay`` with the real retriever. Target: nDCG at 10; metrics: recall and reciprocal rank; all of documents.

    Tokens are those of the passages, at least what an answer may read anyway (``answering.max_context_chars``): room
    that is there may be used, more than it costs. What passages cost below that is priced when settings are made.
    """

    def __init__(self, retriever: HybridRetriever, *, context_tokens: int) -> None:
        self._retriever = retriever
        self._context_tokens = context_tokens
        self._warm = False

    @classmethod
    def open(
        cls,
        database: Database,
        config: RagConfig,
        *,
        embeddings: EmbeddingProvider | Unavailable | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> Self:
        """Over the corpus of a database, untraced, with time enough on a busy machine."""
        retriever = open_retriever(database, patient(config), embeddings=embeddings, vocabulary=vocabulary)
        return cls(retriever, context_tokens=context_tokens(config))

    @property
    def judge(self) -> str:
        """Labels: what is relevant was known before."""
        return JUDGE

    async def scores(self, variant: Variant, items: Sequence[LearningItem]) -> Sequence[ItemScores]:
        """One result per item; an item without labels has no target.

        Raises ContractViolation for settings that are none, DataUnavailable where no item has labels or nothing can
        be searched.
        """
        config = config_of(variant.content)
        queries = [labelled(item) for item in items]
        if not any(queries):
            raise DataUnavailable(f"none of the {len(items)} items has labels of retrieval")

        async def tried() -> RetrievalConfig:
            return config

        retriever = self._retriever.using(tried)
        if not self._warm:
            # What is loaded for the first question is no property of the settings.
            await retriever.retrieve(next(query.query for query in queries if query is not None))
            self._warm = True
        return [
            ItemScores(item.interaction_id, None) if query is None else await self._scores(retriever, query)
            for item, query in zip(items, queries, strict=True)
        ]

    async def _scores(self, retriever: HybridRetriever, query: LabelledQuery) -> ItemScores:
        result = await retriever.retrieve(query.query, filters=query.filters)
        measured = ranking_scores([(one.source_type, one.source_id) for one in result.chunks], query.relevant)
        return ItemScores(
            item_id=query.item_id,
            target=measured.ndcg,
            metrics=measured.metrics(),
            tokens=max(self._context_tokens, sum(count_tokens(one.text) for one in result.chunks)),
            latency_ms=result.timings["total"],
        )


def context_tokens(config: RagConfig) -> int:
    """Tokens of passages that an answer reads at most."""
    return config.answering.max_context_chars // CHARACTERS_PER_TOKEN
