"""Which chunks answer a question best, by meaning, by words and by causal paths together?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from src.domain.vocabulary import Vocabulary
from src.errors import DataUnavailable
from src.rag.configuration import RetrievalSettings
from src.rag.retrieval.arms import Asked, SearchArm
from src.rag.retrieval.entities import Entities, recognise
from src.rag.retrieval.filters import check_k, check_query, checked, chunk_filter
from src.rag.retrieval.fusion import Fused, fuse, reranked
from src.rag.retrieval.repetition import without_repetition
from src.rag.retrieval.searching import Searched, search_all, span
from src.rag.retrieval_results import (
    ARMS,
    Arm,
    RetrievalConfig,
    RetrievalFilters,
    RetrievalResult,
    RetrievedChunk,
)
from src.storage.database import Row
from src.storage.rag_chunks import ChunkRepository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from src.mlops.opik_connector import OpikConnector


class HybridRetriever:
    """A ``Retriever`` over several arms asked at once, joined by the weights of the active configuration.

    ``configuration`` is awaited for every query, so that a newly activated one is used at once. Arms of weight 0
    are not asked. Every query is a span with one child for each arm, where there is a ``tracer``.
    """

    def __init__(
        self,
        arms: Sequence[SearchArm],
        *,
        chunks: ChunkRepository,
        configuration: Callable[[], Awaitable[RetrievalConfig]],
        settings: RetrievalSettings,
        vocabulary: Vocabulary,
        tracer: OpikConnector | None = None,
    ) -> None:
        self._arms = tuple(arms)
        self._chunks = chunks
        self._configuration = configuration
        self._settings = settings
        self._vocabulary = vocabulary
        self._tracer = tracer

    async def retrieve(
        self, query: str, *, k: int | None = None, filters: RetrievalFilters | None = None
    ) -> RetrievalResult:
        """The ``k`` best chunks (the configuration's number by default); see ``Retriever.retrieve`` for errors."""
        query, filters = check_query(query), checked(filters or RetrievalFilters())
        if k is not None:
            check_k(k)
        async with span(self._tracer, "retrieve", {"query": query}) as recorded:
            result = await self._retrieve(query, k, filters)
            if recorded is not None:
                _record(recorded, result)
            return result

    async def _retrieve(self, query: str, k: int | None, filters: RetrievalFilters) -> RetrievalResult:
        clock = _Clock()
        with clock.step("configuration"):
            config = await self._configuration()
        with clock.step("entities"):
            entities = recognise(query, self._vocabulary)
        wanted = k or config.k
        searched = await self._search(query, entities, filters, config, wanted)
        with clock.step("fusion"):
            ranked = self._ranked(searched, config, wanted)
        with clock.step("fetch"):
            chunks = await self._fetched(ranked, wanted)
        return RetrievalResult(
            query=query,
            chunks=tuple(chunks),
            config=config,
            filters=filters,
            timings=clock.timings(searched),
            degraded=tuple(one.degraded for one in searched if one.degraded is not None),
            entities=entities.document(),
        )

    async def _search(
        self, query: str, entities: Entities, filters: RetrievalFilters, config: RetrievalConfig, wanted: int
    ) -> list[Searched]:
        asked = Asked(query, entities, chunk_filter(filters), max(self._settings.arm_depth, wanted))
        seconds = self._settings.timeout_seconds
        timeouts: dict[Arm, float] = {"dense": seconds.dense, "text": seconds.text, "graph": seconds.graph}
        searched = await search_all(
            [arm for arm in self._arms if config.weight(arm.name) > 0], asked, timeouts, self._tracer
        )
        if searched and all(one.problem is not None for one in searched):
            reasons = "; ".join(f"{one.arm}: {one.problem}" for one in searched)
            raise DataUnavailable(f"the corpus could not be searched ({reasons})")
        return searched

    def _ranked(self, searched: Sequence[Searched], config: RetrievalConfig, wanted: int) -> list[Fused]:
        weights: dict[Arm, float] = {arm: config.weight(arm) for arm in ARMS}
        fused = fuse({one.arm: one.hits for one in searched}, weights, k=self._settings.rrf_k)
        if not config.rerank:
            return fused
        candidates = max(self._settings.candidates, wanted)
        return [*reranked(fused[:candidates], weights), *fused[candidates:]]

    async def _fetched(self, ranked: Sequence[Fused], wanted: int) -> list[RetrievedChunk]:
        """The first ``wanted`` that are still there and say something new."""
        block = max(self._settings.candidates, wanted)
        found: list[RetrievedChunk] = []
        for at in range(0, len(ranked), block):
            part = ranked[at : at + block]
            rows = await self._chunks.chunks([one.chunk_id for one in part])
            read = [_chunk(rows[one.chunk_id], one) for one in part if one.chunk_id in rows]
            found = without_repetition([*found, *read])
            if len(found) >= wanted:
                break
        return found[:wanted]


def _chunk(row: Row, fused: Fused) -> RetrievedChunk:
    return RetrievedChunk(
        chunk_id=row["chunk_id"],
        document_id=row["document_id"],
        text=row["content"],
        score=fused.score,
        parts=fused.parts,
        title=row["title"],
        source_type=row["source_type"],
        source_id=row["source_id"],
        section=row["section"],
        start=row["char_start"] or 0,
        end=row["char_end"] or 0,
        effective_date=row["effective_date"],
        brand=row["brand"],
        region=row["region"],
        uri=row["uri"],
    )


def _record(recorded: Any, result: RetrievalResult) -> None:
    recorded.set_attribute("retrieval_config_id", result.config.config_id)
    recorded.set_attribute("retrieval_config_version", result.config_version)
    recorded.set_attribute("timings_ms", dict(result.timings))
    recorded.set_attribute("degraded", [f"{one.arm}: {one.reason}" for one in result.degraded])
    recorded.set_output({"chunks": [{"chunk_id": one.chunk_id, "score": one.score} for one in result.chunks]})


@dataclass
class _Clock:
    """Milliseconds by step, and since the beginning."""

    begun: float = field(default_factory=time.perf_counter)
    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.steps[name] = 1000 * (time.perf_counter() - before)

    def timings(self, searched: Sequence[Searched]) -> dict[str, float]:
        """Steps, arms, what the arms needed to get ready, and all together."""
        arms = {str(one.arm): one.search_ms for one in searched}
        prepared = {"prepare": max((one.prepare_ms for one in searched), default=0.0)}
        return {**self.steps, **prepared, **arms, "total": 1000 * (time.perf_counter() - self.begun)}
