"""Does an answer say what is expected, no less and no more?"""

from __future__ import annotations

from src.rag.heuristics.claims import claims
from src.rag.heuristics.effort import too_much
from src.rag.heuristics.faithfulness import UNSUPPORTED_BELOW, mean_and_weakest
from src.rag.heuristics.passages import Passages, Sentence, passages_of
from src.rag.heuristics.support import claim_support
from src.rag.scores import MetricScore

INEXACT = 0.3
"""The most a claim counts whose number, brand or region is not that of the other text."""
_EXACT = ("brand:", "region:")


def answer_correctness(answer: str, ground_truth: str) -> MetricScore:
    """Harmonic mean of the expected part of the answer and the answered part of the ground truth, 0–1.

    Numbers, brands and regions have to agree exactly. Only claims of the answer that the ground truth supports can
    answer it, so that a sentence more never makes up for one that is wrong. None when one of the texts states nothing.
    """
    said, expected = claims(answer), claims(ground_truth)
    if not said:
        return MetricScore(None, "the answer states nothing")
    if not expected:
        return MetricScore(None, "the ground truth states nothing")
    whole = passages_of(expected)
    if reason := too_much(said, [whole]) or too_much(expected, [passages_of(said)]):
        return MetricScore(None, reason)
    right = [_exact_support(claim, whole) for claim in said]
    kept = [claim for claim, value in zip(said, right, strict=True) if value >= UNSUPPORTED_BELOW]
    precision = mean_and_weakest(right, [1] * len(right), nothing_below=UNSUPPORTED_BELOW)
    answered = passages_of(kept)
    recall = sum(_exact_support(claim, answered) for claim in expected) / len(expected)
    value = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    reason = f"{precision:.0%} of the answer is expected, {recall:.0%} of the ground truth answered"
    return MetricScore(value, f"{reason}; not calibrated against people")


def _exact_support(claim: Sentence, other: Passages) -> float:
    found = claim_support(claim, [other])
    named = [token for token in claim if token.norm.startswith(_EXACT)]
    differs = bool(found.unseen_numbers) or any(not other.has(token, claim) for token in named)
    return min(found.value, INEXACT) if differs else found.value
