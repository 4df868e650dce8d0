"""What does each arm find for a question, and how do settings rank it?

What an arm finds depends neither on k nor on weights nor on re-ranking. So every arm is asked once for each question,
and settings are tried by joining the kept lists as the retriever does, without a database or a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from src.domain.vocabulary import Vocabulary
from src.errors import DataUnavailable
from src.optimization.retrieval.labels import LabelledQuery
from src.optimization.retrieval.settings import MOST_K
from src.rag.configuration import ArmTimeouts, RagConfig, RetrievalSettings
from src.rag.corpus.chunking import count_tokens
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.retrieval.arms import Asked, Hit, SearchArm
from src.rag.retrieval.entities import recognise
from src.rag.retrieval.filters import check_query, checked, chunk_filter
from src.rag.retrieval.fusion import fuse, reranked
from src.rag.retrieval.opening import open_arms
from src.rag.retrieval.repetition import without_repetition
from src.rag.retrieval.searching import search_all
from src.rag.retrieval_results import RetrievedChunk
from src.resilience.outcomes import Unavailable
from src.storage.answer_citations import DocumentKey
from src.storage.database import Database, Row
from src.storage.rag_chunks import ChunkRepository
from src.storage.retrieval_configurations import ARMS, Arm, RetrievalConfig

_ROWS_AT_ONCE = 2_000
_PATIENCE = 30.0
"""How many times longer than a person waits for an arm: a busy machine is no property of the settings."""


@dataclass(frozen=True, slots=True)
class ArmFound:
    """What one arm found for one question; ``share`` in 0–1 is how much of the corpus it searched."""

    hits: tuple[Hit, ...]
    share: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk as far as ranking needs it; the text is its digest."""

    chunk: RetrievedChunk
    document: DocumentKey
    tokens: int


@dataclass(frozen=True)
class RecordedSearch:
    """What the arms found for each question, by item id, and the chunks by id.

    ``missing`` says of each arm that could not search at all why.
    """

    found: Mapping[str, Mapping[Arm, ArmFound]]
    pieces: Mapping[str, Piece]
    missing: Mapping[Arm, str]
    settings: RetrievalSettings

    def ranking(self, item_id: str, config: RetrievalConfig) -> list[Piece]:
        """The chunks that the retriever gives with these settings, in its order."""
        asked: dict[Arm, ArmFound] = {
            arm: one for arm, one in self.found[item_id].items() if config.weight(arm) > 0 and arm not in self.missing
        }
        weights: dict[Arm, float] = dict.fromkeys(ARMS, 0.0)
        weights |= {arm: config.weight(arm) * one.share for arm, one in asked.items()}
        fused = fuse({arm: one.hits for arm, one in asked.items()}, weights, k=self.settings.rrf_k)
        most = max(self.settings.candidates, config.k) if config.rerank else config.k
        by_id = {one.chunk_id: one for one in fused}
        chosen = self._first([one.chunk_id for one in fused], most)
        if config.rerank:
            chosen = [one.chunk_id for one in reranked([by_id[name] for name in chosen], weights)]
        return [self.pieces[name] for name in chosen[: config.k]]

    def _first(self, ranked: Sequence[str], most: int) -> list[str]:
        """The first ``most`` that say something new."""
        block = most + most // 2
        found: list[RetrievedChunk] = []
        for at in range(0, len(ranked), block):
            read = [self.pieces[name].chunk for name in ranked[at : at + block] if name in self.pieces]
            found = without_repetition([*found, *read])
            if len(found) >= most:
                break
        return [one.chunk_id for one in found[:most]]


class SearchRecorder:
    """Asks the arms of a database."""

    def __init__(
        self,
        database: Database,
        config: RagConfig,
        embeddings: EmbeddingProvider | Unavailable,
        vocabulary: Vocabulary,
    ) -> None:
        self._chunks = ChunkRepository(database)
        self._arms: list[SearchArm] = open_arms(self._chunks, config, embeddings, vocabulary)
        self._settings = config.retrieval
        self._vocabulary = vocabulary

    async def record(
        self, queries: Sequence[LabelledQuery], on_progress: Callable[[float], None] = lambda share: None
    ) -> RecordedSearch:
        """Every arm's answer to every question. Raises DataUnavailable where no arm can search."""
        found: dict[str, Mapping[Arm, ArmFound]] = {}
        problems: dict[Arm, dict[str, str]] = {}
        for done, query in enumerate(queries):
            found[query.item_id], failed = await self._asked(query)
            for arm, reason in failed.items():
                problems.setdefault(arm, {})[query.item_id] = reason
            on_progress((done + 1) / len(queries))
        missing = {arm: next(iter(of.values())) for arm, of in problems.items() if len(of) == len(queries)}
        if len(missing) == len(self._arms):
            raise DataUnavailable(f"the corpus could not be searched ({'; '.join(missing.values())})")
        # One question that an arm did not answer in time says nothing of settings.
        whole = {
            query.item_id: found[query.item_id]
            for query in queries
            if all(query.item_id not in of or arm in missing for arm, of in problems.items())
        }
        return RecordedSearch(whole, await self._pieces(whole), missing, self._settings)

    async def _asked(self, query: LabelledQuery) -> tuple[dict[Arm, ArmFound], dict[Arm, str]]:
        text, filters = check_query(query.query), checked(query.filters)
        entities = recognise(text, self._vocabulary)
        depth = max(self._settings.arm_depth, MOST_K)
        seconds = self._settings.timeout_seconds
        timeouts: dict[Arm, float] = {"dense": seconds.dense, "text": seconds.text, "graph": seconds.graph}
        asked = Asked(text, entities, chunk_filter(filters), depth)
        searched = await search_all(self._arms, asked, await self._chunks.state(), timeouts, None)
        failed = {one.arm: str(one.problem) for one in searched if one.problem is not None and one.share == 0}
        return {one.arm: ArmFound(one.hits, one.share) for one in searched}, failed

    async def _pieces(self, found: Mapping[str, Mapping[Arm, ArmFound]]) -> dict[str, Piece]:
        ids = sorted({hit.chunk_id for arms in found.values() for one in arms.values() for hit in one.hits})
        pieces: dict[str, Piece] = {}
        for at in range(0, len(ids), _ROWS_AT_ONCE):
            rows = await self._chunks.chunks(ids[at : at + _ROWS_AT_ONCE])
            pieces |= {name: _piece(row) for name, row in rows.items()}
        return pieces


def patient(config: RagConfig) -> RagConfig:
    """The configuration with the time that questions have that nobody waits for."""
    seconds = config.retrieval.timeout_seconds
    longer = ArmTimeouts(
        dense=_PATIENCE * seconds.dense, text=_PATIENCE * seconds.text, graph=_PATIENCE * seconds.graph
    )
    retrieval = config.retrieval.model_copy(update={"timeout_seconds": longer})
    return config.model_copy(update={"retrieval": retrieval})


def _piece(row: Row) -> Piece:
    chunk = RetrievedChunk(
        chunk_id=row["chunk_id"],
        document_id=row["document_id"],
        text=hashlib.sha256(row["content"].encode()).hexdigest(),
        score=0.0,
        parts={},
        title=row["title"],
        source_type=row["source_type"],
        source_id=row["source_id"],
        start=row["char_start"] or 0,
        end=row["char_end"] or 0,
    )
    return Piece(chunk, (row["source_type"], row["source_id"]), count_tokens(row["content"]))
