"""A process that fills a corpus slowly enough to be killed: python -m tests.integration.corpus_child DSN COUNT."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from src.rag.corpus.chunking import Cutting
from src.rag.corpus.corpus import Corpus
from src.rag.corpus.ingestion import ingest
from src.rag.corpus.reading.contents import joined
from src.rag.documents import SourceDocument, SourceType
from src.rag.embeddings.hashed import HashedEmbeddings
from src.rag.embeddings.provider import Vectors
from src.storage.database import Database
from src.storage.rag_documents import RagDocumentRepository

CUTTING = Cutting(40, 8)


class SlowEmbeddings(HashedEmbeddings):
    """Takes a tenth of a second a call."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        await asyncio.sleep(0.1)
        return await super().embed(texts)


def documents(count: int, words: str = "word") -> list[SourceDocument]:
    """Documents of two sections and several chunks each."""
    return [document(f"doc{at:04d}.md", f"{words} {at}. " * 30) for at in range(count)]


def document(source_id: str, text: str, title: str = "Title", **given: object) -> SourceDocument:
    """A file of two sections."""
    _, sections = joined([(("One",), text), (("Two",), "An ending.")])
    return SourceDocument(SourceType.FILE, source_id, title, sections, **given)  # type: ignore[arg-type]


async def main(dsn: str, count: int) -> None:
    async with Database.open(dsn) as database:
        repository = RagDocumentRepository(database)
        async with repository.writing() as writer:
            corpus = Corpus(repository, writer, SlowEmbeddings(), CUTTING, 20)
            print((await ingest(documents(count), corpus)).added)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
