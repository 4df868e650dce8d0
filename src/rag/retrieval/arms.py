"""What is an arm of the retrieval asked, and what does it answer?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from src.rag.retrieval.entities import Entities
from src.storage.rag_chunks import ChunkFilter, CorpusState
from src.storage.retrieval_configurations import Arm


@dataclass(frozen=True, slots=True)
class Asked:
    """One query: its text, what was recognised in it, which chunks may be found, and how many of them at most."""

    query: str
    entities: Entities
    among: ChunkFilter
    depth: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that an arm found, with the arm's own score; higher is better."""

    chunk_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """Hits best first. ``share`` in 0–1 is how much of the corpus could be searched; ``lacking`` says why not all."""

    hits: Sequence[Hit]
    share: float = 1.0
    lacking: str | None = None


class ArmUnavailable(Exception):
    """The arm cannot search now; the text says why."""


class SearchArm(Protocol):
    """One way to find chunks."""

    @property
    def name(self) -> Arm:
        """Its name in results and weights."""
        ...

    async def prepare(self, state: CorpusState) -> None:
        """Load or bring up to date what searching the corpus of now needs; not part of the arm's time-out."""
        ...

    async def search(self, asked: Asked) -> Found:
        """What fits. Raises ArmUnavailable, or whatever went wrong."""
        ...
