"""Which chunks answer a question best, by meaning, by words and by causal paths together?"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from src.domain.vocabulary import Vocabulary
from src.errors import DataUnavailable
from src.rag.configuration import RetrievalSettings
from src.rag.retrieval.arms import Asked, SearchArm
from src.rag.retrieval.entities import recognise
from src.rag.retrieval.filters import check_k, check_query, checked, chunk_filter
from src.rag.retrieval.fusion import Fused, fuse, reranked
from src.rag.retrieval.repetition import without_repetition
from src.rag.retrieval.searching import Searched, search_all, span
from src.rag.retrieval_results import RetrievalFilters, RetrievalResult, RetrievedChunk
from src.storage.database import Row
from src.storage.rag_chunks import ChunkRepository, CorpusState
from src.storage.retrieval_configurations import ARMS, Arm, RetrievalConfig

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

    def using(self, configuration: Callable[[], Awaitable[RetrievalConfig]]) -> HybridRetriever:
        """The same arms with other settings: those of a session that tries them."""
        other = copy.copy(self)
        other._configuration = configuration
        return other

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
            config, state = await asyncio.gather(self._configuration(), self._chunks.state())
        with clock.step("entities"):
            entities = recognise(query, self._vocabulary)
        wanted = k or config.k
        depth = max(self._settings.arm_depth, wanted)
        searched = await self._search(Asked(query, entities, chunk_filter(filters), depth), config, state)
        # An arm that could search only a part of the corpus counts that much less.
        weights: dict[Arm, float] = dict.fromkeys(ARMS, 0.0)
        weights |= {one.arm: config.weight(one.arm) * one.share for one in searched}
        with clock.step("fusion"):
            fused = fuse({one.arm: one.hits for one in searched}, weights, k=self._settings.rrf_k)
        with clock.step("fetch"):
            most = max(self._settings.candidates, wanted) if config.rerank else wanted
            chunks = await self._fetched(fused, most)
        if config.rerank:
            with clock.step("rerank"):
                chunks = _by_score(chunks, weights)
        return RetrievalResult(
            query=query,
            chunks=tuple(chunks[:wanted]),
            config=config,
            filters=filters,
            timings=clock.timings(searched),
            degraded=tuple(one.degraded for one in searched if one.degraded is not None),
            entities=entities.document(),
        )

    async def _search(self, asked: Asked, config: RetrievalConfig, state: CorpusState) -> list[Searched]:
        seconds = self._settings.timeout_seconds
        timeouts: dict[Arm, float] = {"dense": seconds.dense, "text": seconds.text, "graph": seconds.graph}
        searched = await search_all(
            [arm for arm in self._arms if config.weight(arm.name) > 0], asked, state, timeouts, self._tracer
        )
        if searched and all(one.problem is not None and one.share == 0 for one in searched):
            reasons = "; ".join(f"{one.arm}: {one.problem}" for one in searched)
            raise DataUnavailable(f"the corpus could not be searched ({reasons})")
        return searched

    async def _fetched(self, ranked: Sequence[Fused], most: int) -> list[RetrievedChunk]:
        """The first ``most`` that are still there and say something new."""
        # Some more than are wanted: neighbours repeat one another, and asking again costs more than their texts.
        block = most + most // 2
        found: list[RetrievedChunk] = []
        for at in range(0, len(ranked), block):
            part = ranked[at : at + block]
            rows = await self._chunks.chunks([one.chunk_id for one in part])
            read = [_chunk(rows[one.chunk_id], one) for one in part if one.chunk_id in rows]
            found = without_repetition([*found, *read])
            if len(found) >= most:
                break
        return found[:most]


def _by_score(chunks: Sequence[RetrievedChunk], weights: Mapping[Arm, float]) -> list[RetrievedChunk]:
    """The same chunks in the order, and with the scores, of the arms' scores joined instead of their ranks."""
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    again = reranked([Fused(chunk.chunk_id, chunk.score, chunk.parts) for chunk in chunks], weights)
    return [replace(by_id[one.chunk_id], score=one.score, parts=one.parts) for one in again]


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
