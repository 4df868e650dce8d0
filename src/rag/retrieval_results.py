"""What was retrieved for a question, by which arms, and why in this order?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from src.storage.retrieval_configurations import Arm, RetrievalConfig


@dataclass(frozen=True, slots=True)
class RetrievalFilters:
    """Which documents may be found. A document about no brand or region is found under every one of them.

    ``since`` and ``until`` bound the document's date, both included; documents without a date stay.
    """

    brand: str | None = None
    region: str | None = None
    since: date | None = None
    until: date | None = None
    source_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArmPart:
    """What one arm says of a chunk: its rank there from 1, its raw score, and what that adds to the fused score."""

    rank: int
    score: float
    contribution: float


@dataclass(frozen=True, slots=True)
class RetrievedChunk:
    """A chunk that was found. ``score`` is the fused score; arms that did not find it are absent from ``parts``."""

    chunk_id: str
    document_id: str
    text: str
    score: float
    parts: Mapping[Arm, ArmPart]
    title: str
    source_type: str
    source_id: str
    section: str = ""
    start: int = 0
    end: int = 0
    effective_date: date | None = None
    brand: str | None = None
    region: str | None = None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Degraded:
    """An arm that gave less than it should, and why. ``share`` in 0–1 is how much of the corpus it searched: 0 for
    one that gave nothing."""

    arm: Arm
    reason: str
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """Chunks best first. ``timings`` are milliseconds by step; ``degraded`` lists every arm that failed, if in part."""

    query: str
    chunks: tuple[RetrievedChunk, ...]
    config: RetrievalConfig
    filters: RetrievalFilters = field(default_factory=RetrievalFilters)
    timings: Mapping[str, float] = field(default_factory=dict)
    degraded: tuple[Degraded, ...] = ()
    entities: Mapping[str, Any] = field(default_factory=dict)
    """What the vocabulary recognised in the query, for the graph arm and explanations."""

    @property
    def config_version(self) -> int:
        """Version of the retrieval configuration that was active."""
        return self.config.version


class Retriever(Protocol):
    """Anything that finds chunks."""

    async def retrieve(
        self, query: str, *, k: int | None = None, filters: RetrievalFilters | None = None
    ) -> RetrievalResult:
        """The ``k`` best chunks (the configuration's number by default).

        Raises ContractViolation for an empty query, k below 1 or an unknown brand, region or source type;
        DataUnavailable when every arm failed.
        """
        ...
