"""Which chunks mean something like the question?"""

from __future__ import annotations

import numpy as np

from src.rag.embeddings.provider import EmbeddingProvider, Vectors
from src.rag.retrieval.arms import ArmUnavailable, Asked, Hit
from src.rag.retrieval_results import Arm
from src.resilience.outcomes import Unavailable
from src.storage.rag_chunks import ChunkRepository, CorpusState

# Up to here every vector is compared (about 10 ms at 20,000 of 384 numbers); beyond, the HNSW index is asked.
COMPARED_AT_MOST = 20_000


class DenseArm:
    """Cosine of pgvector between the question and the chunks embedded by the same model."""

    name: Arm = "dense"

    def __init__(self, chunks: ChunkRepository, embeddings: EmbeddingProvider | Unavailable) -> None:
        self._chunks = chunks
        self._embeddings = embeddings
        self._warm = False
        self._counted: CorpusState | None = None
        self._count = 0

    async def prepare(self) -> None:
        """Load the model once, and see how many vectors there are."""
        if isinstance(self._embeddings, Unavailable):
            return
        state = await self._chunks.state()
        if state != self._counted:
            self._count = await self._chunks.vector_count(self._embeddings.model, limit=COMPARED_AT_MOST + 1)
            self._counted = state
        if not self._warm and self._count:
            self._warm = not isinstance(await self._embeddings.embed(["warm"]), Unavailable)

    async def search(self, asked: Asked) -> list[Hit]:
        """By cosine, best first. Raises ArmUnavailable without a model or without a single vector of it."""
        if isinstance(self._embeddings, Unavailable):
            raise ArmUnavailable(self._embeddings.reason)
        if not self._count:
            raise ArmUnavailable(f"no chunk is embedded by {self._embeddings.model}: run 'e2i corpus reindex'")
        vectors = await self._embeddings.embed([asked.query])
        if isinstance(vectors, Unavailable):
            raise ArmUnavailable(vectors.reason)
        model, dims, vector = self._embeddings.model, self._embeddings.dims, as_text(vectors[0])
        if self._count > COMPARED_AT_MOST and asked.among.is_empty:
            found = await self._chunks.nearest_by_index(vector, model=model, dims=dims, limit=asked.depth)
        else:
            found = await self._chunks.nearest_exactly(
                vector, model=model, dims=dims, limit=asked.depth, among=asked.among
            )
        return [Hit(*one) for one in found]


def as_text(vector: Vectors) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(np.char.mod("%.7g", vector)) + "]"
