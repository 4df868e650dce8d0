"""Which chunks can be found, by vector, by word or by causal path?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from src.storage.database import Database, Query, Row, Session
from src.storage.insight_rows import VALIDATED

# A document about no brand, region or date is found under every one of them.
_FILTERED = (
    "(%(brand)s::text IS NULL OR d.brand IS NULL OR d.brand::text = %(brand)s)"
    " AND (%(region)s::text IS NULL OR d.region IS NULL OR d.region::text = %(region)s)"
    " AND (%(since)s::date IS NULL OR d.effective_date IS NULL OR d.effective_date >= %(since)s)"
    " AND (%(until)s::date IS NULL OR d.effective_date IS NULL OR d.effective_date <= %(until)s)"
    " AND (cardinality(%(source_types)s::text[]) = 0 OR d.source_type = ANY(%(source_types)s))"
)
# Materialised: all vectors are compared, so that a filter costs no recall. Only distances are kept, not vectors.
_EXACT = f"""
WITH compared AS MATERIALIZED (
  SELECT e.chunk_id, e.embedding <=> %(vector)s::vector AS distance FROM rag_embeddings AS e
  JOIN rag_chunks AS c USING (chunk_id) JOIN rag_documents AS d USING (document_id)
  WHERE e.model = %(model)s AND e.dims = %(dims)s AND {_FILTERED}
)
SELECT chunk_id, 1 - distance AS score FROM compared ORDER BY distance, chunk_id LIMIT %(limit)s
"""
_EXACT_ALL = """
WITH compared AS MATERIALIZED (
  SELECT chunk_id, embedding <=> %(vector)s::vector AS distance FROM rag_embeddings
  WHERE model = %(model)s AND dims = %(dims)s
)
SELECT chunk_id, 1 - distance AS score FROM compared ORDER BY distance, chunk_id LIMIT %(limit)s
"""
# The model stands in the text of the query: the index covers the rows of one model and is not used otherwise.
_NEAREST = """
SELECT chunk_id, 1 - (embedding::vector({dims}) <=> %(vector)s::vector({dims})) AS score FROM rag_embeddings
WHERE model = {model} ORDER BY embedding::vector({dims}) <=> %(vector)s::vector({dims}) LIMIT %(limit)s
"""
_WORDS = """
SELECT c.chunk_id, md5(d.title || E'\\x1e' || c.section || E'\\x1e' || c.content) AS digest,
       d.brand, d.region, d.effective_date, d.source_type
FROM rag_chunks AS c JOIN rag_documents AS d USING (document_id) ORDER BY c.chunk_id
"""
_TEXTS = """
SELECT c.chunk_id, d.title, c.section, c.content FROM rag_chunks AS c JOIN rag_documents AS d USING (document_id)
WHERE c.chunk_id = ANY(%s::uuid[])
"""
_OF_SOURCES = f"""
SELECT c.chunk_id, d.source_id, c.ordinal FROM rag_chunks AS c JOIN rag_documents AS d USING (document_id)
WHERE d.source_type = %(source_type)s AND d.source_id = ANY(%(source_ids)s) AND {_FILTERED}
ORDER BY d.source_id, c.ordinal
"""
_CHUNKS = """
SELECT c.chunk_id, c.document_id, c.content, c.ordinal, c.section, c.char_start, c.char_end,
       d.title, d.source_type, d.source_id, d.effective_date, d.brand, d.region, d.uri
FROM rag_chunks AS c JOIN rag_documents AS d USING (document_id) WHERE c.chunk_id = ANY(%s::uuid[])
"""
_PATHS = """
SELECT path_id, start_node, end_node, coalesce(intermediate_nodes, '{}') AS intermediate_nodes,
       coalesce(confidence_level, 0) AS confidence, brand, region
FROM causal_paths
WHERE validation_status = ANY(%(validated)s)
  AND (cardinality(%(brands)s::text[]) = 0 OR brand IS NULL OR brand::text = ANY(%(brands)s))
  AND (cardinality(%(regions)s::text[]) = 0 OR region IS NULL OR region::text = ANY(%(regions)s))
  AND (start_node = ANY(%(nodes)s) OR end_node = ANY(%(nodes)s)
       OR intermediate_nodes && %(nodes)s::text[])
ORDER BY confidence_level DESC NULLS LAST, path_id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class ChunkFilter:
    """Conditions on a chunk's document; None and () leave everything. Dates are included."""

    brand: str | None = None
    region: str | None = None
    since: date | None = None
    until: date | None = None
    source_types: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is left out."""
        return self == ChunkFilter()

    def parameters(self) -> dict[str, Any]:
        """As the statements take them."""
        return {
            "brand": self.brand,
            "region": self.region,
            "since": self.since,
            "until": self.until,
            "source_types": [*self.source_types],
        }


@dataclass(frozen=True, slots=True)
class CorpusState:
    """Which corpus this is, and which state of it: equal states hold equal chunks."""

    database: str
    version: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class VectorCount:
    """Chunks with a vector of one model, and all chunks."""

    vectors: int
    chunks: int

    @property
    def share(self) -> float:
        """Of the chunks that have one, in 0–1; 1 where there is no chunk."""
        return self.vectors / self.chunks if self.chunks else 1.0


@dataclass(frozen=True, slots=True)
class CausalPath:
    """A validated path; ``nodes`` in their order, ``confidence`` in 0–1."""

    path_id: str
    nodes: tuple[str, ...]
    confidence: float
    brand: str | None
    region: str | None


class ChunkRepository:
    """Reads ``rag_chunks`` with their documents and vectors, and ``causal_paths``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def state(self) -> CorpusState:
        """The state of the corpus now."""
        async with self._database.session() as session:
            return await _state(session)

    async def is_empty(self) -> bool:
        """Whether there is no chunk at all."""
        row = await self._database.fetchrow("SELECT EXISTS (SELECT 1 FROM rag_chunks) AS any")
        return not (row and row["any"])

    async def vector_count(self, model: str, dims: int) -> VectorCount:
        """How many vectors of ``model`` with ``dims`` numbers there are, for how many chunks."""
        row = await self._database.fetchrow(
            "SELECT (SELECT count(*) FROM rag_embeddings WHERE model = %s AND dims = %s) AS vectors,"
            " (SELECT count(*) FROM rag_chunks) AS chunks",
            [model, dims],
        )
        assert row is not None  # a query without FROM has one row
        return VectorCount(row["vectors"], row["chunks"])

    async def nearest_exactly(
        self, vector: str, *, model: str, dims: int, limit: int, among: ChunkFilter
    ) -> list[tuple[str, float]]:
        """Chunk ids with their cosine to ``vector`` ('[0.1,…]'), nearest first, every vector compared."""
        query = _EXACT_ALL if among.is_empty else _EXACT
        asked = {"vector": vector, "model": model, "dims": dims, "limit": limit, **among.parameters()}
        return _scored(await self._database.fetch(query, asked))

    async def nearest_by_index(self, vector: str, *, model: str, dims: int, limit: int) -> list[tuple[str, float]]:
        """The same over all chunks by the HNSW index (Malkov & Yashunin 2016), which may miss a few."""
        async with self._database.transaction() as session:
            # Half as many candidates again as are wanted, at most what pgvector takes.
            candidates = str(min(max(limit + limit // 2, 40), 1000))
            await session.execute("SELECT set_config('hnsw.ef_search', %s, true)", [candidates])
            await session.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            rows = await session.fetch(_of_model(_NEAREST, model, dims), {"vector": vector, "limit": limit})
        return _scored(rows)

    async def words(self) -> tuple[CorpusState, list[Row]]:
        """The state, and of each chunk its id, a digest of its text, and what filters look at; in order of id."""
        async with self._database.transaction() as session:
            await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return await _state(session), await session.fetch(_WORDS)

    async def texts(self, chunk_ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """Title, section and content by chunk id; chunks that are gone are absent."""
        rows = await self._database.fetch(_TEXTS, [[*chunk_ids]])
        return {row["chunk_id"]: (row["title"], row["section"], row["content"]) for row in rows}

    async def of_sources(
        self, source_type: str, source_ids: Sequence[str], among: ChunkFilter
    ) -> Mapping[str, list[str]]:
        """Chunk ids of these sources in reading order, by source id."""
        asked = {"source_type": source_type, "source_ids": [*source_ids]}
        found: dict[str, list[str]] = {}
        for row in await self._database.fetch(_OF_SOURCES, {**among.parameters(), **asked}):
            found.setdefault(row["source_id"], []).append(row["chunk_id"])
        return found

    async def chunks(self, chunk_ids: Sequence[str]) -> dict[str, Row]:
        """Chunks with their documents by id; those that are gone are absent."""
        rows = await self._database.fetch(_CHUNKS, [[*chunk_ids]])
        return {row["chunk_id"]: row for row in rows}

    async def causal_paths(
        self, nodes: Sequence[str], *, brands: Sequence[str], regions: Sequence[str], limit: int
    ) -> list[CausalPath]:
        """Paths whose refutations passed or need a look, surest first: through any of ``nodes``, and of
        these brands and regions or of none in particular."""
        asked = {
            "validated": [*VALIDATED],
            "nodes": [*nodes],
            "brands": [*brands],
            "regions": [*regions],
            "limit": limit,
        }
        return [
            CausalPath(
                row["path_id"],
                (row["start_node"], *row["intermediate_nodes"], row["end_node"]),
                row["confidence"],
                row["brand"],
                row["region"],
            )
            for row in await self._database.fetch(_PATHS, asked)
        ]


async def _state(session: Session) -> CorpusState:
    row = await session.fetchrow(
        "SELECT s.version, s.changed_at, d.datname || '-' || d.oid AS database"
        " FROM rag_corpus_state AS s, pg_database AS d WHERE d.datname = current_database()"
    )
    assert row is not None  # the migration wrote the one row, and a constraint keeps it
    return CorpusState(row["database"], row["version"], row["changed_at"])


def _scored(rows: Sequence[Row]) -> list[tuple[str, float]]:
    return [(row["chunk_id"], float(row["score"])) for row in rows]


def _of_model(query: str, model: str, dims: int) -> Query:
    from psycopg import sql

    return sql.SQL(query).format(model=sql.Literal(model), dims=sql.Literal(dims))
