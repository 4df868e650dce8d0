"""Which vectors do tests use where no meaning is needed? Counts of hashed words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from src.errors import ContractViolation
from src.rag.embeddings.provider import Vectors

_WORD = re.compile(r"\w+")


class HashedEmbeddings:
    """For unit tests only: texts are alike as far as they share words, whatever these mean."""

    def __init__(self, dims: int = 64) -> None:
        self.dims = dims
        self.model = f"hashed-{dims}"

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors. Raises ContractViolation for an empty text."""
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(len(texts), self.dims)

    def _vector(self, text: str) -> Vectors:
        if not text.strip():
            raise ContractViolation("an empty text cannot be embedded")
        vector = np.zeros(self.dims, dtype=np.float32)
        for word in _WORD.findall(text.lower()) or [text]:
            digest = hashlib.sha256(word.encode()).digest()
            vector[int.from_bytes(digest[:4], "big") % self.dims] += 1.0
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
