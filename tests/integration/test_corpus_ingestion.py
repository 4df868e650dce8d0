"""Only what changed is written, whole or not at all, whoever else writes and whenever the process is killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date

import psycopg
import pytest

from src.rag.corpus.chunking import Cutting
from src.rag.corpus.corpus import Corpus
from src.rag.corpus.cutting_again import cut_again
from src.rag.corpus.ingestion import Unreadable, ingest
from src.rag.corpus.missing_vectors import add_missing_vectors
from src.rag.documents import SourceType
from src.rag.embeddings.hashed import HashedEmbeddings
from src.rag.embeddings.provider import EmbeddingProvider, Vectors
from src.resilience.outcomes import Unavailable
from src.settings import PROJECT_ROOT
from src.storage.database import Database
from src.storage.rag_documents import CorpusChange, RagDocumentRepository
from tests.integration.corpus_child import CUTTING, document, documents

NONE = Unavailable("embeddings", "switched off")


class CountedEmbeddings(HashedEmbeddings):
    """Notes how many texts were embedded, and is out of reach when told."""

    def __init__(self, dims: int = 16) -> None:
        super().__init__(dims)
        self.texts = 0
        self.gone = False

    async def embed(self, texts: Sequence[str]) -> Vectors | Unavailable:  # type: ignore[override]
        if self.gone:
            return Unavailable("embeddings", "connection refused")
        self.texts += len(texts)
        return await super().embed(texts)


@asynccontextmanager
async def opened(
    db: Database, embeddings: EmbeddingProvider | Unavailable, cutting: Cutting = CUTTING, batch: int = 4
) -> AsyncIterator[Corpus]:
    repository = RagDocumentRepository(db)
    async with repository.writing() as writer:
        yield Corpus(repository, writer, embeddings, cutting, batch)


async def content(db: Database) -> list[dict[str, object]]:
    """Everything but generated ids and times."""
    return await db.fetch(
        "SELECT d.source_id, d.title, d.checksum, d.chunking, c.ordinal, c.content, c.section,"
        " c.char_start, c.char_end, c.token_count, e.model, e.dims, e.embedding::text"
        " FROM rag_documents d JOIN rag_chunks c USING (document_id) LEFT JOIN rag_embeddings e USING (chunk_id)"
        " ORDER BY d.source_id, c.ordinal, e.model"
    )


async def test_documents_are_stored_with_chunks_and_vectors(db: Database) -> None:
    done: list[int] = []
    embeddings = CountedEmbeddings()
    async with opened(db, embeddings) as corpus:
        report = await ingest(documents(10), corpus, on_progress=done.append)
        assert await corpus.repository.version() == 3
    assert (report.added, report.updated, report.unchanged, report.failed) == (10, 0, 0, ())
    assert (report.model, report.not_embedded) == ("hashed-16", None)
    assert report.chunks == report.embedded == embeddings.texts > 10
    assert done == [4, 8, 10]
    rows = await content(db)
    assert len(rows) == report.chunks
    assert {row["model"] for row in rows} == {"hashed-16"}
    assert {row["section"] for row in rows} == {"One", "Two"}


async def test_an_unchanged_document_is_neither_written_nor_embedded_again(db: Database) -> None:
    embeddings = CountedEmbeddings()
    async with opened(db, embeddings) as corpus:
        await ingest(documents(5), corpus)
        before, texts, version = await content(db), embeddings.texts, await corpus.repository.version()
        report = await ingest(documents(5), corpus)
        assert (report.unchanged, report.added, report.updated, report.chunks) == (5, 0, 0, 0)
        assert (await content(db), embeddings.texts) == (before, texts)
        assert await corpus.repository.version() == version


async def test_a_changed_document_is_replaced_and_keeps_its_id(db: Database) -> None:
    async with opened(db, HashedEmbeddings(16)) as corpus:
        await ingest(documents(3), corpus)
        kept = await db.fetch("SELECT document_id, source_id FROM rag_documents ORDER BY source_id")
        changed = [document("doc0001.md", "Something else.")]
        report = await ingest(changed, corpus)
        assert (report.updated, report.added, report.chunks) == (1, 0, 2)
    assert await db.fetch("SELECT document_id, source_id FROM rag_documents ORDER BY source_id") == kept
    texts = [row["content"] for row in await content(db) if row["source_id"] == "doc0001.md"]
    assert texts == ["Something else.", "An ending."]


async def test_other_labels_change_the_document_and_leave_its_chunks(db: Database) -> None:
    embeddings = CountedEmbeddings()
    async with opened(db, embeddings) as corpus:
        await ingest([document("a.md", "Text.")], corpus)
        ids, texts = await db.fetch("SELECT chunk_id FROM rag_chunks ORDER BY ordinal"), embeddings.texts
        report = await ingest([document("a.md", "Text.", brand="Kisqali", effective_date=date(2025, 1, 2))], corpus)
        assert (report.updated, report.chunks, embeddings.texts) == (1, 0, texts)
    assert await db.fetch("SELECT chunk_id FROM rag_chunks ORDER BY ordinal") == ids
    row = await db.fetchrow("SELECT brand, effective_date FROM rag_documents")
    assert row == {"brand": "Kisqali", "effective_date": date(2025, 1, 2)}


async def test_the_same_text_from_two_sources_is_two_documents(db: Database) -> None:
    async with opened(db, NONE) as corpus:
        report = await ingest([document("a.md", "Same."), document("b.md", "Same.")], corpus)
    assert report.added == 2


async def test_the_later_of_two_documents_of_one_source_counts(db: Database) -> None:
    async with opened(db, NONE) as corpus:
        await ingest([document("a.md", "Old."), document("a.md", "New.")], corpus)
    assert [row["content"] for row in await content(db)] == ["New.", "An ending."]


async def test_a_failed_source_is_reported_and_stops_no_other(db: Database) -> None:
    async with opened(db, NONE) as corpus:
        report = await ingest([Unreadable("x.pdf", "it is damaged"), document("a.md", "Text.")], corpus)
    assert (report.added, report.failed) == (1, (("x.pdf", "it is damaged"),))


async def test_without_a_model_chunks_are_stored_and_the_vectors_come_later(db: Database) -> None:
    async with opened(db, NONE) as corpus:
        report = await ingest(documents(3), corpus)
    assert (report.added, report.embedded, report.model, report.not_embedded) == (3, 0, None, "switched off")
    embeddings = CountedEmbeddings()
    async with opened(db, embeddings) as corpus:
        chunk_ids = await db.fetch("SELECT chunk_id FROM rag_chunks ORDER BY chunk_id")
        later = await add_missing_vectors(corpus)
        assert later.embedded == embeddings.texts == report.chunks
        assert (await add_missing_vectors(corpus)).embedded == 0
        assert embeddings.texts == report.chunks
    assert await db.fetch("SELECT chunk_id FROM rag_chunks ORDER BY chunk_id") == chunk_ids


async def test_vectors_added_later_are_those_that_would_have_been_made_at_once(db: Database) -> None:
    async with opened(db, NONE) as corpus:
        await ingest(documents(2), corpus)
    async with opened(db, HashedEmbeddings(16)) as corpus:
        await add_missing_vectors(corpus)
        later = await content(db)
        await corpus.writer.apply(CorpusChange(deleted=[*await corpus.repository.ids([SourceType.FILE])]), model=None)
        await ingest(documents(2), corpus)
    assert await content(db) == later


async def test_adding_again_gives_vectors_to_documents_that_have_none(db: Database) -> None:
    async with opened(db, NONE) as corpus:
        first = await ingest(documents(3), corpus)
    async with opened(db, HashedEmbeddings(16)) as corpus:
        again = await ingest(documents(3), corpus)
    assert (again.unchanged, again.chunks, again.embedded) == (3, 0, first.chunks)


async def test_a_model_that_goes_away_leaves_chunks_without_vectors_and_a_reason(db: Database) -> None:
    embeddings = CountedEmbeddings()
    async with opened(db, embeddings) as corpus:
        await ingest(documents(2), corpus)
        embeddings.gone = True
        report = await ingest(documents(6), corpus)
        assert (report.added, report.embedded, report.not_embedded) == (4, 0, "connection refused")
        assert (await add_missing_vectors(corpus)).not_embedded == "connection refused"
        embeddings.gone = False
        assert (await add_missing_vectors(corpus)).embedded == report.chunks


async def test_vectors_of_another_model_are_kept_beside(db: Database) -> None:
    for dims in (16, 32):
        async with opened(db, HashedEmbeddings(dims)) as corpus:
            await ingest(documents(1), corpus)
    models = await db.fetch("SELECT model, count(*)::int AS n FROM rag_embeddings GROUP BY 1 ORDER BY 1")
    assert [row["model"] for row in models] == ["hashed-16", "hashed-32"]
    assert len({row["n"] for row in models}) == 1


async def test_another_chunk_size_cuts_again_without_the_sources(db: Database) -> None:
    async with opened(db, HashedEmbeddings(16)) as corpus:
        await ingest(documents(5), corpus)
    other = Cutting(20, 4)
    async with opened(db, HashedEmbeddings(16), other) as corpus:
        report = await cut_again(corpus)
        assert (report.updated, report.embedded) == (5, report.chunks)
        assert (await cut_again(corpus)).updated == 0
        again = await content(db)
        assert (await ingest(documents(5), corpus)).unchanged == 5
    assert {row["chunking"] for row in again} == {str(other)}
    assert max(int(str(row["token_count"])) for row in again) <= 20


async def test_a_batch_that_cannot_be_stored_leaves_nothing_of_it(db: Database) -> None:
    broken = replace(document("b.md", "Text."), brand="Kisquali")
    async with opened(db, HashedEmbeddings(16), batch=2) as corpus:
        with pytest.raises(psycopg.DataError):
            await ingest([*documents(2), document("a.md", "Text."), broken], corpus)
        assert await corpus.repository.version() == 1
    assert {row["source_id"] for row in await content(db)} == {"doc0000.md", "doc0001.md"}


async def test_a_second_writer_waits_and_is_told_of_the_first(db: Database) -> None:
    told: list[str] = []
    repository, order = RagDocumentRepository(db), list[str]()

    async def second() -> None:
        async with repository.writing(told.append):
            order.append("second")

    async with repository.writing():
        waiting = asyncio.create_task(second())
        while not told:
            await asyncio.sleep(0.01)
        order.append("first")
    await waiting
    assert order == ["first", "second"]
    assert "is changing the corpus" in told[0]
    assert "connected since" in told[0]


async def test_two_ingestions_at_once_give_one_corpus(db: Database) -> None:
    async def one() -> int:
        async with opened(db, HashedEmbeddings(16)) as corpus:
            return (await ingest(documents(12), corpus)).added

    assert sorted(await asyncio.gather(one(), one())) == [0, 12]
    row = await db.fetchrow("SELECT count(*)::int AS n FROM rag_documents")
    assert row == {"n": 12}


@pytest.mark.slow
async def test_an_ingestion_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(
    db: Database, database_url: str
) -> None:
    command = [sys.executable, "-m", "tests.integration.corpus_child", database_url, "300"]
    child = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
    while not (count := (await db.fetchrow("SELECT count(*)::int AS n FROM rag_documents") or {})["n"]):
        assert child.poll() is None
        await asyncio.sleep(0.02)
    child.kill()
    child.communicate()
    assert 0 < count < 300
    partial = await content(db)
    assert {row["model"] for row in partial} == {"hashed-64"}
    again = subprocess.run(command, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True, timeout=120)
    stored = len({row["source_id"] for row in partial})
    assert int(again.stdout) <= 300 - stored < 300
    killed = await content(db)
    async with opened(db, HashedEmbeddings(64), batch=50) as corpus:
        await corpus.writer.apply(CorpusChange(deleted=[*await corpus.repository.ids([SourceType.FILE])]), model=None)
        await ingest(documents(300), corpus)
    assert await content(db) == killed
