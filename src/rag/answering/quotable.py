"""Which sentences of the retrieved chunks can be quoted, and what is each about?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from src.rag.answering.reading import BRAND, OVERRIDING, Facts, facts, measures, read, said
from src.rag.heuristics.tokens import Sort, Token
from src.rag.retrieval_results import RetrievedChunk

_END = re.compile(r"[.!?][\"')\]]{0,3}\s+|\n+|\s[•●▪]\s|$")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|vs|no|fig|al|approx|e\.g|i\.e|u\.s|inc|ltd|[a-z])\.$", re.IGNORECASE
)
_BULLET = re.compile(r"\s*(?:[-*•|]\s*|\d{1,2}[.)]\s+)?")
FEWEST_WORDS, FEWEST_WITH_FIGURE = 4, 3
_POINTING = frozenset(["it", "its", "they", "their", "them", "this", "these", "those", "there", "both"])
# What tells a reader, or a model, how to behave is no statement about the business.
_INSTRUCTS = re.compile(
    r"(?i)\b(?:(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{0,60}\b(?:instruction|prompt|rule|guideline|order|"
    r"direction|message|document)s?\b|you are (?:now|no longer)\b|from now on,? (?:you|answer|say|act|respond|reply)\b|"
    r"(?:answer|reply|respond|output|print) (?:only|with|always|nothing|exactly)\b|pretend (?:to|that|you)\b|"
    r"act as (?:a|an|if|though)\b|(?:system|developer) (?:prompt|message|instruction)s?\b|"
    r"new instructions?\b|"
    r"(?:as an?|the) (?:ai|language model|assistant)\b[^.!?\n]{0,30}\b(?:must|should|will|have to)\b)"
)


@dataclass(frozen=True, slots=True)
class Quotable:
    """A sentence of chunk number ``chunk``: its place there, its tokens, and those of what it stands under.

    ``scope``: what it is about by kind, its own names first, then those it takes from the sentence before and the
    title; ``measures``: those it speaks of, or points back to; ``pointed_at``: the sentence it points back to.
    """

    chunk: int
    start: int
    end: int
    text: str
    said: frozenset[str]
    around: frozenset[str]
    scope: Facts
    measures: frozenset[str]
    pointed_at: str = ""

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Its own tokens in order."""
        return read(self.text)

    @property
    def reach(self) -> frozenset[str]:
        """Its own tokens and those of what it stands under."""
        return self.said | self.around | self.measures


@dataclass(frozen=True, slots=True)
class _Before:
    """The sentence before in the same paragraph."""

    text: str = ""
    said: frozenset[str] = frozenset()
    own: Facts = field(default_factory=dict)
    scope: Facts = field(default_factory=dict)
    measures: frozenset[str] = frozenset()


def quotable_sentences(chunks: Sequence[RetrievedChunk]) -> list[Quotable]:
    """Sentences with at least four words, three with a figure, in the order of the chunks. What instructs is none."""
    return [
        one
        for number, chunk in enumerate(chunks)
        for one in sentences_of(chunk, number)
        if _long_enough(one.tokens) and not instructs(one.text)
    ]


def instructs(text: str) -> bool:
    """Whether a text tells its reader how to answer or behave."""
    return _INSTRUCTS.search(text) is not None


def sentences_of(chunk: RetrievedChunk, number: int = 0) -> Iterator[Quotable]:
    """All sentences of a chunk in order, each with what it takes over from the one before in its paragraph."""
    subject = subject_of(chunk)
    titled = read(subject)
    title, around = facts(titled), said(titled, subject)
    before, ended = _Before(), 0
    for start, end in sentence_places(chunk.text):
        if "\n" in chunk.text[ended:start]:
            before = _Before()
        text, ended = chunk.text[start:end], end
        tokens = read(text)
        bare = Quotable(number, start, end, text, said(tokens, text), around, title, measures(tokens))
        one = _sentence(bare, before)
        yield one
        instructing = instructs(text)
        before = _Before() if instructing else _Before(text, one.said, facts(tokens), one.scope, one.measures)


def _sentence(bare: Quotable, before: _Before) -> Quotable:
    """The sentence with what it takes over: all that it points to, else the brand, place and time it does not name."""
    own, title = facts(bare.tokens), bare.scope
    points = any(token.surface in _POINTING for token in bare.tokens)
    scope: dict[str, frozenset[str]] = {}
    for kind in {*own, *title, *before.scope}:
        taken = before.scope if points or kind == BRAND else before.own
        if kind in OVERRIDING:
            scope[kind] = own.get(kind) or taken.get(kind) or title.get(kind) or frozenset()
        else:
            scope[kind] = own.get(kind, frozenset()) | title.get(kind, frozenset()) | before.own.get(kind, frozenset())
    spoken = bare.measures or (before.measures if points else frozenset())
    around = bare.around | (before.said if points else frozenset())
    return replace(bare, scope=scope, measures=spoken, around=around, pointed_at=before.text if points else "")


def _long_enough(tokens: Sequence[Token]) -> bool:
    words = sum(token.content for token in tokens)
    figure = any(token.sort is Sort.NUMBER for token in tokens)
    return words >= (FEWEST_WITH_FIGURE if figure else FEWEST_WORDS)


def subject_of(chunk: RetrievedChunk) -> str:
    """What a chunk is about beside its own words: title, section, brand and region."""
    return " ".join(part for part in (chunk.title, chunk.section, chunk.brand, chunk.region) if part)


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
