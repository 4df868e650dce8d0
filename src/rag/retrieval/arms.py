"""What is an arm of the retrieval asked, and what does it answer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from src.rag.retrieval.entities import Entities
from src.rag.retrieval_results import Arm
from src.storage.rag_chunks import ChunkFilter


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


class ArmUnavailable(Exception):
    """The arm cannot search now; the text says why."""


class SearchArm(Protocol):
    """One way to find chunks."""

    @property
    def name(self) -> Arm:
        """Its name in results and weights."""
        ...

    async def prepare(self) -> None:
        """Load or bring up to date what searching needs; not part of the arm's time-out."""
        ...

    async def search(self, asked: Asked) -> list[Hit]:
        """Chunks best first. Raises ArmUnavailable, or whatever went wrong."""
        ...
