"""Where do documents go, how are they cut, and who computes their vectors?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from src.rag.corpus.chunking import Cutting
from src.rag.embeddings.provider import EmbeddingProvider
from src.resilience.outcomes import Unavailable
from src.storage.rag_documents import CorpusWriter, RagDocumentRepository


@dataclass(frozen=True)
class Corpus:
    """The corpus opened for change; ``batch`` documents are committed together."""

    repository: RagDocumentRepository
    writer: CorpusWriter
    embeddings: EmbeddingProvider | Unavailable
    cutting: Cutting
    batch: int

    @property
    def model(self) -> str | None:
        """Name of the embedding model, None without one."""
        return None if isinstance(self.embeddings, Unavailable) else self.embeddings.model

    @property
    def dims(self) -> int:
        """Length of its vectors, 0 without one."""
        return 0 if isinstance(self.embeddings, Unavailable) else self.embeddings.dims

    async def vectors(self, texts: Sequence[str]) -> list[str] | Unavailable:
        """The texts' vectors as PostgreSQL reads them, or why there are none."""
        if isinstance(self.embeddings, Unavailable):
            return self.embeddings
        if not texts:
            return []
        vectors = await self.embeddings.embed(texts)
        if isinstance(vectors, Unavailable):
            return vectors
        return [orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode() for vector in vectors]
