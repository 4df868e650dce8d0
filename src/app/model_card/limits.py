"""What must a model not be used for? General rules, and what its own evidence forbids."""

from __future__ import annotations

from collections.abc import Iterator

from src.app.model_card.card import ModelCard
from src.app.model_card.verdict import verdict

# As the KPIs of models have them: beyond these, a model is in trouble.
LARGEST_GAP = 0.10
SLOPE_BAND = 0.20
FEWEST_TEST_ROWS = 1_000
FEW_POSITIVES = 0.05


def limits(card: ModelCard) -> tuple[str, ...]:
    """In the reader's words; never empty."""
    return (*_always(card), *_by_evidence(card))


def _always(card: ModelCard) -> Iterator[str]:
    yield "Clinical decisions: it is for commercial analytics and says nothing of what is good for a patient."
    yield "Decisions about a single person without somebody who looks at them."
    yield f"Questions of cause: what moves {card.target} is answered by e2i effect, not by this model's features."
    yield "Other populations, brands, regions or times than those it was trained on."


def _by_evidence(card: ModelCard) -> Iterator[str]:
    if verdict(card).tone != "supported":
        yield "Any decision at all: it is not shown to be better than the baseline."
    n = card.rows.get("test", 0)
    if n < FEWEST_TEST_ROWS:
        yield f"Fine comparisons: it was judged on {n:,} rows, and its figures scatter accordingly."
    slope = card.calibration.get("slope")
    if slope is not None and abs(slope - 1) > SLOPE_BAND:
        yield f"Expected counts and budgets: its probabilities are off (slope {slope:.2f}); use the ranking."
    for name, gap in card.fairness_gap.items():
        if gap > LARGEST_GAP:
            yield f"Choices between values of {name}: recall differs by {gap:.2f} among them."
    rarest = min(card.class_shares.values(), default=1.0)
    if rarest < FEW_POSITIVES:
        yield f"Reading its accuracy: the rarest class is {rarest:.1%} of the rows, so accuracy says little."
