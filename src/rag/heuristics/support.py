"""How well is one claim supported by the contexts, from 0 to 1?

Three things, with weights set by hand on development halves (benchmarks/rag/heuristics.md): the weighted share of
the claim's tokens that stand anywhere in the contexts; how far the best one to three sentences say them together and
in this order (words, neighbouring words, longest common subsequence), less what contradicts (direction, negation,
antonyms, a cause where only an association is reported) and what belongs to another brand or region; and the share of
numbers and names that stand nowhere.

Every term can only fall when a context is taken away: windows are judged one by one and the best one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from rapidfuzz.distance import LCSseq

from src.rag.heuristics.doubt import kept_in_doubt
from src.rag.heuristics.passages import (
    Passages,
    Sentence,
    Window,
    best_windows,
    joined,
    matches,
    passages,
    weights,
    written_forms,
)
from src.rag.heuristics.polarity import compare
from src.rag.heuristics.tokens import Sort

COVERAGE_POWER = 1.5
WINDOW_SHARE = 2.0
"""How much what one window says counts beside a constant 1."""
CONFLICT = NEGATION = ANTONYM = OVERREACH = 0.2
ELSEWHERE = 0.2
"""Numbers, and names, that stand outside the window."""
OTHERS_FIGURE = 0.3
"""A number, region or period that the window ties to another brand, or region, than the claim does."""
UNSEEN_NUMBER, UNSEEN_NAME = 0.3, 0.2
_OWNERS = ("brand:", "region:")


@dataclass(frozen=True, slots=True)
class Support:
    """``value`` in 0–1, and what kept it down: forms of numbers and names found nowhere, and contradictions.

    ``beyond_doubt``: ``value`` less what speaks against the claim (doubt.py); what faithfulness is made of.
    """

    value: float
    beyond_doubt: float = 0.0
    unseen_numbers: tuple[str, ...] = ()
    unseen_names: tuple[str, ...] = ()
    contradicted: bool = False


def claim_support(claim: Sentence, contexts: Sequence[Passages]) -> Support:
    """Support of a claim with at least one token by contexts in any order."""
    found = [matches(claim, context) for context in contexts]
    filled = [one.max(axis=0) for one in found if len(one)]
    if not filled:
        return Support(0.0)
    anywhere = float(np.max(filled, axis=0) @ weights(claim))
    said, contradicted = _best_said(claim, contexts, found)
    numbers, names = _unseen(claim, contexts)
    value = anywhere**COVERAGE_POWER * (1 + WINDOW_SHARE * said) / (1 + WINDOW_SHARE)
    value *= 1 - UNSEEN_NUMBER * _share(len(numbers), _count_numbers(claim))
    value *= 1 - UNSEEN_NAME * _share(len(names), sum(token.named for token in claim))
    value = min(1.0, max(0.0, value))
    return Support(value, value * kept_in_doubt(claim, contexts, found), numbers, names, contradicted)


@lru_cache(maxsize=2_048)
def support_in(claim: Sentence, contexts: tuple[str, ...]) -> Support:
    """``claim_support`` by the contexts that have words; computed once for all metrics that ask for it."""
    return claim_support(claim, [found for found in map(passages, contexts) if found.sentences])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _count_numbers(claim: Sentence) -> int:
    return sum(token.sort is Sort.NUMBER for token in claim)


def _unseen(claim: Sentence, contexts: Sequence[Passages]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    missing = [token for token in claim if (token.named or token.sort is Sort.NUMBER)]
    missing = [token for token in missing if not any(context.has(token, claim) for context in contexts)]
    numbers = tuple(token.surface for token in missing if token.sort is Sort.NUMBER)
    return numbers, tuple(token.surface for token in missing if token.sort is not Sort.NUMBER)


def _best_said(claim: Sentence, contexts: Sequence[Passages], found: list[np.ndarray]) -> tuple[float, bool]:
    best, contradicted = 0.0, False
    wording = _Wording(claim)
    for context, matched in zip(contexts, found, strict=True):
        for window in best_windows(claim, context, matched):
            said = wording.alike(window)
            if said <= best:
                continue  # penalties only lower it
            penalty, opposite = _penalty(claim, wording, window, context)
            if said - penalty > best:
                best, contradicted = said - penalty, opposite
    return best, contradicted


class _Wording:
    """What a claim is compared by with window after window: words, neighbouring words, numbers, names."""

    def __init__(self, claim: Sentence) -> None:
        self.all = [token.norm for token in claim]
        self.content = [token.norm for token in claim if token.content] or self.all
        self.numbers = [written_forms(token, claim) for token in claim if token.sort is Sort.NUMBER]
        self.names = [written_forms(token, claim) for token in claim if token.named]

    def alike(self, window: Window) -> float:
        """Mean of coverage, neighbouring pairs and longest common subsequence, with and without grammar words."""
        there = joined(window.sentences)
        every = [token.norm for token in there]
        content = [token.norm for token in there if token.content]
        close = {*zip(content, content[1:], strict=False), *zip(content, content[2:], strict=False)}
        parts = (
            window.coverage,
            _pairs(self.content, close, window.coverage),
            _pairs(self.all, set(zip(every, every[1:], strict=False)), window.coverage),
            LCSseq.similarity(self.content, content) / len(self.content),
            LCSseq.similarity(self.all, every) / len(self.all),
        )
        return sum(parts) / len(parts)


def _pairs(words: list[str], there: set[tuple[str, str]], otherwise: float) -> float:
    if len(words) < 2:
        return otherwise
    return sum(pair in there for pair in zip(words, words[1:], strict=False)) / (len(words) - 1)


def _penalty(claim: Sentence, wording: _Wording, window: Window, context: Passages) -> tuple[float, bool]:
    compared = compare(claim, window.sentences)
    penalty = CONFLICT * (compared.conflict > 0) + NEGATION * compared.negation
    penalty += ANTONYM * (compared.antonyms > 0) + OVERREACH * compared.overreach
    opposite = penalty > 0
    here = (window.start, window.stop)
    numbers = [context.holds(forms, *here) for forms in wording.numbers]
    names = [context.holds(forms, *here) for forms in wording.names]
    penalty += ELSEWHERE * _share(numbers.count(False), len(numbers))
    penalty += ELSEWHERE * _share(names.count(False), len(names))
    return penalty + OTHERS_FIGURE * _belongs_elsewhere(claim, window), opposite


def _belongs_elsewhere(claim: Sentence, window: Window) -> bool:
    """Whether a figure of the claim stands only in sentences about another brand, or region, than the claim's."""
    spoken = [frozenset(token.norm for token in sentence) for sentence in window.sentences]
    for owner in _OWNERS:
        owners = {token.norm for token in claim if token.norm.startswith(owner)}
        if not owners:
            continue
        for token in claim:
            if token.sort is not Sort.NUMBER and not (token.named and not token.norm.startswith(owner)):
                continue
            holding = [words for words in spoken if token.norm in words]
            others = [{word for word in words if word.startswith(owner)} for words in holding]
            if holding and all(there and not there & owners for there in others):
                return True
    return False
