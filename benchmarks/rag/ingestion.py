"""How long does it take to bring 5,183 documents (BEIR SciFact) into the corpus, with embeddings, and again?

``python -m benchmarks.rag.ingestion [--documents N] [--data FOLDER]`` prints a table. A throw-away database is
used. Target: at most 180 s on two quiet cores with all-MiniLM-L6-v2.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from src.rag.configuration import load_rag_config
from src.rag.corpus.chunking import Cutting
from src.rag.corpus.corpus import Corpus
from src.rag.corpus.ingestion import ingest
from src.rag.corpus.reading.contents import joined
from src.rag.corpus.report import IngestReport
from src.rag.documents import SourceDocument, SourceType
from src.rag.embeddings.selection import open_embeddings
from src.settings import PROJECT_ROOT
from src.storage.connection import connect
from src.storage.rag_documents import RagDocumentRepository
from src.storage.retrieval_configurations import active_configuration

TARGET_SECONDS = 180


def scifact(folder: Path) -> Iterator[SourceDocument]:
    """Title and abstract of each document."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            _, sections = joined([((), row["text"])])
            yield SourceDocument(SourceType.FILE, f"scifact/{row['_id']}", row["title"], sections)


async def measure(documents: list[SourceDocument]) -> list[tuple[str, IngestReport]]:
    """The first and the second ingestion of the same documents."""
    config = load_rag_config()
    async with connect(migrate=True) as database:
        active = await active_configuration(database)
        repository = RagDocumentRepository(database)
        async with repository.writing() as writer:
            cutting = Cutting(active.chunk_size, active.chunk_overlap)
            embeddings = open_embeddings(config.embedding)
            corpus = Corpus(repository, writer, embeddings, cutting, config.corpus.documents_per_commit)
            first = await ingest(documents, corpus, on_progress=_progress(len(documents)))
            return [("new", first), ("unchanged", await ingest(documents, corpus))]


def _progress(total: int) -> Callable[[int], None]:
    begun = time.monotonic()

    def report(done: int) -> None:
        sys.stderr.write(f"\r{done:,} of {total:,} documents, {time.monotonic() - begun:.0f} s")

    return report


def main() -> int:
    """Print the table; 1 when the first ingestion took longer than the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=None)
    parser.add_argument("--data", type=Path, default=PROJECT_ROOT.parent / "shared/data/rag/scifact")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"needs {options.data}: SciFact of BEIR as corpus.jsonl.gz", file=sys.stderr)
        return 2
    documents = list(islice(scifact(options.data), options.documents))
    with tempfile.TemporaryDirectory(prefix="e2i-bench-") as folder:
        os.environ["E2I_VAR_DIR"] = folder
        os.environ.pop("DATABASE_URL", None)
        rows = asyncio.run(measure(documents))
    print(f"\n{'run':<10} {'documents':>9} {'chunks':>7} {'embedded':>8} {'seconds':>8}")
    for name, report in rows:
        print(f"{name:<10} {len(documents):>9,} {report.chunks:>7,} {report.embedded:>8,} {report.seconds:>8.1f}")
    print(f"target: {TARGET_SECONDS} s for the first of all 5,183 documents on two quiet cores")
    print(f"processor time of this process: {time.process_time():.1f} s; load at the end: {os.getloadavg()[0]:.1f}")
    return int(rows[0][1].seconds > TARGET_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
