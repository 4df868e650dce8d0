"""Which passages of the corpus bear on a question, as the orchestrator takes them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src.agents.orchestrator.state import ContextChunk
from src.rag.retrieval_results import RetrievalFilters, Retriever


@dataclass(frozen=True)
class CorpusPassages:
    """Passages by the configured retriever."""

    retriever: Retriever

    async def passages(self, query: str, *, k: int, brand: str | None, region: str | None) -> Sequence[ContextChunk]:
        """The ``k`` best. Raises as the retriever does."""
        found = await self.retriever.retrieve(query, k=k, filters=RetrievalFilters(brand=brand, region=region))
        return [ContextChunk(one.chunk_id, one.score, one.title, one.text) for one in found.chunks]
