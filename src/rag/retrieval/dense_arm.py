"""Which chunks mean something like the question?"""

from __future__ import annotations

import asyncio

import numpy as np

from src.rag.embeddings.provider import EmbeddingProvider, Vectors
from src.rag.retrieval.arms import ArmUnavailable, Asked, Found, Hit
from src.resilience.outcomes import Unavailable
from src.storage.rag_chunks import ChunkRepository, CorpusState, VectorCount
from src.storage.retrieval_configurations import Arm

# Up to here every vector is compared (about 10 ms at 20,000 of 384 numbers); beyond, the HNSW index is asked.
COMPARED_AT_MOST = 20_000


class DenseArm:
    """Cosine of pgvector between the question and the chunks embedded by the same model."""

    name: Arm = "dense"

    def __init__(
        self, chunks: ChunkRepository, embeddings: EmbeddingProvider | Unavailable, *, loads: bool = False
    ) -> None:
        """``loads``: the model has to be loaded into this process before it answers within the arm's time-out."""
        self._chunks = chunks
        self._embeddings = embeddings
        self._to_load = loads
        self._loading = asyncio.Lock()
        self._counted: CorpusState | None = None
        self._count = VectorCount(0, 0)

    async def prepare(self, state: CorpusState) -> None:
        """See how many vectors there are, and load a local model once. A model on a server is not asked here."""
        if isinstance(self._embeddings, Unavailable):
            return
        if state != self._counted:
            self._count = await self._chunks.vector_count(self._embeddings.model, self._embeddings.dims)
            self._counted = state
        if self._to_load and self._count.vectors:
            await self._load(self._embeddings)

    async def _load(self, embeddings: EmbeddingProvider) -> None:
        async with self._loading:
            if self._to_load:
                try:
                    await embeddings.embed(["warm"])
                finally:
                    # Once: what goes wrong with it is found again, and told, by every search.
                    self._to_load = False

    async def search(self, asked: Asked) -> Found:
        """By cosine, best first. Raises ArmUnavailable without a model or without a single vector of it."""
        if isinstance(self._embeddings, Unavailable):
            raise ArmUnavailable(self._embeddings.reason)
        count = self._count
        if not count.vectors:
            raise ArmUnavailable(f"no chunk is embedded by {self._embeddings.model}: run 'e2i corpus reindex'")
        vectors = await self._embeddings.embed([asked.query])
        if isinstance(vectors, Unavailable):
            raise ArmUnavailable(vectors.reason)
        model, dims, vector = self._embeddings.model, self._embeddings.dims, as_text(vectors[0])
        if count.vectors > COMPARED_AT_MOST and asked.among.is_empty:
            found = await self._chunks.nearest_by_index(vector, model=model, dims=dims, limit=asked.depth)
        else:
            found = await self._chunks.nearest_exactly(
                vector, model=model, dims=dims, limit=asked.depth, among=asked.among
            )
        return Found([Hit(*one) for one in found], count.share, _lacking(count, model))


def _lacking(count: VectorCount, model: str) -> str | None:
    if count.vectors >= count.chunks:
        return None
    return (
        f"only {count.vectors:,} of {count.chunks:,} chunks ({100 * count.share:.3g} %) are embedded by {model},"
        " and it counts that much less: run 'e2i corpus reindex'"
    )


def as_text(vector: Vectors) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(np.char.mod("%.7g", vector)) + "]"
