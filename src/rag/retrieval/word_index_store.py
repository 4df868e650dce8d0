"""Where is the word index kept, and how does it stay true to the corpus whoever else is at work?"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from src.rag.corpus.chunking import searchable
from src.rag.retrieval.word_index import IndexDamaged, IndexedChunk, WordIndex, build_index, known_tokens, read_index
from src.storage.database import Row
from src.storage.rag_chunks import ChunkRepository, CorpusState

_log = logging.getLogger(__name__)

FILE = "words.npz"
TEXTS_AT_ONCE = 2_000
# Seconds between two attempts to get the lock that another process holds.
LOCK_ASKED_S = 0.05


class WordIndexStore:
    """The word index of one corpus: in memory, and in a file that processes share.

    ``current`` compares it with the state of the corpus. What is outdated is extended by the chunks that are new;
    what is missing or damaged is made anew. The file is replaced as a whole, and made by one process at a time.
    """

    def __init__(self, chunks: ChunkRepository, folder: Path) -> None:
        self._chunks = chunks
        self._folder = folder
        self._index: WordIndex | None = None
        self._refreshing = asyncio.Lock()

    async def current(self, state: CorpusState | None = None) -> WordIndex:
        """The index of the corpus as it is now, or as ``state`` where that was just read.

        Raises DatabaseUnavailable, and OSError for an unusable folder.
        """
        state = state or await self._chunks.state()
        async with self._refreshing:
            if self._index is None or self._index.state != state:
                self._index = await self._refreshed(state)
            return self._index

    def path(self, state: CorpusState) -> Path:
        """The file for that database."""
        return self._folder / "".join(c if c.isalnum() or c in "-_." else "_" for c in state.database) / FILE

    async def _refreshed(self, state: CorpusState) -> WordIndex:
        path = self.path(state)
        stored = await asyncio.to_thread(_load, path)
        if stored is not None and stored.state == state:
            return stored
        async with _locked(path):
            # Whoever held the lock may have done the work.
            stored = await asyncio.to_thread(_load, path) or self._index
            now, rows = await self._chunks.words()
            if stored is None or stored.state != now:
                stored = await self._built(now, rows, stored)
                await asyncio.to_thread(_replace, path, stored.to_bytes())
            return stored

    async def _built(self, state: CorpusState, rows: list[Row], previous: WordIndex | None) -> WordIndex:
        entries = [_entry(row) for row in rows]
        known = known_tokens(previous)
        if sum((entry.chunk_id, entry.digest) in known for entry in entries) < len(entries) / 2:
            # Most of the corpus is new: words that no chunk has any more are let go of.
            known, previous = {}, None
        new = [entry.chunk_id for entry in entries if (entry.chunk_id, entry.digest) not in known]
        texts: dict[str, str] = {}
        for at in range(0, len(new), TEXTS_AT_ONCE):
            found = await self._chunks.texts(new[at : at + TEXTS_AT_ONCE])
            texts |= {chunk_id: searchable(*parts) for chunk_id, parts in found.items()}
        return await asyncio.to_thread(build_index, state, entries, texts, previous=previous)


def _entry(row: Row) -> IndexedChunk:
    dated = row["effective_date"].isoformat() if row["effective_date"] else ""
    return IndexedChunk(
        row["chunk_id"], row["digest"], row["brand"] or "", row["region"] or "", dated, row["source_type"]
    )


def _load(path: Path) -> WordIndex | None:
    """The stored index; None where there is none that can be read."""
    try:
        return read_index(path.read_bytes())
    except FileNotFoundError:
        return None
    except IndexDamaged as problem:
        _log.warning("the word index %s is made anew: %s", path, problem)
        return None


def _replace(path: Path, content: bytes) -> None:
    """Whoever reads meanwhile has the old file or the new one, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".words-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """The lock beside the file, held by no one else. Asked for again and again: a thread that waits for it could not
    be called back, and would keep it when nobody wants it any more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _taken(handle):
            await asyncio.sleep(LOCK_ASKED_S)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
