"""What speaks against a claim, beside how little of it the contexts say?

Every word that stands nowhere may be an invention, so their number counts and not only their share; a claim that
denies what no matching sentence denies is more probably wrong than right, as is one that speaks of all, only or never
where the text does not. Each term can only rise when a context is taken away: sentences are chosen in each context
by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True)
class Doubts:
    """What was found: ``new_words`` beyond grammar stand nowhere, ``novelty`` is their weight, halves counted."""

    new_words: int = 0
    novelty: float = 0.0
    denies: bool = False
    denial_unread: bool = False
    absolute_unread: bool = False

    @property
    def kept(self) -> float:
        """The factor from 0 to 1 that is left of a claim's support."""
        kept = math.exp(-NOVEL_WORD * self.novelty)
        kept *= 1 - DENIAL * self.denial_unread
        return kept * (1 - ABSOLUTE * self.absolute_unread)


def doubts(
    claim: Sentence, contexts: Sequence[Passages], found: Sequence[Matches], anywhere: NDArray[np.float64]
) -> Doubts:
    """What speaks against a claim; ``found`` as of ``matches`` for each context, ``anywhere`` the best of it."""
    content = np.array([token.content for token in claim])
    weight = np.array([token.weight for token in claim])
    denies = _denies(claim)
    return Doubts(
        new_words=int(((anywhere == 0) & content).sum()),
        novelty=float(((1 - anywhere) * weight * content).sum()),
        denies=denies,
        denial_unread=denies and not _read(claim, contexts, found, READ_FOR_DENIAL, _denies),
        absolute_unread=_speaks_of_all(claim) and not _read(claim, contexts, found, 1, _speaks_of_all),
    )


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
