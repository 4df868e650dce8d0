"""Which stored documents were cut in another way than asked for now, and how are they cut again?"""

from __future__ import annotations

from collections.abc import Callable

from src.rag.corpus.corpus import Corpus
from src.rag.corpus.ingestion import ingest
from src.rag.corpus.report import IngestReport
from src.rag.documents import Section, SourceDocument, SourceType
from src.storage.gateway import Row


async def cut_again(
    corpus: Corpus, *, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> IngestReport:
    """Cut and embed them from their stored text, in committed batches; their sources are not read."""
    report = IngestReport(model=corpus.model)
    ids = await corpus.repository.cut_otherwise(str(corpus.cutting))
    for at in range(0, len(ids), corpus.batch):
        rows = await corpus.repository.rows(ids[at : at + corpus.batch])
        report += await ingest([stored_document(row) for row in rows], corpus)
        on_progress(min(at + corpus.batch, len(ids)), len(ids))
    return report


def stored_document(row: Row) -> SourceDocument:
    """The document of a row of ``rag_documents``."""
    sections = tuple(
        Section(section["text"], tuple(section["headings"]), section["start"]) for section in row["sections"]
    )
    return SourceDocument(
        source_type=SourceType(row["source_type"]),
        source_id=row["source_id"],
        title=row["title"],
        sections=sections,
        brand=row["brand"],
        region=row["region"],
        effective_date=row["effective_date"],
        uri=row["uri"],
        metadata=row["metadata"],
    )
