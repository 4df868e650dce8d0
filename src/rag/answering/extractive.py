"""Which sentences of the evidence answer a question as they stand, and is that enough?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src.rag.answering.question import Question, about, read_question
from src.rag.answering.quotable import OWNERS, Quotable, quotable_sentences
from src.rag.retrieval_results import RetrievedChunk

ENOUGH_COVERED = 0.5
"""Weighted share of the question's terms that the chosen sentences and their headings must speak of together."""
LEAST_SCORE = 0.25
NEAR_BEST = 0.5
"""A sentence below this share of the best one's score adds no answer."""
AROUND_COUNTS = 0.5
"""A term in the title or heading counts this much of one in the sentence itself."""
RANK_COUNTS = 0.15
REPEATED = 0.8


@dataclass(frozen=True, slots=True)
class Extract:
    """Sentences in reading order with the share of the question they cover; or ``missing``, and no sentences."""

    sentences: tuple[Quotable, ...]
    covered: float
    missing: str | None = None


def extract_answer(query: str, chunks: Sequence[RetrievedChunk], *, most: int) -> Extract:
    """Up to ``most`` sentences for ``query`` from ``chunks``, best first retrieved."""
    question = read_question(query)
    if not question.terms:
        return Extract((), 0.0, "the question names nothing to look for")
    spoken = [about(chunk) for chunk in chunks]
    if (missing := _absent(question, spoken)) is not None:
        return Extract((), 0.0, missing)
    eligible = {number for number, words in enumerate(spoken) if _on_subject(question, words)}
    scored = [
        (_score(question, one), one)
        for one in quotable_sentences(chunks)
        if one.chunk in eligible and not _of_another(question, one)
    ]
    chosen = _choose([(score, one) for score, one in scored if score >= LEAST_SCORE], most)
    said = frozenset[str]().union(*(one.said | one.around for one in chosen))
    covered = question.coverage(said)
    if covered < ENOUGH_COVERED:
        lacking = question.words([norm for norm in question.terms if norm not in said])
        return Extract((), covered, f"no document speaks of {lacking}" if lacking else "no document answers this")
    return Extract(tuple(sorted(chosen, key=lambda one: (one.chunk, one.start))), covered)


def _absent(question: Question, spoken: Sequence[frozenset[str]]) -> str | None:
    """What the question names that no chunk speaks of, or not together: brands, regions, years and numbers."""
    everything = frozenset[str]().union(*spoken)
    lacking = [norm for norm in (question.owners | question.figures) if norm not in everything]
    if lacking:
        return f"no document speaks of {question.words(lacking)}"
    if not any(_on_subject(question, words) for words in spoken):
        return f"no document speaks of {question.words(sorted(question.owners | question.figures))} together"
    return None


def _on_subject(question: Question, words: frozenset[str]) -> bool:
    """Whether a chunk is about one of the question's brands, one of its regions, and its periods."""
    for owner in OWNERS:
        asked = {norm for norm in question.owners if norm.startswith(owner)}
        if asked and not asked & words:
            return False
    return not question.figures or bool(question.figures & words)


def _of_another(question: Question, one: Quotable) -> bool:
    """Whether a sentence names a brand or region and not the one that was asked for."""
    for owner in OWNERS:
        asked = {norm for norm in question.owners if norm.startswith(owner)}
        named = {norm for norm in one.said if norm.startswith(owner)}
        if asked and named and not asked & named:
            return True
    return False


def _score(question: Question, one: Quotable) -> float:
    own = question.coverage(one.said)
    together = question.coverage(one.said | one.around)
    return (own + AROUND_COUNTS * (together - own)) * (1 + RANK_COUNTS / (1 + one.chunk)) if own else 0.0


def _choose(scored: Sequence[tuple[float, Quotable]], most: int) -> list[Quotable]:
    chosen: list[Quotable] = []
    ordered = sorted(scored, key=lambda pair: (-pair[0], pair[1].chunk, pair[1].start))
    for score, one in ordered:
        if len(chosen) == most or score < NEAR_BEST * ordered[0][0]:
            break
        if not any(_alike(one, other) for other in chosen):
            chosen.append(one)
    return chosen


def _alike(one: Quotable, other: Quotable) -> bool:
    return len(one.said & other.said) / max(len(one.said | other.said), 1) >= REPEATED
