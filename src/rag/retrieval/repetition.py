"""Which of the chunks found say nothing that a better one does not say already?"""

from __future__ import annotations

from collections.abc import Iterable

from src.rag.retrieval_results import RetrievedChunk

# Share of the shorter chunk that both have in common.
REPEATED = 0.5


def without_repetition(chunks: Iterable[RetrievedChunk]) -> list[RetrievedChunk]:
    """Chunks in their order; of two that are mostly the same place or the very same text, the first."""
    kept: list[RetrievedChunk] = []
    for chunk in chunks:
        if not any(_repeats(chunk, other) for other in kept):
            kept.append(chunk)
    return kept


def _repeats(chunk: RetrievedChunk, other: RetrievedChunk) -> bool:
    if chunk.text == other.text and chunk.title == other.title:
        return True
    if chunk.document_id != other.document_id:
        return False
    common = min(chunk.end, other.end) - max(chunk.start, other.start)
    shorter = min(chunk.end - chunk.start, other.end - other.start)
    return common > REPEATED * shorter > 0
