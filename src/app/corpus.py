"""How is the corpus filled, listed, emptied and kept current? The questions behind `e2i corpus`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from src.app.tracing import traced_database
from src.errors import ContractViolation, DataUnavailable
from src.rag.configuration import RagConfig, load_rag_config
from src.rag.corpus.chunking import Cutting
from src.rag.corpus.corpus import Corpus
from src.rag.corpus.cutting_again import cut_again
from src.rag.corpus.files import FoundFiles, Given, find_files, path_of, read_documents, source_ids
from src.rag.corpus.ingestion import Unreadable, ingest, key_of
from src.rag.corpus.insights import INSIGHT_TYPES, insights
from src.rag.corpus.labels import brand_named, region_named
from src.rag.corpus.missing_vectors import add_missing_vectors
from src.rag.corpus.report import IngestReport
from src.rag.documents import SourceDocument, SourceType
from src.rag.embeddings.selection import close_embeddings, open_embeddings
from src.storage.database import Database
from src.storage.rag_documents import CorpusChange, DocumentSummary, RagDocumentRepository, StoredChunk
from src.storage.retrieval_configurations import active_configuration

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class DocumentInFull:
    """A document with its chunks, in order."""

    summary: DocumentSummary
    chunks: tuple[StoredChunk, ...]


async def add_files(
    paths: Sequence[Path],
    *,
    brand: str | None = None,
    region: str | None = None,
    effective_date: date | None = None,
    keep_missing: bool = False,
    on_progress: Progress = lambda step, share: None,
) -> IngestReport:
    """Add files and folders; documents whose files are gone from a folder are deleted unless ``keep_missing``.

    Raises ContractViolation and UnreadableFile before anything is changed; a single file that cannot be read
    or names persons is in the report.
    """
    given = Given(
        None if brand is None else brand_named(brand),
        None if region is None else region_named(region),
        effective_date,
    )
    found = find_files(paths)
    async with open_corpus(on_progress) as corpus:
        stored = await corpus.repository.ids([SourceType.FILE])
        ids = source_ids(found.files, {source_id: uri for source_id, uri, _ in stored.values()})
        documents = read_documents(found.files, ids, given, max_mb=load_rag_config().corpus.max_file_mb)
        report = await _ingested(documents, len(found.files), corpus, on_progress)
        if not keep_missing:
            gone = [key for key, (_, uri, _) in stored.items() if uri is not None and _is_gone(uri, found)]
            report += await _deleted(gone, corpus)
    skipped = (f"{found.skipped} files of other types were left alone",) if found.skipped else ()
    return replace(report, notes=report.notes + skipped)


async def add_insights(*, on_progress: Progress = lambda step, share: None) -> IngestReport:
    """Write the texts of the tables anew; those whose source is gone are deleted, unchanged ones cost a lookup."""
    async with open_corpus(on_progress) as corpus:
        written = await insights(corpus.database, on_step=lambda step: on_progress(step, 0.0))
        report = await _ingested(written, len(written), corpus, on_progress)
        current = {key_of(document) for document in written if isinstance(document, SourceDocument)}
        stored = await corpus.repository.ids(INSIGHT_TYPES)
        return report + await _deleted(
            [key for key, (source_id, _, kind) in stored.items() if (kind, source_id) not in current], corpus
        )


async def reindex(*, missing_only: bool = False, on_progress: Progress = lambda step, share: None) -> IngestReport:
    """Cut again what was cut by other numbers than the active ones, and embed what has no vector of the model.

    With ``missing_only`` nothing is cut again. What is current is not computed again.
    """
    async with open_corpus(on_progress) as corpus:
        report = IngestReport(model=corpus.model)
        if not missing_only:
            report += await cut_again(corpus, on_progress=lambda done, total: on_progress("cutting", done / total))
        return report + await add_missing_vectors(
            corpus, on_progress=lambda done, total: on_progress(f"{done:,} of {total:,} chunks", done / total)
        )


async def list_documents(
    *, brand: str | None = None, region: str | None = None, source_type: str | None = None
) -> list[DocumentSummary]:
    """Documents of the corpus. Raises ContractViolation for a brand, region or type that does not exist."""
    if source_type is not None and source_type not in list(SourceType):
        raise ContractViolation(f"there is no document type '{source_type[:40]}'; there are {', '.join(SourceType)}")
    async with traced_database() as database:
        return await RagDocumentRepository(database).summaries(
            brand=None if brand is None else brand_named(brand),
            region=None if region is None else region_named(region),
            source_type=source_type,
        )


async def show_document(key: str) -> DocumentInFull:
    """A document by id, source, title or address. Raises DataUnavailable and ContractViolation."""
    async with traced_database() as database:
        repository = RagDocumentRepository(database)
        summary = await repository.find(key)
        return DocumentInFull(summary, tuple(await repository.chunks(summary.document_id)))


async def remove_documents(
    keys: Sequence[str], *, below: Sequence[Path] = (), on_progress: Progress = lambda step, share: None
) -> list[DocumentSummary]:
    """Delete documents with their chunks, all or none; files themselves stay.

    ``below`` are files and folders, there or not: every document that came from one of them goes. Raises as
    ``show_document``, and DataUnavailable for one that no document came from.
    """
    async with traced_database() as database:
        repository = RagDocumentRepository(database)
        async with repository.writing(lambda who: on_progress(f"waiting: {who}", 0.0)) as writer:
            chosen = [await repository.find(key) for key in keys]
            chosen += _came_from(below, await repository.summaries(source_type=SourceType.FILE)) if below else []
            found = {summary.document_id: summary for summary in chosen}
            await writer.apply(CorpusChange(deleted=[*found]), model=None)
            return [*found.values()]


@dataclass(frozen=True)
class OpenCorpus(Corpus):
    """A corpus with the database it is in."""

    database: Database


@asynccontextmanager
async def open_corpus(
    on_progress: Progress = lambda step, share: None, config: RagConfig | None = None
) -> AsyncIterator[OpenCorpus]:
    """The corpus of the configured database, opened for change by this process alone.

    Waits while another process changes it. Raises DatabaseUnavailable, MigrationError and ConfigError.
    """
    settings = config or load_rag_config()
    embeddings = open_embeddings(settings.embedding)
    try:
        async with traced_database() as database:
            active = await active_configuration(database)
            repository = RagDocumentRepository(database)
            async with repository.writing(lambda who: on_progress(f"waiting: {who}", 0.0)) as writer:
                cutting = Cutting(active.chunk_size, active.chunk_overlap)
                batch = settings.corpus.documents_per_commit
                yield OpenCorpus(repository, writer, embeddings, cutting, batch, database)
    finally:
        await close_embeddings(embeddings)


async def _ingested(
    documents: Iterable[SourceDocument | Unreadable], total: int, corpus: Corpus, on_progress: Progress
) -> IngestReport:
    return await ingest(
        documents, corpus, on_progress=lambda done: on_progress(f"{done:,} of {total:,}", done / max(total, 1))
    )


async def _deleted(document_ids: Sequence[str], corpus: Corpus) -> IngestReport:
    if document_ids:
        await corpus.writer.apply(CorpusChange(deleted=document_ids), model=None)
    return IngestReport(deleted=len(document_ids))


def _came_from(places: Sequence[Path], stored: Sequence[DocumentSummary]) -> list[DocumentSummary]:
    paths = {summary.document_id: path_of(summary.uri) for summary in stored if summary.uri is not None}
    chosen = []
    for place in places:
        whole = place.expanduser().resolve()
        found = [one for one in stored if one.document_id in paths and paths[one.document_id].is_relative_to(whole)]
        if not found:
            raise DataUnavailable(
                f"no document of the corpus came from {place}; 'e2i corpus list --json' shows each uri"
            )
        chosen += found
    return chosen


def _is_gone(uri: str, found: FoundFiles) -> bool:
    path = path_of(uri)
    return any(path.is_relative_to(folder) for folder in found.folders) and not path.exists()
