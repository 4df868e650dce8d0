"""What does the corpus hold for a query? The question behind `e2i corpus search`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from src.rag.retrieval_results import RetrievalFilters, RetrievalResult, RetrievedChunk
from src.storage.retrieval_configurations import ARMS

SNIPPET = 240
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A query with its limits; names are checked by the retriever."""

    query: str
    k: int | None = None
    brand: str | None = None
    region: str | None = None
    since: date | None = None
    until: date | None = None
    types: tuple[str, ...] = ()

    @property
    def filters(self) -> RetrievalFilters:
        """As the retriever takes them."""
        return RetrievalFilters(self.brand, self.region, self.since, self.until, self.types)


@dataclass(frozen=True, slots=True)
class Snippet:
    """The part of a text where most of the query's words stand, and where they stand in it."""

    text: str
    matches: tuple[tuple[int, int], ...]


async def search_corpus(request: SearchRequest) -> RetrievalResult:
    """The best chunks of the configured database for a query.

    Raises ContractViolation for a wrong request, DataUnavailable for an empty corpus or when nothing could be
    searched, DatabaseUnavailable and MigrationError.
    """
    from src.app.tracing import traced_database
    from src.errors import DataUnavailable
    from src.mlops.opik_connector import get_opik_connector
    from src.rag.configuration import load_rag_config
    from src.rag.embeddings.selection import close_embeddings, open_embeddings
    from src.rag.retrieval.filters import check_k, check_query, checked
    from src.rag.retrieval.opening import open_retriever
    from src.storage.rag_chunks import ChunkRepository

    # Before a server is started for a request that cannot be met.
    check_query(request.query)
    checked(request.filters)
    if request.k is not None:
        check_k(request.k)
    config = load_rag_config()
    async with traced_database() as database:
        if await ChunkRepository(database).is_empty():
            raise DataUnavailable(
                "the corpus is empty; 'e2i corpus add PATH' or 'e2i corpus add --insights' adds documents"
            )
        tracer = get_opik_connector()
        embeddings = open_embeddings(config.embedding, tracer=tracer)
        try:
            retriever = open_retriever(database, config, embeddings=embeddings, tracer=tracer)
            return await retriever.retrieve(request.query, k=request.k, filters=request.filters)
        finally:
            await close_embeddings(embeddings)


def snippet(query: str, text: str, *, length: int = SNIPPET) -> Snippet:
    """About ``length`` characters of ``text`` with the most different words of the query in them."""
    flat = re.sub(r"\s+", " ", text).strip()
    places = [*_places(query, flat)]
    start = _best_start(places, length)
    if start > 0:
        start = flat.rfind(" ", 0, start + 1) + 1
    end = len(flat) if start + length >= len(flat) else max(flat.rfind(" ", start, start + length), start + 1)
    before, after = "… " if start > 0 else "", " …" if end < len(flat) else ""
    shift = len(before) - start
    inside = tuple((a + shift, b + shift) for a, b, _ in places if a >= start and b <= end)
    return Snippet(before + flat[start:end] + after, inside)


def _places(query: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Beginning, end and stem of every word of the text that the query has in some form."""
    from src.rag.retrieval.words import words

    wanted = set(words(query))
    stems: dict[str, str] = {}
    for match in _WORD.finditer(text):
        word = match.group().lower()
        if word not in stems:
            stems[word] = next(iter(words(word)), "")
        if stems[word] in wanted:
            yield match.start(), match.end(), stems[word]


def _best_start(places: list[tuple[int, int, str]], length: int) -> int:
    """Where a window begins that holds the most different words, the first of equals; a little room before it."""
    best, start = 0, 0
    for at, (begin, _, _) in enumerate(places):
        inside = {stem for first, last, stem in places[at : at + length] if last <= begin + length - length // 6}
        if len(inside) > best:
            best, start = len(inside), begin
    return max(start - length // 6, 0)


def search_document(result: RetrievalResult, *, explain: bool) -> dict[str, Any]:
    """The result as JSON; with ``explain`` what each arm said, times in milliseconds, and what was recognised."""
    document: dict[str, Any] = {
        "query": result.query,
        "filters": _given(result.filters),
        "chunks": [_chunk_document(one, explain=explain) for one in result.chunks],
        "degraded": [{"arm": one.arm, "reason": one.reason, "searched": one.share} for one in result.degraded],
        "config": {"id": result.config.config_id, "version": result.config_version},
    }
    if explain:
        config = result.config
        document["config"] |= {
            "k": config.k,
            "rerank": config.rerank,
            "weights": {arm: config.weight(arm) for arm in ARMS},
        }
        document |= {"timings_ms": dict(result.timings), "entities": dict(result.entities)}
    return document


def _chunk_document(chunk: RetrievedChunk, *, explain: bool) -> dict[str, Any]:
    document = {
        "chunk_id": chunk.chunk_id,
        "document_id": chunk.document_id,
        "score": chunk.score,
        "title": chunk.title,
        "section": chunk.section,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
        "source_type": chunk.source_type,
        "source_id": chunk.source_id,
        "uri": chunk.uri,
        "brand": chunk.brand,
        "region": chunk.region,
        "effective_date": chunk.effective_date,
    }
    if explain:
        document["arms"] = {
            arm: {"rank": part.rank, "score": part.score, "contribution": part.contribution}
            for arm, part in chunk.parts.items()
        }
    return document


def _given(filters: RetrievalFilters) -> dict[str, Any]:
    names = ("brand", "region", "since", "until", "source_types")
    return {name: value for name in names if (value := getattr(filters, name))}
