"""Which sentences of a written answer are supported by the places they cite?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from src.rag.answering.figures import agrees, unseen
from src.rag.answering.quotable import Quotable, instructs, sentences_of, subject_of
from src.rag.answering.reading import read
from src.rag.answers import Citation, GroundedSentence
from src.rag.heuristics.claims import claims, sentences
from src.rag.heuristics.passages import passages
from src.rag.heuristics.support import claim_support
from src.rag.heuristics.tokens import Token
from src.rag.retrieval_results import RetrievedChunk

FEWEST_QUOTED_WORDS = 3


@dataclass(frozen=True, slots=True)
class Source:
    """Words of the context number ``context``, from 0, that are said to support a sentence."""

    context: int
    quote: str


@dataclass(frozen=True, slots=True)
class WrittenSentence:
    """A sentence and what it rests on, as a model gave it."""

    text: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Grounded:
    """The sentences that stayed, their citations in order of appearance, their mean support (0–1), and why others
    were left out."""

    sentences: tuple[GroundedSentence, ...]
    citations: tuple[Citation, ...]
    support: float
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    context: int
    start: int
    end: int


def ground(written: Sequence[WrittenSentence], contexts: Sequence[RetrievedChunk], *, min_support: float) -> Grounded:
    """Keep the sentences whose quotes stand in their contexts and that the quoted sentences support.

    A number or name that stands in no quoted sentence nor in what it stands under, a figure of another brand,
    region or time, another movement than quoted, or support below ``min_support`` removes the sentence.
    """
    markers: dict[_Place, int] = {}
    kept: list[GroundedSentence] = []
    supports: list[float] = []
    left_out: list[str] = []
    for number, sentence in enumerate(written, start=1):
        places = [place for source in sentence.sources if (place := _place(source, contexts)) is not None]
        value, problem = _supported(sentence.text, places, contexts, min_support)
        if problem is not None:
            left_out.append(f"sentence {number} was left out: {problem}")
            continue
        numbers = tuple(dict.fromkeys(markers.setdefault(place, len(markers) + 1) for place in places))
        kept.append(GroundedSentence(sentence.text.strip(), numbers))
        supports.append(value)
    citations = tuple(_citation(marker, place, contexts) for place, marker in markers.items())
    mean = sum(supports) / len(supports) if supports else 0.0
    return Grounded(tuple(kept), citations, mean, tuple(left_out))


def _supported(
    text: str, places: Sequence[_Place], contexts: Sequence[RetrievedChunk], min_support: float
) -> tuple[float, str | None]:
    quoted = [one for place in places for one in _quoted(place, contexts[place.context])]
    if not quoted:
        return 0.0, "what it quotes stands in none of the documents it names"
    made = claims(text)
    if not made:
        return 0.0, "it claims nothing"
    subjects = list(dict.fromkeys(subject_of(contexts[place.context]) for place in places))
    # One text: what a sentence stands under is read together with it.
    read_together = passages(". ".join((*subjects, *(one.pointed_at for one in quoted if one.pointed_at)))
                             + "\n" + "\n".join(one.text for one in quoted))  # fmt: skip
    found = [claim_support(claim, [read_together]) for claim in made]
    if unseen(text, [*(one.text for one in quoted), *subjects]):
        return 0.0, "a number in it stands in none of the sentences it quotes"
    if any(one.unseen_names for one in found):
        return 0.0, "a name in it stands in none of the sentences it quotes"
    if any(one.contradicted for one in found) or not all(agrees(claim, quoted) for claim in _read(text)):
        return 0.0, "the sentences it quotes say otherwise"
    value = min(one.value for one in found)
    return value, None if value >= min_support else f"its sources support it too little ({value:.2f})"


def _read(text: str) -> list[tuple[Token, ...]]:
    return [read(sentence) for sentence in sentences(text)]


def _quoted(place: _Place, chunk: RetrievedChunk) -> list[Quotable]:
    """The whole sentences that a quote lies in, without those that instruct."""
    return [
        one
        for one in sentences_of(chunk)
        if one.start < place.end and place.start < one.end and not instructs(one.text)
    ]


def _place(source: Source, contexts: Sequence[RetrievedChunk]) -> _Place | None:
    if not 0 <= source.context < len(contexts):
        return None
    found = find_quote(source.quote, contexts[source.context].text)
    return None if found is None else _Place(source.context, *found)


def find_quote(quote: str, text: str) -> tuple[int, int] | None:
    """Where ``quote`` stands in ``text``, whatever its case, spacing and kind of quotation marks; None where not."""
    words = re.findall(r"\w+", _plain(quote))
    if len(words) < FEWEST_QUOTED_WORDS:
        return None
    pattern = r"[\W_]{1,8}".join(map(re.escape, words))
    match = re.search(rf"(?<!\w){pattern}(?!\w)", _plain(text))
    return None if match is None else match.span()


def _plain(text: str) -> str:
    """Lower case, with every character in its place."""
    return "".join(_one(character) for character in text)


def _one(character: str) -> str:
    folded = unicodedata.normalize("NFKC", character).lower()
    return folded if len(folded) == 1 else character


def _citation(marker: int, place: _Place, contexts: Sequence[RetrievedChunk]) -> Citation:
    chunk = contexts[place.context]
    return Citation(
        marker=marker,
        chunk_id=chunk.chunk_id,
        document_id=chunk.document_id,
        title=chunk.title,
        quote=chunk.text[place.start : place.end],
        start=place.start,
        end=place.end,
    )
