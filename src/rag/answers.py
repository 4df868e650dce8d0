"""What does an answer from retrieved evidence consist of?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from src.rag.retrieval_results import Degraded, RetrievalFilters, RetrievedChunk

AnswerMethod = Literal["llm", "extractive"]


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a sentence is supported: ``quote`` is the text from ``start`` to ``end`` of that chunk."""

    marker: int
    chunk_id: str
    document_id: str
    title: str
    quote: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GroundedSentence:
    """One sentence of an answer and the markers of the citations that support it; never none."""

    text: str
    markers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RAGAnswer:
    """An answer whose every sentence is supported by a context, or why there is none.

    ``declined`` says what is missing and is None for an answer; a declined answer has no sentences and its
    ``answer`` says so in words. ``confidence`` is in 0–1. ``trace_id`` is the trace the answer was made in.
    """

    query: str
    answer: str
    sentences: tuple[GroundedSentence, ...]
    contexts: tuple[RetrievedChunk, ...]
    citations: tuple[Citation, ...]
    confidence: float
    method: AnswerMethod
    trace_id: str | None
    declined: str | None = None
    model: str | None = None
    prompt_versions: Mapping[str, int] = field(default_factory=dict)
    retrieval_config_id: str | None = None
    degraded: tuple[Degraded, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader should know of how this came about: a model that was not reached, sentences left out."""
    latency_ms: float = 0.0


class AnswerPipeline(Protocol):
    """What an evaluation calls for every sample."""

    async def answer(self, query: str, *, filters: RetrievalFilters | None = None) -> RAGAnswer:
        """Answer or decline; raises as the retriever does."""
        ...
