"""Which documents can be retrieved, in which pieces, and how do they change without being seen half changed?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from src.errors import ContractViolation, DataUnavailable
from src.storage.database import Database, Row, Session, json_value

DOCUMENTS, CHUNKS, EMBEDDINGS = "rag_documents", "rag_chunks", "rag_embeddings"
WRITER_LOCK = 6_021_031

_COLUMNS = (
    *("document_id", "source_type", "source_id", "title", "brand", "region", "effective_date", "checksum"),
    *("content_sha256", "chunking", "uri", "sections", "metadata"),
)

Key = tuple[str, str]
"""Source type and source id: what a document is found by again."""

_KNOWN = """
SELECT d.source_type, d.source_id, d.document_id, d.checksum, d.content_sha256, d.chunking,
       EXISTS (
         SELECT 1 FROM rag_chunks AS c
         WHERE c.document_id = d.document_id AND NOT EXISTS (
           SELECT 1 FROM rag_embeddings AS e WHERE e.chunk_id = c.chunk_id AND e.model = %(model)s
         )
       ) AS lacks_embeddings
FROM rag_documents AS d
JOIN unnest(%(types)s::text[], %(ids)s::text[]) AS wanted (source_type, source_id) USING (source_type, source_id)
"""
_SUMMARIES = """
SELECT d.document_id, d.source_type, d.source_id, d.title, d.brand, d.region, d.effective_date, d.uri, d.chunking,
       d.metadata, d.updated_at, coalesce(c.chunks, 0) AS chunks, coalesce(c.tokens, 0) AS tokens,
       coalesce(e.models, '{{}}') AS models
FROM rag_documents AS d
LEFT JOIN LATERAL (
  SELECT count(*)::int AS chunks, sum(token_count)::int AS tokens FROM rag_chunks WHERE document_id = d.document_id
) AS c ON true
LEFT JOIN LATERAL (
  SELECT array_agg(model ORDER BY model) AS models FROM (
    SELECT model FROM rag_embeddings JOIN rag_chunks USING (chunk_id)
    WHERE document_id = d.document_id GROUP BY model HAVING count(*) = c.chunks
  ) AS complete
) AS e ON true
WHERE {condition}
ORDER BY d.source_type, d.source_id
"""
_FOUND_BY = (
    "d.source_id = %(key)s OR d.title = %(key)s OR d.uri = %(key)s"
    " OR (length(%(key)s) >= 4 AND starts_with(d.document_id::text, lower(%(key)s)))"
)
_CHOSEN = (
    "(%(brand)s::text IS NULL OR d.brand::text = %(brand)s)"
    " AND (%(region)s::text IS NULL OR d.region::text = %(region)s)"
    " AND (%(source_type)s::text IS NULL OR d.source_type = %(source_type)s)"
)
_UPDATE = """
UPDATE rag_documents SET title = %(title)s, brand = %(brand)s, region = %(region)s, effective_date = %(effective_date)s,
  checksum = %(checksum)s, content_sha256 = %(content_sha256)s, chunking = %(chunking)s, uri = %(uri)s,
  sections = %(sections)s, metadata = %(metadata)s, updated_at = now()
WHERE document_id = %(document_id)s
"""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A row of ``rag_documents``. ``checksum`` is over everything here, ``content_sha256`` over title and text.

    ``chunking`` names how the text was cut; ``sections`` is the text itself, as JSON objects with the keys
    headings, text and start.
    """

    document_id: str
    source_type: str
    source_id: str
    title: str
    brand: str | None
    region: str | None
    effective_date: date | None
    checksum: str
    content_sha256: str
    chunking: str
    uri: str | None
    sections: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """What the document is found by again."""
        return self.source_type, self.source_id


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A row of ``rag_chunks`` and, where there is one, its vector as text ('[0.1,…]')."""

    chunk_id: str
    document_id: str
    ordinal: int
    content: str
    token_count: int
    section: str
    start: int
    end: int
    vector: str | None = None


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """What is needed to tell whether a document has changed."""

    document_id: str
    checksum: str
    content_sha256: str | None
    chunking: str | None
    lacks_embeddings: bool


@dataclass(frozen=True, slots=True)
class DocumentSummary:
    """A document as it is listed; ``models`` have an embedding of every one of its ``chunks``."""

    document_id: str
    source_type: str
    source_id: str
    title: str
    brand: str | None
    region: str | None
    effective_date: date | None
    uri: str | None
    chunking: str | None
    metadata: dict[str, Any]
    updated_at: datetime
    chunks: int
    tokens: int
    models: list[str]


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk with what its document and section are called."""

    chunk_id: str
    document_id: str
    title: str
    section: str
    content: str


@dataclass(frozen=True, slots=True)
class CorpusChange:
    """What one transaction does: documents that are new, written anew, or only described anew; ids that go.

    ``chunks`` are those of the new and the rewritten documents.
    """

    new: Sequence[StoredDocument] = ()
    rewritten: Sequence[StoredDocument] = ()
    described: Sequence[StoredDocument] = ()
    chunks: Sequence[StoredChunk] = ()
    deleted: Sequence[str] = ()


@dataclass(frozen=True)
class CorpusWriter:
    """Changes the corpus for the one process that may; every change is one transaction and one new version.

    All statements run on the connection that holds the lock: who loses it can write no more.
    """

    session: Session

    async def apply(self, change: CorpusChange, *, model: str | None, dims: int = 0) -> None:
        """Make the whole change or none of it; vectors of the chunks are those of ``model``."""
        async with self.session.connection.transaction():
            if gone := [*change.deleted]:
                await self.session.execute("DELETE FROM rag_documents WHERE document_id = ANY(%s::uuid[])", [gone])
            if again := [document.document_id for document in change.rewritten]:
                await self.session.execute("DELETE FROM rag_chunks WHERE document_id = ANY(%s::uuid[])", [again])
            for document in (*change.rewritten, *change.described):
                await self.session.execute(_UPDATE, _values(document))
            await self.session.copy_rows(
                DOCUMENTS, _COLUMNS, ([*_values(document).values()] for document in change.new)
            )
            await self._add_chunks(change.chunks)
            vectors = [(chunk.chunk_id, chunk.vector) for chunk in change.chunks if chunk.vector is not None]
            await self._add_vectors(vectors, model, dims)
            await self._new_version()

    async def embed(self, vectors: Sequence[tuple[str, str]], *, model: str, dims: int) -> None:
        """Add vectors (chunk id, '[0.1,…]') to chunks that have none of ``model``."""
        async with self.session.connection.transaction():
            await self._add_vectors(vectors, model, dims)
            await self._new_version()

    async def _add_chunks(self, chunks: Sequence[StoredChunk]) -> None:
        columns = ("chunk_id", "document_id", "ordinal", "content", "token_count", "section", "char_start", "char_end")
        rows = (
            (c.chunk_id, c.document_id, c.ordinal, c.content, c.token_count, c.section, c.start, c.end) for c in chunks
        )
        await self.session.copy_rows(CHUNKS, columns, rows)

    async def _add_vectors(self, vectors: Sequence[tuple[str, str]], model: str | None, dims: int) -> None:
        if vectors and model is None:
            raise ValueError("vectors need the name of their model")
        rows = ((chunk_id, model, dims, vector) for chunk_id, vector in vectors)
        await self.session.copy_rows(EMBEDDINGS, ("chunk_id", "model", "dims", "embedding"), rows)

    async def _new_version(self) -> None:
        await self.session.execute("UPDATE rag_corpus_state SET version = version + 1, changed_at = now()")


class RagDocumentRepository:
    """Reads documents and opens the one writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """A number that grows with every change of the corpus."""
        row = await self._database.fetchrow("SELECT version FROM rag_corpus_state")
        return int(row["version"]) if row else 0

    async def known(self, keys: Sequence[Key], model: str | None) -> dict[Key, KnownDocument]:
        """Which of these documents are stored. Without a model no embedding is missed."""
        rows = await self._database.fetch(
            _KNOWN, {"model": model, "types": [key[0] for key in keys], "ids": [key[1] for key in keys]}
        )
        return {
            (row["source_type"], row["source_id"]): KnownDocument(
                row["document_id"],
                row["checksum"],
                row["content_sha256"],
                row["chunking"],
                model is not None and row["lacks_embeddings"],
            )
            for row in rows
        }

    async def ids(self, source_types: Sequence[str]) -> dict[str, tuple[str, str | None, str]]:
        """(source id, address, source type) of every document of these types, by document id."""
        rows = await self._database.fetch(
            "SELECT document_id, source_id, uri, source_type FROM rag_documents WHERE source_type = ANY(%s)",
            [[*source_types]],
        )
        return {row["document_id"]: (row["source_id"], row["uri"], row["source_type"]) for row in rows}

    async def summaries(
        self, *, brand: str | None = None, region: str | None = None, source_type: str | None = None
    ) -> list[DocumentSummary]:
        """Documents by source type and source id; of one brand, region or type, where given."""
        wanted = {"brand": brand, "region": region, "source_type": source_type}
        return [_summary(row) for row in await self._database.fetch(_SUMMARIES.format(condition=_CHOSEN), wanted)]

    async def find(self, key: str) -> DocumentSummary:
        """The document of that id (or the only one beginning so), source id, title or address.

        Raises DataUnavailable where there is none, ContractViolation where there are several.
        """
        rows = await self._database.fetch(_SUMMARIES.format(condition=_FOUND_BY), {"key": key})
        if not rows:
            raise DataUnavailable(f"there is no document '{key[:80]}' in the corpus; 'e2i corpus list' shows them")
        if len(rows) > 1:
            ids = ", ".join(row["document_id"][:13] for row in rows[:4])
            raise ContractViolation(f"'{key[:80]}' means {len(rows)} documents; use one of the ids {ids}")
        return _summary(rows[0])

    async def rows(self, document_ids: Sequence[str]) -> Sequence[Row]:
        """Whole rows of these documents, text included."""
        return await self._database.fetch(
            "SELECT * FROM rag_documents WHERE document_id = ANY(%s::uuid[]) ORDER BY source_type, source_id",
            [[*document_ids]],
        )

    async def chunks(self, document_id: str) -> list[StoredChunk]:
        """The chunks of a document, in order."""
        rows = await self._database.fetch(
            "SELECT chunk_id, document_id, ordinal, content, token_count, section, char_start AS start, char_end AS end"
            " FROM rag_chunks WHERE document_id = %s ORDER BY ordinal",
            [document_id],
        )
        return [StoredChunk(**row) for row in rows]

    async def cut_otherwise(self, chunking: str) -> list[str]:
        """Ids of the documents that were cut in another way."""
        rows = await self._database.fetch(
            "SELECT document_id FROM rag_documents WHERE chunking IS DISTINCT FROM %s ORDER BY source_type, source_id",
            [chunking],
        )
        return [row["document_id"] for row in rows]

    async def without_vector(self, model: str, document_ids: Sequence[str] | None = None) -> list[str]:
        """Ids of chunks that have no embedding of ``model``, of these documents or of all."""
        rows = await self._database.fetch(
            "SELECT c.chunk_id FROM rag_chunks AS c WHERE (%(ids)s::uuid[] IS NULL OR c.document_id = ANY(%(ids)s))"
            " AND NOT EXISTS (SELECT 1 FROM rag_embeddings AS e WHERE e.chunk_id = c.chunk_id AND e.model = %(model)s)"
            " ORDER BY c.document_id, c.ordinal",
            {"ids": None if document_ids is None else [*document_ids], "model": model},
        )
        return [row["chunk_id"] for row in rows]

    async def passages(self, chunk_ids: Sequence[str]) -> list[Passage]:
        """These chunks with the titles of their documents."""
        rows = await self._database.fetch(
            "SELECT c.chunk_id, c.document_id, d.title, c.section, c.content FROM rag_chunks AS c"
            " JOIN rag_documents AS d USING (document_id) WHERE c.chunk_id = ANY(%s::uuid[])",
            [[*chunk_ids]],
        )
        return [Passage(**row) for row in rows]

    @asynccontextmanager
    async def writing(self, on_wait: Callable[[str], None] = lambda _: None) -> AsyncIterator[CorpusWriter]:
        """The right to change the corpus; while another process has it, this waits and ``on_wait`` is told of whom."""
        async with self._database.session() as session:
            row = await session.fetchrow("SELECT pg_try_advisory_lock(%s) AS held", [WRITER_LOCK])
            if not (row and row["held"]):
                on_wait(await _holder(session))
                await session.execute("SELECT pg_advisory_lock(%s)", [WRITER_LOCK])
            try:
                yield CorpusWriter(session)
            finally:
                if not session.connection.closed:
                    await session.execute("SELECT pg_advisory_unlock(%s)", [WRITER_LOCK])


async def _holder(session: Session) -> str:
    row = await session.fetchrow(
        "SELECT a.pid, a.backend_start FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objid = %s AND l.classid = 0",
        [WRITER_LOCK],
    )
    if row is None or row["backend_start"] is None:
        return "another process is changing the corpus"
    return f"another process (connected since {row['backend_start']:%H:%M:%S} UTC) is changing the corpus"


def _values(document: StoredDocument) -> dict[str, Any]:
    plain = {name: getattr(document, name) for name in _COLUMNS}
    return plain | {"sections": json_value([*document.sections]), "metadata": json_value({**document.metadata})}


def _summary(row: Row) -> DocumentSummary:
    return DocumentSummary(**row)
