"""Do the contexts that matter stand before those that do not?"""

from __future__ import annotations

from collections.abc import Sequence

from src.rag.heuristics.claims import claims
from src.rag.heuristics.effort import too_much
from src.rag.heuristics.passages import Passages, Sentence, matches, passages, weights
from src.rag.heuristics.recall import attributable
from src.rag.heuristics.support import support_in
from src.rag.heuristics.tokens import tokenize
from src.rag.scores import MetricScore

RELEVANT_FROM = 0.5
"""Attributable share of an expected sentence, or covered share of the question, that makes a context relevant."""


def context_precision(question: str, contexts: Sequence[str], ground_truth: str | None = None) -> MetricScore:
    """Average precision of the contexts in the order given, 0–1, against ground truth where there is one.

    The mean over relevant contexts of the share of relevant ones down to their rank; 0 when none is relevant.
    None without contexts, or without words to judge them by.
    """
    if not contexts:
        return MetricScore(None, "there are no contexts")
    expected = claims(ground_truth) if ground_truth else ()
    asked = tuple(token for token in tokenize(question) if token.content)
    if not expected and not asked:
        return MetricScore(None, "neither question nor ground truth has words to judge the contexts by")
    if reason := too_much(expected, list(map(passages, contexts))):
        return MetricScore(None, f"ground truth: {reason}")
    relevant = [_serves(expected, context) if expected else _touches(asked, passages(context)) for context in contexts]
    against = "the ground truth" if expected else "the question, for want of a ground truth"
    return MetricScore(
        average_precision(relevant),
        f"{sum(relevant)} of {len(relevant)} contexts relevant to {against}; not calibrated against people",
    )


def average_precision(relevant: Sequence[bool]) -> float:
    """Mean of precision at the ranks of the relevant ones, 0 when there are none."""
    hits, total = 0, 0.0
    for rank, hit in enumerate(relevant, 1):
        if hit:
            hits += 1
            total += hits / rank
    return total / hits if hits else 0.0


def _serves(expected: Sequence[Sentence], context: str) -> bool:
    return any(attributable(support_in(claim, (context,)).value) >= RELEVANT_FROM for claim in expected)


def _touches(asked: Sentence, context: Passages) -> bool:
    if not context.sentences:
        return False
    return float(matches(asked, context).max(axis=0) @ weights(asked)) >= RELEVANT_FROM
