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

from src.rag.heuristics.doubt import Doubts, doubts
from src.rag.heuristics.passages import (
    Passages,
    Sentence,
    Window,
    best_windows,
    matches,
    passages,
    weights,
    written_forms,
)
from src.rag.heuristics.polarity import compare, marks
from src.rag.heuristics.tokens import Sort
from src.rag.heuristics.wording import Alike, Wording

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
class Closest:
    """How the passage of one context that is worded most like a claim speaks of it.

    Shares from 0 to 1: ``order`` and ``content_order`` as in wording.py, ``figures_elsewhere`` and ``names_elsewhere``
    (known brands and regions) of those in the claim. The rest contradicts the claim, or does not.
    """

    order: float
    content_order: float
    direction: bool
    no_direction: bool
    negation: bool
    antonym: bool
    overreach: bool
    figures_elsewhere: float
    names_elsewhere: float
    others_figure: bool


@dataclass(frozen=True, slots=True)
class Support:
    """``value`` in 0–1, and what kept it down: forms of numbers and names found nowhere, and contradictions.

    ``words_found``: the weighted share of its tokens that stand anywhere. ``closest``: one for each context that holds
    any of them.
    """

    value: float
    words_found: float = 0.0
    doubts: Doubts = Doubts()
    unseen_numbers: tuple[str, ...] = ()
    unseen_names: tuple[str, ...] = ()
    contradicted: bool = False
    closest: tuple[Closest, ...] = ()

    @property
    def beyond_doubt(self) -> float:
        """``value`` less what speaks against the claim."""
        return self.value * self.doubts.kept


def claim_support(claim: Sentence, contexts: Sequence[Passages]) -> Support:
    """Support of a claim with at least one token by contexts in any order."""
    found = [matches(claim, context) for context in contexts]
    filled = [one.max(axis=0) for one in found if len(one)]
    if not filled:
        return Support(0.0)
    anywhere = np.max(filled, axis=0)
    words_found = float(anywhere @ weights(claim))
    said, contradicted, closest = _best_said(claim, contexts, found)
    numbers, names = _unseen(claim, contexts)
    value = words_found**COVERAGE_POWER * (1 + WINDOW_SHARE * said) / (1 + WINDOW_SHARE)
    value *= 1 - UNSEEN_NUMBER * _share(len(numbers), _count_numbers(claim))
    value *= 1 - UNSEEN_NAME * _share(len(names), sum(token.named for token in claim))
    value = min(1.0, max(0.0, value))
    doubted = doubts(claim, contexts, found, anywhere)
    return Support(value, words_found, doubted, numbers, names, contradicted, closest)


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


def _best_said(
    claim: Sentence, contexts: Sequence[Passages], found: list[np.ndarray]
) -> tuple[float, bool, tuple[Closest, ...]]:
    best, contradicted = 0.0, False
    wording = Wording(claim)
    closest = []
    for context, matched in zip(contexts, found, strict=True):
        read = [(window, wording.alike(window)) for window in best_windows(claim, context, matched)]
        for window, alike in read:
            if alike.mean <= best:
                continue  # penalties only lower it
            penalty, opposite = _penalty(claim, wording, window, context)
            if alike.mean - penalty > best:
                best, contradicted = alike.mean - penalty, opposite
        if read:
            closest.append(_speaks(claim, wording, *max(read, key=lambda one: one[1].mean), context))
    return best, contradicted, tuple(closest)


def _speaks(claim: Sentence, wording: Wording, window: Window, alike: Alike, context: Passages) -> Closest:
    compared = compare(claim, window.sentences)
    known = [written_forms(token, claim) for token in claim if token.norm.startswith(_OWNERS)]
    return Closest(
        order=alike.order,
        content_order=alike.content_order,
        direction=compared.conflict > 0,
        no_direction=not compared.agree and bool(marks(claim)),
        negation=compared.negation,
        antonym=compared.antonyms > 0,
        overreach=compared.overreach,
        figures_elsewhere=_missing(wording.numbers, window, context),
        names_elsewhere=_missing(known, window, context),
        others_figure=_belongs_elsewhere(claim, window),
    )


def _missing(wanted: Sequence[tuple[str, ...]], window: Window, context: Passages) -> float:
    """Share of the forms that do not stand in a window."""
    return _share(sum(not context.holds(forms, window.start, window.stop) for forms in wanted), len(wanted))


def _penalty(claim: Sentence, wording: Wording, window: Window, context: Passages) -> tuple[float, bool]:
    compared = compare(claim, window.sentences)
    penalty = CONFLICT * (compared.conflict > 0) + NEGATION * compared.negation
    penalty += ANTONYM * (compared.antonyms > 0) + OVERREACH * compared.overreach
    opposite = penalty > 0
    penalty += ELSEWHERE * _missing(wording.numbers, window, context)
    penalty += ELSEWHERE * _missing(wording.names, window, context)
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
