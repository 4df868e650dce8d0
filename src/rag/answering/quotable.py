"""Which sentences of the retrieved chunks can be quoted, and what is each about?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from src.rag.heuristics.tokens import Token, tokenize
from src.rag.retrieval_results import RetrievedChunk

_END = re.compile(r"[.!?][\"')\]]{0,3}\s+|\n+|\s[•●▪]\s|$")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|vs|no|fig|al|approx|e\.g|i\.e|u\.s|inc|ltd|[a-z])\.$", re.IGNORECASE
)
_BULLET = re.compile(r"\s*(?:[-*•|]\s*|\d{1,2}[.)]\s+)?")
FEWEST_WORDS = 4
OWNERS = ("brand:", "region:")


@dataclass(frozen=True, slots=True)
class Quotable:
    """A sentence of chunk number ``chunk``: its place there, its tokens, and those of what it stands under."""

    chunk: int
    start: int
    end: int
    text: str
    said: frozenset[str]
    around: frozenset[str]


def quotable_sentences(chunks: Sequence[RetrievedChunk]) -> list[Quotable]:
    """Sentences with at least four words, in the order of the chunks."""
    found = []
    for number, chunk in enumerate(chunks):
        around = norms(tokenize(subject_of(chunk)))
        for start, end in sentence_places(chunk.text):
            tokens = tokenize(chunk.text[start:end])
            if sum(token.content for token in tokens) >= FEWEST_WORDS:
                found.append(Quotable(number, start, end, chunk.text[start:end], norms(tokens), around))
    return found


def subject_of(chunk: RetrievedChunk) -> str:
    """What a chunk is about beside its own words: title, section, brand and region."""
    return " ".join(part for part in (chunk.title, chunk.section, chunk.brand, chunk.region) if part)


def norms(tokens: Sequence[Token]) -> frozenset[str]:
    """The forms by which tokens are compared, of those that say more than grammar."""
    return frozenset(token.norm for token in tokens if token.content)


@lru_cache(maxsize=1024)
def sentence_places(text: str) -> tuple[tuple[int, int], ...]:
    """First and last character (excluded) of each sentence or line, without bullets and spaces around."""
    places = []
    begin = 0
    for match in _END.finditer(text):
        stop = match.end()
        if _ABBREVIATED.search(text[max(begin, match.start() - 8) : match.start() + 1]) and stop < len(text):
            continue
        bullet = _BULLET.match(text, begin, stop)
        start = bullet.end() if bullet else begin
        end = start + len(text[start:stop].rstrip())
        if end > start:
            places.append((start, end))
        begin = stop
    return tuple(places)
