"""How does text become a vector, and whose vector is it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from src.resilience.outcomes import Unavailable

Vectors = NDArray[np.float32]


class EmbeddingProvider(Protocol):
    """One embedding model. Vectors of different models are never compared: they carry ``model`` and ``dims``."""

    @property
    def model(self) -> str:
        """Name stored beside every vector."""
        ...

    @property
    def dims(self) -> int:
        """Length of a vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors | Unavailable:
        """Unit vectors, shape (len(texts), dims), float32; Unavailable when the model cannot be reached.

        Local models compute in a thread. Raises ContractViolation for an empty text.
        """
        ...
