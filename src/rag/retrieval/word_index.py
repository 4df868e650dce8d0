"""Which chunks hold a question's words, by BM25?

Scores are those of bm25s's "lucene" variant: for each word of the question
idf · tf / (tf + k1 · (1 − b + b · length / mean length)), idf = ln(1 + (N − df + 0.5) / (df + 0.5))
(Robertson & Zaragoza 2009; Kamphuis et al. 2020). They are computed when the index is made, so that a query only adds
up the columns of its words.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.rag.retrieval.words import ANALYSIS, words
from src.storage.rag_chunks import ChunkFilter, CorpusState

K1 = 1.2
B = 0.75
FORMAT = 1

_ARRAYS = ("tokens", "bounds", "scores", "chunks", "columns")
_BLANK = ""


class IndexDamaged(Exception):
    """A stored index cannot be read; it is made anew."""


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """What the index knows of a chunk beside its words; ``date`` is ISO, '' where there is none."""

    chunk_id: str
    digest: str
    brand: str
    region: str
    date: str
    source_type: str


@dataclass(frozen=True)
class WordIndex:
    """BM25 over the chunks of one state of the corpus, held as plain arrays.

    ``tokens[bounds[i]:bounds[i + 1]]`` are the words of chunk ``i`` by number; column ``w`` of the scores is
    ``scores[columns[w]:columns[w + 1]]`` for the chunks ``chunks[columns[w]:columns[w + 1]]``.
    """

    state: CorpusState
    entries: tuple[IndexedChunk, ...]
    vocabulary: Mapping[str, int]
    arrays: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.entries)

    def search(self, query: Mapping[str, float], *, limit: int, among: ChunkFilter) -> list[tuple[str, float]]:
        """The best chunks for weighted stems, best first, with their BM25 scores; chunks without any are left out.

        Filters are applied before the best are taken: none is lost. Equal scores are ordered by chunk id.
        """
        if not self.entries:
            return []
        total = self._totals(query)
        if not among.is_empty:
            total[~self._allowed(among)] = 0.0
        matching = np.flatnonzero(total)
        if len(matching) > limit:
            # All that tie with the last one stay until the order by id decides.
            least = np.partition(total[matching], len(matching) - limit)[len(matching) - limit]
            matching = matching[total[matching] >= least]
        best = matching[np.argsort(-total[matching], kind="stable")][:limit]
        return [(self.entries[at].chunk_id, float(total[at])) for at in best]

    def _totals(self, query: Mapping[str, float]) -> NDArray[np.float64]:
        total = np.zeros(len(self.entries))
        columns, chunks, scores = (self.arrays[name] for name in ("columns", "chunks", "scores"))
        for word, weight in query.items():
            if (number := self.vocabulary.get(word)) is not None:
                here = slice(int(columns[number]), int(columns[number + 1]))
                total[chunks[here]] += weight * scores[here]
        return total

    def _allowed(self, among: ChunkFilter) -> NDArray[np.bool_]:
        since = among.since.isoformat() if among.since else _BLANK
        until = among.until.isoformat() if among.until else "9999-12-31"
        return np.fromiter(
            (
                (among.brand is None or entry.brand in (among.brand, _BLANK))
                and (among.region is None or entry.region in (among.region, _BLANK))
                and (not entry.date or since <= entry.date <= until)
                and (not among.source_types or entry.source_type in among.source_types)
                for entry in self.entries
            ),
            dtype=bool,
            count=len(self.entries),
        )

    def to_bytes(self) -> bytes:
        """For ``read_index``."""
        header = {
            "format": FORMAT,
            "analysis": ANALYSIS,
            "database": self.state.database,
            "version": self.state.version,
            "changed_at": self.state.changed_at.isoformat(),
            "entries": [
                [one.chunk_id, one.digest, one.brand, one.region, one.date, one.source_type] for one in self.entries
            ],
            "vocabulary": list(self.vocabulary),
        }
        buffer = io.BytesIO()
        parts: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **self.arrays}
        np.savez(buffer, **parts)
        return buffer.getvalue()


def read_index(content: bytes) -> WordIndex:
    """The index in those bytes. Raises IndexDamaged for anything else, an index of another format included."""
    from datetime import datetime

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes())
            arrays = {name: stored[name] for name in _ARRAYS}
        if (header["format"], header["analysis"]) != (FORMAT, ANALYSIS):
            raise IndexDamaged("an index of another format")
        state = CorpusState(header["database"], header["version"], datetime.fromisoformat(header["changed_at"]))
        entries = tuple(IndexedChunk(*fields) for fields in header["entries"])
        vocabulary = {word: number for number, word in enumerate(header["vocabulary"])}
    except IndexDamaged:
        raise
    except Exception as error:
        # A flipped bit may ask for another compression, a password or gigabytes: each is told by its own error.
        raise IndexDamaged(f"{type(error).__name__}: {error}") from error
    if len(arrays["bounds"]) != len(entries) + 1 or len(arrays["columns"]) != len(vocabulary) + 1:
        raise IndexDamaged("its parts do not fit together")
    return WordIndex(state, entries, vocabulary, arrays)


def build_index(
    state: CorpusState,
    entries: Sequence[IndexedChunk],
    texts: Mapping[str, str],
    *,
    previous: WordIndex | None = None,
) -> WordIndex:
    """The index of ``entries``. ``texts`` by chunk id are needed only for chunks that ``previous`` does not hold alike.

    A chunk without a text and unknown to ``previous`` is left out (it was deleted meanwhile).
    """
    vocabulary: dict[str, int] = dict(previous.vocabulary) if previous is not None else {}
    known = known_tokens(previous)
    kept, tokens = [], []
    for entry in entries:
        found = known.get((entry.chunk_id, entry.digest))
        if found is None:
            if entry.chunk_id not in texts:
                continue
            numbers = [vocabulary.setdefault(word, len(vocabulary)) for word in words(texts[entry.chunk_id])]
            found = np.array(numbers, dtype=np.int32)
        kept.append(entry)
        tokens.append(found)
    bounds = np.concatenate(([0], np.cumsum([len(found) for found in tokens]))).astype(np.int64)
    flat = np.concatenate(tokens).astype(np.int32) if tokens else np.empty(0, dtype=np.int32)
    arrays: dict[str, NDArray[Any]] = {"tokens": flat, "bounds": bounds, **_columns(tokens, vocabulary)}
    return WordIndex(state, tuple(kept), vocabulary, arrays)


def known_tokens(index: WordIndex | None) -> dict[tuple[str, str], NDArray[np.int32]]:
    """The word numbers of each chunk by its id and digest."""
    if index is None:
        return {}
    tokens, bounds = index.arrays["tokens"], index.arrays["bounds"]
    return {
        (entry.chunk_id, entry.digest): tokens[bounds[at] : bounds[at + 1]] for at, entry in enumerate(index.entries)
    }


def _columns(tokens: Sequence[NDArray[np.int32]], vocabulary: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """The scores by word, as bm25s computes them."""
    if not any(len(found) for found in tokens):
        empty = np.zeros(len(vocabulary) + 1, dtype=np.int64)
        return {"scores": np.empty(0, np.float32), "chunks": np.empty(0, np.int32), "columns": empty}
    import bm25s

    bm25 = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    bm25.index(([found.tolist() for found in tokens], dict(vocabulary)), create_empty_token=False, show_progress=False)
    return {
        "scores": np.asarray(bm25.scores["data"], dtype=np.float32),
        "chunks": np.asarray(bm25.scores["indices"], dtype=np.int32),
        "columns": np.asarray(bm25.scores["indptr"], dtype=np.int64),
    }
