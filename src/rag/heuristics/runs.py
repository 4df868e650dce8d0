"""Which runs of words, and of letters, does a claim share with a context?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from src.rag.heuristics.passages import Sentence, passages
from src.rag.heuristics.tokens import Token

LETTERS = 4
"""Length of the pieces of words that are looked for."""


@dataclass(frozen=True, slots=True)
class SharedRuns:
    """Shares from 0 to 1.

    ``density``: squared lengths of the copied runs by the squared length of the claim, so 1 for a claim copied whole
    and near 0 for one put together from single words (after Grusky, Naaman & Artzi 2018, equation 2).
    ``triples``: neighbouring triples of words that stand in one context in this order.
    ``letters``: pieces of four letters of the words beyond grammar that stand in any context; None without such words.
    """

    density: float
    triples: float
    letters: float | None


def shared_runs(claim: Sentence, contexts: Sequence[str]) -> SharedRuns:
    """What a claim with at least one token shares with contexts in any order; each can only fall without one."""
    said = [token.norm for token in claim if token.content] or [token.norm for token in claim]
    lengths = [_longest_from(said, context) for context in contexts]
    best = np.max(lengths, axis=0)
    triples = np.mean(best[:-2] >= 3) if len(said) > 2 else best[0] >= len(said)
    return SharedRuns(max(map(_density, lengths)), float(triples), _letters(claim, contexts))


def _density(longest: NDArray[np.intp]) -> float:
    """Runs are taken from the left, each as long as it goes."""
    at = total = 0
    while at < len(longest):
        total += int(longest[at]) ** 2
        at += max(1, int(longest[at]))
    return float(total / len(longest) ** 2)


def _longest_from(said: Sequence[str], context: str) -> NDArray[np.intp]:
    """For each place in the claim the length of the longest run from there that the context holds."""
    numbers, there = _numbered(context)
    found = np.zeros(len(said), dtype=np.intp)
    run = np.zeros(len(there) + 1, dtype=np.intp)
    for at in range(len(said) - 1, -1, -1):
        same = there == numbers.get(said[at], -1)
        run[:-1] = np.where(same, run[1:] + 1, 0)
        found[at] = run.max()
    return found


@lru_cache(maxsize=64)
def _numbered(context: str) -> tuple[dict[str, int], NDArray[np.intp]]:
    """A number for each word of a context, and its words as numbers."""
    numbers: dict[str, int] = {}
    words = [
        numbers.setdefault(token.norm, len(numbers))
        for one in passages(context).sentences
        for token in one
        if token.content
    ]
    return numbers, np.array(words, dtype=np.intp)


def _letters(claim: Sentence, contexts: Sequence[str]) -> float | None:
    wanted = frozenset(piece for token in claim if token.content for piece in _pieces(token))
    if not wanted:
        return None
    there = [_pieces_of(context) for context in contexts]
    return sum(any(piece in one for one in there) for piece in wanted) / len(wanted)


@lru_cache(maxsize=64)
def _pieces_of(context: str) -> frozenset[str]:
    words = {token.norm: token for one in passages(context).sentences for token in one}
    return frozenset(piece for token in words.values() for piece in _pieces(token))


def _pieces(token: Token) -> list[str]:
    """Pieces of a word, its beginning and its end marked."""
    text = f" {token.norm} "
    return [text[at : at + LETTERS] for at in range(max(1, len(text) - LETTERS + 1))]
