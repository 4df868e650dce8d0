"""What speaks against a claim, beside how little of it the contexts say?

Every word that stands nowhere may be an invention, so their number counts and not only their share; a claim that
denies what no matching sentence denies is more probably wrong than right, as is one that speaks of all, only or never
where the text does not. Each term can only rise when a context is taken away: sentences are chosen in each context
by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from src.rag.heuristics.lexicon import ABSOLUTES, DENIALS, TALK
from src.rag.heuristics.passages import Matches, Passages, Sentence, weights
from src.rag.heuristics.tokens import Sort, Token, stem

NOVEL_WORD = 0.1
"""Each unit of weight found nowhere divides the score by the exponential of this."""
DENIAL, ABSOLUTE = 0.5, 0.3
READ_FOR_DENIAL = 3
"""Sentences of each context, those that hold most of the claim, in which a denial is looked for."""
ENOUGH_WORDS = 4
"""A claim with this many words beyond talk counts fully."""
_SPEAKERS = frozenset({"i", "we"})
_SPEAKER_WITHIN = 3


def kept_in_doubt(claim: Sentence, contexts: Sequence[Passages], found: Sequence[Matches]) -> float:
    """The factor from 0 to 1 that is left of a claim's support; ``found`` as of ``matches`` for each context."""
    filled = [one.max(axis=0) for one in found if len(one)]
    if not filled:
        return 0.0
    anywhere = np.max(filled, axis=0)
    novel = sum((1 - there) * token.weight for token, there in zip(claim, anywhere, strict=True) if token.content)
    kept = math.exp(-NOVEL_WORD * float(novel))
    if _denies(claim) and not _read(claim, contexts, found, READ_FOR_DENIAL, _denies):
        kept *= 1 - DENIAL
    if _speaks_of_all(claim) and not _read(claim, contexts, found, 1, _speaks_of_all):
        kept *= 1 - ABSOLUTE
    return kept


def counts_for(claim: Sentence) -> int:
    """How much a claim counts among the claims of an answer: from 1 for talk ("that is great") to 5."""
    words = sum(token.content and token.norm not in _talk() for token in claim)
    exact = any(token.named or token.sort is Sort.NUMBER for token in claim)
    return 1 + min(words + exact, ENOUGH_WORDS)


@lru_cache(maxsize=1)
def _talk() -> frozenset[str]:
    return frozenset(stem(word) for word in TALK)


def _denies(tokens: Sequence[Token]) -> bool:
    """Whether something is denied, other than what the speaker knows or likes ("I don't know, but …")."""
    return any(
        (token.norm == "not" or token.surface in DENIALS)
        and not any(near.norm in _SPEAKERS for near in tokens[max(0, at - _SPEAKER_WITHIN) : at])
        for at, token in enumerate(tokens)
    )


def _speaks_of_all(tokens: Sequence[Token]) -> bool:
    return any(token.surface in ABSOLUTES for token in tokens)


def _read(
    claim: Sentence,
    contexts: Sequence[Passages],
    found: Sequence[Matches],
    most: int,
    says: Callable[[Sentence], bool],
) -> bool:
    """Whether one of the sentences that hold most of a claim says something of a kind."""
    share = weights(claim)
    return any(
        says(context.sentences[at])
        for context, matched in zip(contexts, found, strict=True)
        for at in np.argsort(-(matched @ share), kind="stable")[:most]
    )
