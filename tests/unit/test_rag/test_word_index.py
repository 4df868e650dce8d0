"""Are word scores BM25's, and does the stored index survive damage, change and company?"""

from __future__ import annotations

import asyncio
import fcntl
import logging
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.rag.retrieval.word_index import IndexDamaged, IndexedChunk, WordIndex, build_index, read_index
from src.rag.retrieval.word_index_store import WordIndexStore
from src.rag.retrieval.words import words
from src.storage.rag_chunks import ChunkFilter, CorpusState

TEXTS = {
    "a": "Rep calls raised new prescriptions of Kisqali in the northeast",
    "b": "Calls and calls and calls: prescribers were called too often",
    "c": "Speaker programs raised prescriptions",
    "d": "An unrelated note about drift",
}


def state(version: int = 1) -> CorpusState:
    return CorpusState("e2i-1", version, datetime(2026, 1, version, tzinfo=UTC))


def entry(chunk_id: str, digest: str = "1", **about: str) -> IndexedChunk:
    known = {"brand": "", "region": "", "date": "", "source_type": "file"} | about
    return IndexedChunk(chunk_id, digest, **known)


def index_of(texts: dict[str, str], **options: Any) -> WordIndex:
    return build_index(state(), [entry(chunk_id) for chunk_id in texts], texts, **options)


def search(index: WordIndex, query: str, **options: Any) -> list[tuple[str, float]]:
    asked = {"limit": 10, "among": ChunkFilter()} | options
    return index.search(dict.fromkeys(words(query), 1.0), **asked)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The prescriptions were raised", ["prescript", "were", "rais"]),
        ("CDK4/6 and Factor B", ["cdk4", "6", "factor", "b"]),
        ("ﬁeld naïve", ["field", "naïv"]),
        ("the of and", []),
        ("", []),
    ],
)
def test_words_are_stems_without_stop_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("query", ["rep calls", "prescriptions", "raised Kisqali calls", "calls"])
def test_scores_are_those_of_bm25s(query: str) -> None:
    bm25 = bm25s.BM25(k1=1.2, b=0.75, method="lucene", backend="numpy")
    bm25.index([words(text) for text in TEXTS.values()], show_progress=False)
    expected = dict(zip(TEXTS, bm25.get_scores(words(query)), strict=True))
    found = dict(search(index_of(TEXTS), query))
    assert found == pytest.approx({chunk: score for chunk, score in expected.items() if score > 0}, rel=1e-5)


def test_scores_are_those_of_the_formula() -> None:
    index = index_of(TEXTS)
    lengths = {chunk: len(words(text)) for chunk, text in TEXTS.items()}
    mean = sum(lengths.values()) / len(lengths)
    idf = np.log(1 + (4 - 2 + 0.5) / (2 + 0.5))  # "calls" is in two of the four
    tf = {"a": 1, "b": 4}
    expected = {
        chunk: idf * count / (count + 1.2 * (1 - 0.75 + 0.75 * lengths[chunk] / mean)) for chunk, count in tf.items()
    }
    assert dict(search(index, "calls")) == pytest.approx(expected, rel=1e-5)


def test_a_weight_multiplies_what_a_word_adds() -> None:
    index = index_of(TEXTS)
    whole = index.search({"drift": 1.0}, limit=1, among=ChunkFilter())
    assert index.search({"drift": 0.3}, limit=1, among=ChunkFilter())[0][1] == pytest.approx(0.3 * whole[0][1])


def test_unknown_words_and_an_empty_corpus_find_nothing() -> None:
    assert search(index_of(TEXTS), "zebrafish") == []
    assert search(index_of({}), "calls") == []
    assert search(index_of({"a": "the of"}), "calls") == []


def test_of_equal_scores_the_smaller_id_comes_first_also_at_the_limit() -> None:
    index = index_of(dict.fromkeys("abcdef", "growth"))
    assert [chunk for chunk, _ in search(index, "growth", limit=3)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("among", "expected"),
    [
        (ChunkFilter(), "abcd"),
        (ChunkFilter(brand="Kisqali"), "acd"),
        (ChunkFilter(region="west"), "abd"),
        (ChunkFilter(since=date(2025, 1, 1)), "abc"),
        (ChunkFilter(until=date(2025, 1, 1)), "bcd"),
        (ChunkFilter(source_types=("definition",)), "d"),
        (ChunkFilter(brand="Kisqali", source_types=("file",)), "ac"),
    ],
)
def test_filters_keep_what_is_about_nothing_in_particular(among: ChunkFilter, expected: str) -> None:
    entries = [
        entry("a", brand="Kisqali", date="2025-06-01"),
        entry("b", brand="Fabhalta"),
        entry("c", region="south"),
        entry("d", date="2024-06-01", source_type="definition"),
    ]
    index = build_index(state(), entries, dict.fromkeys("abcd", "growth"))
    found = index.search({"growth": 1.0}, limit=9, among=among)
    assert "".join(sorted(chunk for chunk, _ in found)) == expected


def test_an_index_read_again_answers_alike() -> None:
    index = index_of(TEXTS)
    again = read_index(index.to_bytes())
    assert again.state == index.state
    assert search(again, "rep calls") == search(index, "rep calls")


@settings(max_examples=30)
@given(st.binary(max_size=60), st.integers(0, 10_000))
def test_a_damaged_index_is_recognised(noise: bytes, at: int) -> None:
    content = index_of(TEXTS).to_bytes()
    for damaged in (noise, content[: at % len(content)]):
        with pytest.raises(IndexDamaged):
            read_index(damaged)


def test_an_index_with_altered_scores_is_recognised() -> None:
    content = bytearray(index_of(TEXTS).to_bytes())
    at = content.index(b"scores.npy") + 200
    content[at] ^= 0xFF
    with pytest.raises(IndexDamaged):
        read_index(bytes(content))


@pytest.mark.parametrize(
    ("offset", "value"),
    [(10, 99), (8, 0x20), (8, 0x01), (6, 210)],
    ids=["compression", "patched data", "password", "version"],
)
def test_an_index_whose_directory_asks_for_the_impossible_is_recognised(offset: int, value: int) -> None:
    content = bytearray(index_of(TEXTS).to_bytes())
    content[content.index(b"PK\x01\x02") + offset] = value
    with pytest.raises(IndexDamaged):
        read_index(bytes(content))


def test_an_extended_index_answers_as_one_made_anew() -> None:
    changed = {"a": TEXTS["a"], "c": "Speaker programs and calls", "e": "Entirely new words: zebrafish"}
    entries = [entry("a"), entry("c", digest="2"), entry("e")]
    # The text of the unchanged chunk is not needed.
    texts = {chunk: changed[chunk] for chunk in ("c", "e")}
    extended = build_index(state(2), entries, texts, previous=index_of(TEXTS))
    anew = build_index(state(2), entries, changed)
    for query in ("calls", "zebrafish", "speaker programs", "drift"):
        assert dict(search(extended, query)) == pytest.approx(dict(search(anew, query)))


class Chunks:
    """The repository's part that the store uses, over a dictionary."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.stored = dict(texts)
        self.version = 1
        self.read: list[str] = []

    def change(self, **texts: str) -> None:
        self.stored |= texts
        self.version += 1

    async def state(self) -> CorpusState:
        return state(self.version)

    async def words(self) -> tuple[CorpusState, list[dict[str, Any]]]:
        about = {"brand": None, "region": None, "effective_date": None, "source_type": "file"}
        rows = [{"chunk_id": chunk, "digest": text, **about} for chunk, text in sorted(self.stored.items())]
        return state(self.version), rows

    async def texts(self, chunk_ids: list[str]) -> dict[str, tuple[str, str, str]]:
        self.read += chunk_ids
        return {chunk: ("", "", self.stored[chunk]) for chunk in chunk_ids if chunk in self.stored}


def store(chunks: Chunks, folder: Path) -> WordIndexStore:
    return WordIndexStore(chunks, folder)  # type: ignore[arg-type]


async def test_only_new_chunks_are_read_when_the_corpus_grows(tmp_path: Path) -> None:
    chunks = Chunks(TEXTS)
    kept = store(chunks, tmp_path)
    await kept.current()
    chunks.change(e="zebrafish")
    index = await kept.current()
    assert chunks.read == [*sorted(TEXTS), "e"]
    assert [chunk for chunk, _ in search(index, "zebrafish")] == ["e"]


async def test_another_process_takes_the_index_from_the_file(tmp_path: Path) -> None:
    chunks = Chunks(TEXTS)
    first = await store(chunks, tmp_path).current()
    again = await store(chunks, tmp_path).current()
    assert chunks.read == sorted(TEXTS)
    assert search(again, "calls") == search(first, "calls")


async def test_a_damaged_file_is_made_anew_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chunks = Chunks(TEXTS)
    expected = search(await store(chunks, tmp_path).current(), "calls")
    (file,) = tmp_path.rglob("words.npz")
    file.write_bytes(file.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert search(await store(chunks, tmp_path).current(), "calls") == expected
    assert "made anew" in caplog.text
    assert read_index(file.read_bytes()).state == state()


async def test_a_query_that_gave_up_waiting_for_the_lock_leaves_it_to_others(tmp_path: Path) -> None:
    kept = store(Chunks(TEXTS), tmp_path)
    file = kept.path(state())
    file.parent.mkdir(parents=True)
    with file.with_suffix(".lock").open("w") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await kept.current()
    async with asyncio.timeout(30):
        assert len(await kept.current()) == len(TEXTS)


async def test_several_at_once_make_the_index_once(tmp_path: Path) -> None:
    chunks = Chunks(TEXTS)
    await asyncio.gather(*(store(chunks, tmp_path).current() for _ in range(4)))
    assert chunks.read == sorted(TEXTS)


async def test_a_corpus_that_went_back_to_an_older_state_is_not_answered_from_a_newer_index(tmp_path: Path) -> None:
    chunks = Chunks(TEXTS)
    kept = store(chunks, tmp_path)
    chunks.change(e="zebrafish")
    await kept.current()
    del chunks.stored["e"]
    chunks.version = 1
    assert search(await kept.current(), "zebrafish") == []
