"""Chunks keep to sections, sizes and whole sentences, and know exactly where they stand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import ContractViolation
from src.rag.corpus.chunking import Cutting, chunk_document, count_tokens, searchable, whole_text
from src.rag.corpus.reading.contents import joined
from src.rag.corpus.reading.markdown import read_markdown
from src.rag.documents import SourceDocument, SourceType

TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from("abc. \n!?\"')é漢字ไทย🙂-|1#"), st.characters(exclude_categories=("Cs",))),
    max_size=300,
)
CUTTINGS = st.integers(1, 40).flatmap(lambda size: st.builds(Cutting, st.just(size), st.integers(0, size - 1)))


def document(*texts: str) -> SourceDocument:
    _, sections = joined(((f"part {at}",), text) for at, text in enumerate(texts))
    return SourceDocument(SourceType.FILE, "x.md", "x", sections)


@given(st.lists(TEXTS, max_size=4), CUTTINGS)
def test_a_chunk_is_the_text_at_its_place_and_within_one_section(texts: list[str], cutting: Cutting) -> None:
    whole = document(*texts)
    text = whole_text(whole)
    for ordinal, chunk in enumerate(chunk_document(whole, cutting)):
        assert chunk.ordinal == ordinal
        assert text[chunk.start : chunk.end] == chunk.content != ""
        assert 1 <= chunk.token_count == count_tokens(chunk.content) <= cutting.size
        (home,) = [s for s in whole.sections if s.start <= chunk.start and chunk.end <= s.start + len(s.text)]
        assert chunk.section == home.headings[-1]


@given(TEXTS, CUTTINGS)
def test_no_word_is_lost_and_each_chunk_goes_on_further(text: str, cutting: Cutting) -> None:
    whole = document(text)
    chunks = chunk_document(whole, cutting)
    covered = {at for chunk in chunks for at in range(chunk.start, chunk.end)}
    words = {at for match in re.finditer(r"\w|[^\w\s]", whole_text(whole)) for at in range(*match.span())}
    assert words <= covered
    ends = [chunk.end for chunk in chunks]
    assert ends == sorted(set(ends))


@given(TEXTS, CUTTINGS)
def test_markdown_chunks_are_characters_of_the_file(text: str, cutting: Cutting) -> None:
    contents = read_markdown(text.replace("\x00", "").encode())
    whole = SourceDocument(SourceType.FILE, "x.md", "x", contents.sections)
    for chunk in chunk_document(whole, cutting):
        assert contents.text[chunk.start : chunk.end] == chunk.content


def sentences(count: int, words: int = 5) -> str:
    return " ".join(f"Sentence {at} " + "word " * (words - 2) + "ends." for at in range(count))


def test_a_chunk_ends_with_a_sentence_and_the_next_repeats_whole_ones() -> None:
    chunks = chunk_document(document(sentences(12)), Cutting(20, 8))
    assert len(chunks) > 2
    assert all(chunk.content.startswith("Sentence") and chunk.content.endswith("ends.") for chunk in chunks)
    for before, after in zip(chunks, chunks[1:], strict=False):
        shared = before.content[after.start - before.start :]
        assert after.content.startswith(shared)
        assert 0 < count_tokens(shared) <= 8


def test_a_paragraph_in_the_second_half_is_where_a_chunk_ends() -> None:
    text = f"{sentences(3)}\n\n{sentences(5)}"
    first = chunk_document(document(text), Cutting(24, 0))[0]
    assert first.content == sentences(3)


def test_an_abbreviation_ends_no_sentence() -> None:
    text = "Alpha beta gamma delta. It was seen by Dr. Best and his team of many people there today."
    chunks = chunk_document(document(text), Cutting(12, 0))
    assert not any(chunk.content.endswith("Dr.") for chunk in chunks)


def test_a_word_without_end_is_cut_by_size() -> None:
    chunks = chunk_document(document("x" * 1_000), Cutting(10, 2))
    assert len(chunks) > 5
    assert max(len(chunk.content) for chunk in chunks) <= 160


def test_scripts_without_spaces_count_by_character() -> None:
    assert count_tokens("漢字かな") == 4
    assert count_tokens("one, two") == 3


@pytest.mark.parametrize(("size", "overlap"), [(10, 10), (5, 6), (5, -1), (0, 0)])
def test_an_overlap_must_be_smaller_than_the_chunk(size: int, overlap: int) -> None:
    with pytest.raises(ContractViolation, match="cannot overlap"):
        Cutting(size, overlap)


@pytest.mark.parametrize(
    ("section", "text"),
    [("", "T\nc"), ("T", "T\nc"), ("T > Part", "T\nPart\nc"), ("page 3", "T\nc"), ("Part", "T\nPart\nc")],
)
def test_title_and_innermost_heading_make_a_chunk_findable(section: str, text: str) -> None:
    assert searchable("T", section, "c") == text
