"""Which stored chunks have no vector of the model in use, and how do they get one?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from src.rag.corpus.chunking import searchable
from src.rag.corpus.corpus import Corpus
from src.rag.corpus.report import IngestReport
from src.resilience.outcomes import Unavailable


async def add_missing_vectors(
    corpus: Corpus,
    document_ids: Sequence[str] | None = None,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> IngestReport:
    """Embed the chunks without a vector, of these documents or of all, in committed batches.

    Nothing else is computed again. Where the model cannot be reached the report says why, and what was done stays.
    """
    begun, report = time.monotonic(), IngestReport(model=corpus.model)
    if isinstance(corpus.embeddings, Unavailable):
        return replace(report, not_embedded=corpus.embeddings.reason)
    model, dims = corpus.embeddings.model, corpus.embeddings.dims
    chunk_ids = await corpus.repository.without_vector(model, document_ids)
    for at in range(0, len(chunk_ids), corpus.batch):
        passages = await corpus.repository.passages(chunk_ids[at : at + corpus.batch])
        vectors = await corpus.vectors([searchable(p.title, p.section, p.content) for p in passages])
        if isinstance(vectors, Unavailable):
            report = replace(report, not_embedded=vectors.reason)
            break
        pairs = [(passage.chunk_id, vector) for passage, vector in zip(passages, vectors, strict=True)]
        await corpus.writer.embed(pairs, model=model, dims=dims)
        report = replace(report, embedded=report.embedded + len(pairs))
        on_progress(report.embedded, len(chunk_ids))
    return replace(report, seconds=time.monotonic() - begun)
