"""How do documents become chunks with vectors: only what changed, each batch whole or not at all?"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from uuid import uuid4

import orjson

from src.rag.corpus.chunking import Cutting, chunk_document, searchable
from src.rag.corpus.corpus import Corpus
from src.rag.corpus.missing_vectors import add_missing_vectors
from src.rag.corpus.report import IngestReport
from src.rag.documents import SourceDocument
from src.resilience.outcomes import Unavailable
from src.storage.rag_documents import CorpusChange, Key, KnownDocument, StoredChunk, StoredDocument

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A source that could not become a document, and why."""

    source: str
    reason: str


class _Step(StrEnum):
    NEW = "new"
    REWRITE = "rewrite"
    DESCRIBE = "describe"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class _Planned:
    """A document and what has to be done with it. DESCRIBE leaves its chunks alone, as its text is the same."""

    document: SourceDocument
    document_id: str
    step: _Step
    lacks_vectors: bool


async def ingest(
    documents: Iterable[SourceDocument | Unreadable], corpus: Corpus, *, on_progress: Progress = lambda _: None
) -> IngestReport:
    """Bring the corpus up to ``documents``; others stay as they are. Run again, it goes on where it was stopped.

    A document whose content and cutting are stored costs one lookup; where only its vectors are missing, only
    they are added. Of two documents of one source the later counts. ``on_progress`` is told how many sources
    are done. Raises DatabaseUnavailable; batches committed before stay.
    """
    begun, report, done = time.monotonic(), IngestReport(), 0
    sources = iter(documents)
    while taken := await asyncio.to_thread(_take, sources, corpus.batch):
        readable = {key_of(source): source for source in taken if isinstance(source, SourceDocument)}
        failed = tuple((source.source, source.reason) for source in taken if isinstance(source, Unreadable))
        report = report + await _ingest_batch([*readable.values()], corpus) + IngestReport(failed=failed)
        done += len(taken)
        on_progress(done)
    return dataclasses.replace(report, model=corpus.model, seconds=time.monotonic() - begun)


def key_of(document: SourceDocument) -> Key:
    """What a document is found by again."""
    return str(document.source_type), document.source_id


def checksum(document: SourceDocument) -> str:
    """Digest of everything that is stored about a document; no two sources share one."""
    dated = document.effective_date.isoformat() if document.effective_date else None
    described = [*key_of(document), document.content_sha256, document.brand, document.region, document.uri, dated]
    stored = [described, {**document.metadata}]
    return hashlib.sha256(orjson.dumps(stored, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _take(sources: Iterator[SourceDocument | Unreadable], count: int) -> list[SourceDocument | Unreadable]:
    return list(islice(sources, count))


async def _ingest_batch(documents: Sequence[SourceDocument], corpus: Corpus) -> IngestReport:
    known = await corpus.repository.known([key_of(document) for document in documents], corpus.model)
    planned = [_plan(document, known.get(key_of(document)), corpus.cutting) for document in documents]
    report = await _write([plan for plan in planned if plan.step is not _Step.KEEP], corpus)
    kept = sum(plan.step is _Step.KEEP for plan in planned)
    report += IngestReport(unchanged=kept)
    # After the write: a document that is only described anew may lack vectors as well.
    if lacking := [plan.document_id for plan in planned if plan.lacks_vectors]:
        report += await add_missing_vectors(corpus, lacking)
    return report


def _plan(document: SourceDocument, known: KnownDocument | None, cutting: Cutting) -> _Planned:
    if known is None:
        return _Planned(document, str(uuid4()), _Step.NEW, lacks_vectors=False)
    if known.content_sha256 != document.content_sha256 or known.chunking != str(cutting):
        return _Planned(document, known.document_id, _Step.REWRITE, lacks_vectors=False)
    step = _Step.KEEP if known.checksum == checksum(document) else _Step.DESCRIBE
    return _Planned(document, known.document_id, step, known.lacks_embeddings)


async def _write(planned: Sequence[_Planned], corpus: Corpus) -> IngestReport:
    if not planned:
        return IngestReport()
    cut = [plan for plan in planned if plan.step in (_Step.NEW, _Step.REWRITE)]
    chunks, texts = await asyncio.to_thread(_chunks, cut, corpus.cutting)
    vectors = await corpus.vectors(texts)
    problem = vectors.reason if isinstance(vectors, Unavailable) else None
    if not isinstance(vectors, Unavailable):
        chunks = [dataclasses.replace(chunk, vector=vector) for chunk, vector in zip(chunks, vectors, strict=True)]
    await corpus.writer.apply(_change(planned, chunks, corpus.cutting), model=corpus.model, dims=corpus.dims)
    return IngestReport(
        added=sum(plan.step is _Step.NEW for plan in planned),
        updated=sum(plan.step is not _Step.NEW for plan in planned),
        chunks=len(chunks),
        embedded=0 if problem else len(chunks),
        notes=_notes(planned),
        not_embedded=problem if chunks else None,
    )


def _notes(planned: Sequence[_Planned]) -> tuple[str, ...]:
    """What a reader should know of how documents were read: under ``notes`` of their metadata."""
    documents = [plan.document for plan in planned]
    return tuple(
        f"{document.source_id}: {note}" for document in documents for note in document.metadata.get("notes", ())
    )


def _change(planned: Sequence[_Planned], chunks: Sequence[StoredChunk], cutting: Cutting) -> CorpusChange:
    def of(step: _Step) -> list[StoredDocument]:
        return [_stored(plan, cutting) for plan in planned if plan.step is step]

    return CorpusChange(of(_Step.NEW), of(_Step.REWRITE), of(_Step.DESCRIBE), chunks)


def _chunks(planned: Sequence[_Planned], cutting: Cutting) -> tuple[list[StoredChunk], list[str]]:
    """Chunks of all documents, and the text that each one's vector is computed from."""
    chunks, texts = [], []
    for plan in planned:
        for chunk in chunk_document(plan.document, cutting):
            texts.append(searchable(plan.document.title, chunk.section, chunk.content))
            chunks.append(
                StoredChunk(
                    chunk_id=str(uuid4()),
                    document_id=plan.document_id,
                    ordinal=chunk.ordinal,
                    content=chunk.content,
                    token_count=chunk.token_count,
                    section=chunk.section,
                    start=chunk.start,
                    end=chunk.end,
                )
            )
    return chunks, texts


def _stored(plan: _Planned, cutting: Cutting) -> StoredDocument:
    document = plan.document
    return StoredDocument(
        document_id=plan.document_id,
        source_type=str(document.source_type),
        source_id=document.source_id,
        title=document.title,
        brand=document.brand,
        region=document.region,
        effective_date=document.effective_date,
        checksum=checksum(document),
        content_sha256=document.content_sha256,
        chunking=str(cutting),
        uri=document.uri,
        sections=[
            {"headings": [*section.headings], "text": section.text, "start": section.start}
            for section in document.sections
        ],
        metadata=document.metadata,
    )
