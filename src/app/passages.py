"""Which passages of the corpus bear on a question, as the orchestrator takes them?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from src.agents.orchestrator.state import ContextChunk
from src.rag.retrieval_results import RetrievalFilters, Retriever


@dataclass(frozen=True)
class CorpusPassages:
    """Passages by the configured retriever. ``found_with`` is told the id of the settings that found them."""

    retriever: Retriever
    found_with: Callable[[str], None] = lambda config_id: None

    async def passages(self, query: str, *, k: int, brand: str | None, region: str | None) -> Sequence[ContextChunk]:
        """The ``k`` best. Raises as the retriever does."""
        found = await self.retriever.retrieve(query, k=k, filters=RetrievalFilters(brand=brand, region=region))
        self.found_with(found.config.config_id)
        return [ContextChunk(one.chunk_id, one.score, one.title, one.text) for one in found.chunks]
