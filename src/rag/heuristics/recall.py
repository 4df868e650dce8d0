"""How much of the expected answer can be attributed to the contexts?"""

from __future__ import annotations

from collections.abc import Sequence

from src.rag.heuristics.claims import claims
from src.rag.heuristics.effort import too_much
from src.rag.heuristics.passages import passages
from src.rag.heuristics.support import support_in
from src.rag.scores import MetricScore

NONE_BELOW, WHOLE_FROM = 0.3, 0.75
"""Support of an expected sentence below which it is not attributable, and from which it wholly is."""


def attributable(support: float) -> float:
    """Support brought to 0 (not attributable) … 1 (attributable)."""
    return min(1.0, max(0.0, (support - NONE_BELOW) / (WHOLE_FROM - NONE_BELOW)))


def context_recall(ground_truth: str, contexts: Sequence[str]) -> MetricScore:
    """Mean over the expected sentences of how attributable they are, 0–1; None when nothing is expected or read."""
    expected = claims(ground_truth)
    read = tuple(context for context in contexts if passages(context).sentences)
    if not expected:
        return MetricScore(None, "the ground truth states nothing")
    if not read:
        return MetricScore(None, "there are no contexts with words")
    if reason := too_much(expected, list(map(passages, read))):
        return MetricScore(None, f"ground truth: {reason}")
    found = [attributable(support_in(claim, read).value) for claim in expected]
    whole = sum(value >= 1 for value in found)
    return MetricScore(
        sum(found) / len(found),
        f"{whole} of {len(found)} expected sentences wholly attributable; not calibrated against people",
    )
