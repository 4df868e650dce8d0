"""What does a Markdown file say? Its own characters, cut at its headings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from src.rag.corpus.reading.contents import FileContents, Outline, tidy
from src.rag.corpus.reading.decoding import decode
from src.rag.corpus.reading.front_matter import read_front_matter
from src.rag.documents import Section

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_NO_HEADING = re.compile(r"^ {0,3}(?:[-*+>|]|\d{1,9}[.)])(?:\s|$)|^ {4}|^\s*$|^\|")
# Bounded: a heading of nothing but brackets is read in linear time.
_MARKUP = re.compile(r"!?\[([^\]\[]{0,300})\]\([^)]{0,1000}\)|[*`]+|(?<![\w])_{1,20}|_{1,20}(?!\w)")


def read_markdown(raw: bytes) -> FileContents:
    """Sections are pieces of the file as it stands; headings in code blocks are none."""
    text = decode(raw)
    front = read_front_matter(text)
    sections = tuple(_sections(text, front.end))
    first = next((heading for _, _, heading in _headings(text, front.end) if heading), None)
    return FileContents(
        text=text,
        sections=sections,
        title=front.title or first,
        effective_date=front.effective_date,
        brand=front.brand,
        region=front.region,
        places="line",
    )


def _sections(text: str, begin: int) -> Iterator[Section]:
    outline, start = Outline(), begin
    for (heading_start, heading_end), level, heading in _headings(text, begin):
        yield from _section(text, start, heading_start, outline.path)
        outline.enter(level, heading)
        start = heading_end
    yield from _section(text, start, len(text), outline.path)


def _section(text: str, start: int, end: int, headings: tuple[str, ...]) -> Iterator[Section]:
    body = text[start:end]
    if stripped := body.strip():
        yield Section(stripped, headings, start + body.index(stripped))


def _headings(text: str, begin: int) -> Iterator[tuple[tuple[int, int], int, str]]:
    """(place, level, words) of each heading, with # before it or underlined."""
    fence, before, at = "", (begin, ""), begin
    for line in text[begin:].splitlines(keepends=True):
        bare, here = line.rstrip("\n"), at
        at += len(line)
        mark = _FENCE.match(bare)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) and not bare.strip().strip(mark[1][0]) else fence
        elif mark:
            fence = mark[1]
        elif heading := _HEADING.match(bare):
            yield (here, at), len(heading[1]), _words(heading[2] or "")
        elif (underline := _UNDERLINE.match(bare)) and not _NO_HEADING.match(before[1]):
            yield (before[0], at), 1 if underline[1][0] == "=" else 2, _words(before[1])
            before = (here, "")
            continue
        before = (here, "" if fence or mark or _HEADING.match(bare) else bare)


def _words(heading: str) -> str:
    return tidy(_MARKUP.sub(lambda match: match[1] or "", heading))
