"""Which random numbers does a variable of a chunk get? Always the same ones, whatever else is drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CHUNK_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Streams:
    """Counter-based generators (Philox) of one chunk, one per variable.

    The key is SHA-256 of random state, process, chunk and variable, so a shorter draw is a prefix
    of a longer one and no variable shifts when another is added.
    """

    random_state: int
    process: str
    chunk: int

    def rng(self, variable: str) -> np.random.Generator:
        """A fresh generator at the start of the variable's stream."""
        text = f"{self.random_state}|{self.process}|{self.chunk}|{variable}"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        return np.random.Generator(np.random.Philox(key=key))

    def normal(self, variable: str, n: int) -> FloatArray:
        """Standard normal draws, shape (n,)."""
        return self.rng(variable).standard_normal(n)

    def uniform(self, variable: str, n: int) -> FloatArray:
        """Uniform draws on [0, 1), shape (n,)."""
        return self.rng(variable).random(n)

    def bernoulli(self, variable: str, probability: float | FloatArray, n: int) -> BoolArray:
        """True with the given probability, shape (n,)."""
        return np.asarray(self.uniform(variable, n) < probability, dtype=np.bool_)
