"""A small corpus put straight into the tables, with vectors of hashed words."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from src.rag.configuration import RagConfig, load_rag_config
from src.rag.corpus.chunking import searchable
from src.rag.embeddings.hashed import HashedEmbeddings
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.retrieval.arms import Asked, Found, Hit
from src.storage.database import Database
from src.storage.rag_chunks import CorpusState
from src.storage.rag_documents import CorpusChange, RagDocumentRepository, StoredChunk, StoredDocument
from src.storage.retrieval_configurations import Arm


@dataclass(frozen=True)
class Text:
    """A document of one section, cut where ``|`` stands."""

    title: str
    content: str
    brand: str | None = None
    region: str | None = None
    day: date | None = None
    source_type: str = "file"
    source_id: str = ""

    @property
    def id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.source_type}/{self.source_id or self.title}"))

    @property
    def stored(self) -> StoredDocument:
        digest = hashlib.sha256(f"{self.id}{self.content}".encode()).hexdigest()
        return StoredDocument(
            document_id=self.id,
            source_type=self.source_type,
            source_id=self.source_id or self.title,
            title=self.title,
            brand=self.brand,
            region=self.region,
            effective_date=self.day,
            checksum=digest,
            content_sha256=digest,
            chunking="test",
            uri=None,
            sections=[],
            metadata={},
        )

    def chunks(self) -> list[StoredChunk]:
        pieces, at = [], 0
        for ordinal, piece in enumerate(self.content.split("|")):
            number = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.id}/{ordinal}"))
            pieces.append(StoredChunk(number, self.id, ordinal, piece, len(piece.split()), "", at, at + len(piece)))
            at += len(piece) + 1
        return pieces


async def add(database: Database, texts: Sequence[Text], embeddings: EmbeddingProvider | None = None) -> None:
    """Store the documents as the ingestion does; without embeddings there are no vectors."""
    chunks = [(text, chunk) for text in texts for chunk in text.chunks()]
    stored = [chunk for _, chunk in chunks]
    if embeddings is not None:
        vectors: Any = await embeddings.embed([searchable(text.title, "", chunk.content) for text, chunk in chunks])
        written = [orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode() for vector in vectors]
        stored = [replace(chunk, vector=vector) for chunk, vector in zip(stored, written, strict=True)]
    async with RagDocumentRepository(database).writing() as writer:
        change = CorpusChange(new=[text.stored for text in texts], chunks=stored)
        await writer.apply(
            change, model=embeddings and embeddings.model, dims=embeddings.dims if embeddings is not None else 0
        )


async def remove(database: Database, *texts: Text) -> None:
    """Delete the documents."""
    async with RagDocumentRepository(database).writing() as writer:
        await writer.apply(CorpusChange(deleted=[text.id for text in texts]), model=None)


def rag_config(folder: Path, **timeouts: float) -> RagConfig:
    """The shipped configuration with the index in ``folder``."""
    shipped = load_rag_config()
    corpus = shipped.corpus.model_copy(update={"index_folder": str(folder)})
    seconds = shipped.retrieval.timeout_seconds.model_copy(
        update={"dense": 60.0, "text": 60.0, "graph": 60.0, **timeouts}
    )
    retrieval = shipped.retrieval.model_copy(update={"timeout_seconds": seconds})
    return shipped.model_copy(update={"corpus": corpus, "retrieval": retrieval})


@dataclass
class FakeArm:
    """Answers with what it is given, raises it, or takes too long."""

    name: Arm
    answer: Sequence[Hit] | Exception | Callable[[Asked], Sequence[Hit]] = ()
    slow_s: float = 0.0
    share: float = 1.0
    lacking: str | None = None

    async def prepare(self, state: CorpusState) -> None:
        pass

    async def search(self, asked: Asked) -> Found:
        await asyncio.sleep(self.slow_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Found(self.answer(asked) if callable(self.answer) else self.answer, self.share, self.lacking)


MARCH = date(2025, 3, 1)
REPORTS = (
    Text("Kisqali in the northeast", "Kisqali TRx rose by 12 percent in the northeast.", "Kisqali", "northeast"),
    Text(
        "Fabhalta adoption", "Fabhalta adoption follows PNH testing by hematologists.", "Fabhalta", day=date(2025, 3, 1)
    ),
    Text("Speaker programs", "Speaker programs lift new prescriptions for three months.", day=date(2024, 6, 1)),
    Text("Remibrutinib conversion", "Conversion to Remibrutinib is highest in the west.", "Remibrutinib", "west"),
    Text("Field force", "Rep calls reach oncologists and hematologists monthly.|Samples are left with every visit."),
)
EMBEDDINGS = HashedEmbeddings(96)
