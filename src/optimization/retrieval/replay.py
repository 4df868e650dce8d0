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
from src.rag.retrieval_results import RetrievalResult
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.retrieval_configurations import ARMS, Arm, RetrievalConfig

JUDGE = "labels"
CHARACTERS_PER_TOKEN = 4


class RetrievalReplay:
    """A ``Replay`` with the real retriever. Target: nDCG at 10; metrics: recall and reciprocal rank; all of documents.

    An arm that searched for no question is a property of the installation; one that failed on some of them leaves
    these unmeasured, for an outage is no property of the settings.

    Tokens are those of the passages, at least what an answer may read anyway (``answering.max_context_chars``): room
    that is there may be used, more than it costs. What passages cost below that is priced when settings are made.
    """

    def __init__(self, retriever: HybridRetriever, *, context_tokens: int) -> None:
        self._retriever = retriever
        self._context_tokens = context_tokens
        self._warm = False
        self._searching: dict[Arm, bool] = {}

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

        Raises ContractViolation for settings that are none, DataUnavailable where no item has labels, nothing can be
        searched, or an arm began or ceased to search since it was asked last: the scores could not be compared.
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
        found = [None if query is None else await _asked(retriever, query) for query in queries]
        silent = self._silent(config, [result for result in found if result is not None])
        return [
            ItemScores(item.interaction_id, None)
            if query is None or result is None or _failed(result) - silent
            else self._scored(query, result)
            for item, query, result in zip(items, queries, found, strict=True)
        ]

    def _silent(self, config: RetrievalConfig, results: Sequence[RetrievalResult]) -> set[Arm]:
        """Arms that searched for none of the questions."""
        asked = {arm for arm in ARMS if config.weight(arm) > 0}
        silent = asked.intersection(*map(_failed, results))
        searching = {arm: arm not in silent for arm in asked}
        turned = [arm for arm, searches in searching.items() if self._searching.get(arm, searches) != searches]
        self._searching |= searching
        if turned:
            raise DataUnavailable(f"the search of {', '.join(turned)} went or came back between two trials: try again")
        return silent

    def _scored(self, query: LabelledQuery, result: RetrievalResult) -> ItemScores:
        measured = ranking_scores([(one.source_type, one.source_id) for one in result.chunks], query.relevant)
        return ItemScores(
            item_id=query.item_id,
            target=measured.ndcg,
            metrics=measured.metrics(),
            tokens=max(self._context_tokens, sum(count_tokens(one.text) for one in result.chunks)),
            latency_ms=result.timings["total"],
        )


async def _asked(retriever: HybridRetriever, query: LabelledQuery) -> RetrievalResult:
    return await retriever.retrieve(query.query, filters=query.filters)


def _failed(result: RetrievalResult) -> set[Arm]:
    """Arms that gave nothing."""
    return {one.arm for one in result.degraded if one.share == 0}


def context_tokens(config: RagConfig) -> int:
    """Tokens of passages that an answer reads at most."""
    return config.answering.max_context_chars // CHARACTERS_PER_TOKEN
