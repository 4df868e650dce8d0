"""Where is a document cut, so that each piece is about one thing and knows its place?"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from src.errors import ContractViolation
from src.rag.documents import Chunk, SourceDocument

HEADING_SEPARATOR = " > "

# A cheap stand-in for word pieces: words (long ones in parts), single characters of scripts without spaces, signs.
_SPACELESS = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]{{1,16}}|[^\w\s]")
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE = re.compile(r"[.!?][\"'”’)\]]{0,3}\s+(?=[^\sa-z])|[。！？]\s*|\n\s*(?=[-*•|]\s|\d{1,3}[.)]\s)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|approx|dr|mr|mrs|ms|prof|no|nos|fig|figs|eq|ref|refs|al|st|inc|ltd|jr|sr)|\b[A-Z])\.$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Cutting:
    """At most ``size`` tokens a chunk, of which up to ``overlap`` repeat the end of the chunk before."""

    size: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise ContractViolation(f"chunks of {self.size} tokens cannot overlap by {self.overlap}")

    def __str__(self) -> str:
        return f"structure {self.size}/{self.overlap}"


def chunk_document(document: SourceDocument, cutting: Cutting) -> tuple[Chunk, ...]:
    """Chunks in the order of the text, none across sections; text[start:end] of the document is the content.

    A chunk ends at a paragraph where one ends in its second half, else at a sentence, else after ``size`` tokens.
    """
    chunks: list[Chunk] = []
    for section in document.sections:
        for start, end, tokens in _cut(section.text, cutting):
            chunks.append(
                Chunk(
                    ordinal=len(chunks),
                    content=section.text[start:end],
                    token_count=tokens,
                    section=HEADING_SEPARATOR.join(section.headings),
                    start=section.start + start,
                    end=section.start + end,
                )
            )
    return tuple(chunks)


def searchable(title: str, section: str, content: str) -> str:
    """What of a chunk is made searchable: its title and the innermost heading say what the text takes for granted."""
    heading = section.rpartition(HEADING_SEPARATOR)[2]
    named = [title] if heading in ("", title) or heading.startswith("page ") else [title, heading]
    return "\n".join([*named, content])


def whole_text(document: SourceDocument) -> str:
    """The document's text, every section in its place; what lies between sections is line breaks."""
    text = ""
    for section in document.sections:
        text += "\n" * (section.start - len(text)) + section.text
    return text


def count_tokens(text: str) -> int:
    """Number of tokens in the sense of chunk sizes."""
    return sum(1 for _ in _TOKEN.finditer(text))


def _cut(text: str, cutting: Cutting) -> list[tuple[int, int, int]]:
    """(start, end, tokens) of each chunk of one section."""
    tokens = [match.span() for match in _TOKEN.finditer(text)]
    starts = [start for start, _ in tokens]
    paragraphs = _token_positions([match.end() for match in _PARAGRAPH.finditer(text)], starts)
    sentences = sorted({*paragraphs, *_token_positions(_sentence_starts(text), starts)})
    pieces: list[tuple[int, int, int]] = []
    first, last = 0, 0
    while last < len(tokens):
        least = max(last + 1, first + cutting.size // 2)
        last = _end_of_chunk(first, least, len(tokens), cutting.size, paragraphs, sentences)
        pieces.append((starts[first], tokens[last - 1][1], last - first))
        first = _start_of_next(first, last, cutting.overlap, sentences)
    return pieces


def _end_of_chunk(first: int, least: int, total: int, size: int, paragraphs: list[int], sentences: list[int]) -> int:
    limit = first + size
    if limit >= total:
        return total
    for breaks in (paragraphs, sentences):
        at = bisect_left(breaks, limit + 1)
        if at and breaks[at - 1] >= least:
            return breaks[at - 1]
    return limit


def _start_of_next(first: int, last: int, overlap: int, sentences: list[int]) -> int:
    """The first sentence that begins within the overlap, or where the overlap begins."""
    earliest = max(last - overlap, first + 1)
    at = bisect_left(sentences, earliest)
    return sentences[at] if at < len(sentences) and sentences[at] < last else earliest


def _sentence_starts(text: str) -> list[int]:
    return [
        match.end()
        for match in _SENTENCE.finditer(text)
        if not _ABBREVIATION.search(text, max(match.start() - 8, 0), match.start() + 1)
    ]


def _token_positions(characters: list[int], starts: list[int]) -> list[int]:
    """Index of the token that begins at or after each character; the ends of the text are no breaks."""
    found = {bisect_left(starts, character) for character in characters}
    return sorted(found - {0, len(starts)})
