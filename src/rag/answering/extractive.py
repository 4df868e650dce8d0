"""Which sentences of the evidence answer a question as they stand, and is that enough?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src.rag.answering.question import Question, read_question, speaks_of
from src.rag.answering.quotable import Quotable, quotable_sentences
from src.rag.answering.reading import OVERRIDING
from src.rag.retrieval_results import RetrievedChunk

ENOUGH_COVERED = 0.55
"""Weighted share of the question's ordinary words that a sentence and its headings must speak of."""
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
    """Up to ``most`` sentences for ``query`` from ``chunks``, best first retrieved.

    A sentence answers when it speaks of the measures of the question, and it or what it stands under speaks of every
    brand, region, period, number and name, of the kind of thing asked for, and of most of the other terms.
    """
    question = read_question(query)
    if not question.terms:
        return Extract((), 0.0, "the question names nothing to look for")
    if question.names_nothing_to_say:
        return Extract((), 0.0, f"the question does not say what to look for beside {question.words(question.terms)}")
    sentences = quotable_sentences(chunks)
    scored = [(_score(question, one), one) for one in sentences if _answers(question, one)]
    chosen = _choose([(score, one) for score, one in scored if score >= LEAST_SCORE], most)
    covered = question.coverage(frozenset[str]().union(*map(_everything, chosen)))
    if not chosen or _lacking(question, chosen):
        return Extract((), covered, _missing(question, chosen or sentences))
    return Extract(tuple(sorted(chosen, key=lambda one: (one.chunk, one.start))), covered)


def _missing(question: Question, sentences: Sequence[Quotable]) -> str:
    lacking = _lacking(question, sentences)
    if lacking:
        return f"no document speaks of {', '.join(lacking)}"
    return f"no document speaks of {question.words(question.terms)} together"


def _lacking(question: Question, sentences: Sequence[Quotable]) -> list[str]:
    """What the question has to be answered about and no sentence speaks of, as the question writes it."""
    spoken = frozenset[str]().union(*map(_everything, sentences))
    found = {one.shown for one in question.bindings if not one.forms & spoken}
    needed = question.measures | question.heads
    if question.plain_coverage(spoken) < ENOUGH_COVERED:
        needed |= question.plain
    return sorted(found | {question.shown[norm] for norm in needed if not speaks_of(norm, spoken)})


def _everything(one: Quotable) -> frozenset[str]:
    return one.reach.union(*one.scope.values())


def _answers(question: Question, one: Quotable) -> bool:
    if not _about(question, one):
        return False
    of_measures = bool(question.measures & one.measures) if question.joins else question.measures <= one.measures
    asked = frozenset(question.terms) - question.placing
    return (
        (not asked or any(speaks_of(norm, one.said | one.measures) for norm in asked))
        and question.direction <= one.said
        and (of_measures or not question.measures)
        and all(speaks_of(norm, one.reach) for norm in question.heads)
        and question.plain_coverage(one.reach) >= ENOUGH_COVERED
    )


def _about(question: Question, one: Quotable) -> bool:
    """Whether a sentence is about what the question names; of what it joins, one of each kind is enough."""
    held: dict[str, list[bool]] = {}
    for binding in question.bindings:
        there = one.scope.get(binding.kind, frozenset())
        if binding.kind not in OVERRIDING:
            there |= _everything(one)
        held.setdefault(binding.kind, []).append(bool(binding.forms & there))
    return all(any(found) if question.joins else all(found) for found in held.values())


def _score(question: Question, one: Quotable) -> float:
    own = question.coverage(one.said | one.measures)
    together = question.coverage(_everything(one))
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
