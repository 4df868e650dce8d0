"""How probable does the wording of the contexts make one claim, from 0 to 1?

Log odds, linear in traits with fitted weights: what of the claim stands anywhere in the contexts (words, pieces of
words, copied runs, words that stand nowhere), how far the closest passage of each context says it in this order and
whether it contradicts it, and what the claim denies without a sentence that does.

Every term can only fall when a context is taken away: the closest passage is chosen in each context by itself,
without regard to contradictions, and the best of these counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from src.rag.heuristics.doubt import Doubts
from src.rag.heuristics.evidence_weights import AgainstWeights, EvidenceWeights, ForWeights
from src.rag.heuristics.passages import Sentence
from src.rag.heuristics.runs import shared_runs
from src.rag.heuristics.support import Closest, Support
from src.rag.heuristics.tokens import Sort

UNSEEN_NUMBERS = 0.3
"""Log odds lost when none of a claim's numbers stands in the contexts."""
OVERREACH = 0.2
"""Log odds lost by a cause where the passage only knows an association."""
OTHER_NAMES, OTHERS_FIGURE = 1.0, 1.5
"""Log odds lost by known brands and regions outside the passage, and by another brand's or region's figure.

Set by hand: the labelled sets hold none.
"""
_CEILING, _FLOOR = 1.1, 0.5


@dataclass(frozen=True, slots=True)
class Traits:
    """What one claim's evidence is made of; shares and counts as they are."""

    words_found: float
    letters_found: float
    new_words: int
    density: float
    triples: float
    unseen_numbers: float
    doubts: Doubts
    closest: tuple[Closest, ...]


def traits(claim: Sentence, contexts: Sequence[str], support: Support) -> Traits:
    """Traits of a claim with at least one token; ``support`` is that of the claim by the same contexts."""
    runs = shared_runs(claim, contexts)
    count = sum(token.sort is Sort.NUMBER for token in claim)
    return Traits(
        words_found=support.words_found,
        letters_found=support.words_found if runs.letters is None else runs.letters,
        new_words=support.doubts.new_words,
        density=runs.density,
        triples=runs.triples,
        unseen_numbers=len(support.unseen_numbers) / count if count else 0.0,
        doubts=support.doubts,
        closest=support.closest,
    )


def evidence(found: Traits, *, asked: bool, weights: EvidenceWeights) -> float:
    """The probability; 0 for a claim no word of which stands in a context. ``asked``: there is a question."""
    if not found.closest:
        return 0.0
    own = weights.answer if asked else weights.statement
    odds = own.constant + _anywhere(found, own) - _doubted(found, weights.against)
    odds += max(_said(one, own, weights.against) for one in found.closest)
    return 1 / (1 + math.exp(-odds))


def near_one(share: float) -> float:
    """A share on a scale on which the last steps to 1 count most: from -0.1 at 0 to 2.3 at 1."""
    return -math.log(_CEILING - min(1.0, share))


def fewer(count: int) -> float:
    """A count on a falling scale on which the first ones count most: from 0.7 at 0."""
    return -math.log(_FLOOR + count)


def _anywhere(found: Traits, weights: ForWeights) -> float:
    return (
        weights.words_found * near_one(found.words_found)
        + weights.letters_found * near_one(found.letters_found)
        + weights.no_new_words * fewer(found.new_words)
        + weights.density * near_one(found.density)
        + weights.triples * near_one(found.triples)
        - UNSEEN_NUMBERS * found.unseen_numbers
    )


def _doubted(found: Traits, weights: AgainstWeights) -> float:
    return (
        weights.denial * found.doubts.denies
        + weights.denial_unread * found.doubts.denial_unread
        + weights.absolute_unread * found.doubts.absolute_unread
    )


def _said(one: Closest, weights: ForWeights, against: AgainstWeights) -> float:
    said = weights.order * near_one(one.order) + weights.content_order * near_one(one.content_order)
    said -= against.direction * one.direction + against.no_direction * one.no_direction
    said -= against.negation * one.negation + against.antonym * one.antonym
    said -= against.figures_elsewhere * one.figures_elsewhere
    return said - OVERREACH * one.overreach - OTHER_NAMES * one.names_elsewhere - OTHERS_FIGURE * one.others_figure
