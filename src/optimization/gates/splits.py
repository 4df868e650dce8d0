"""Which answers may a candidate be made from, and which does only its test see?

The share hangs on the question alone: every answer to a question, now and later, is in the same one, so nothing that a
candidate was made from comes back in its test. Paraphrases are different questions and may be on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src.domain.improvement import LearningItem, Share, share_of
from src.domain.reading import normalise
from src.optimization.configuration import GateSettings


@dataclass(frozen=True, slots=True)
class Split:
    """Items by share, each in the order they came in."""

    train: tuple[LearningItem, ...]
    validation: tuple[LearningItem, ...]
    test: tuple[LearningItem, ...]


def normalised(query: str) -> str:
    """The same text for questions that differ in case, accents, punctuation and spaces only."""
    return normalise(query) or " ".join(query.split())


def split_items(items: Sequence[LearningItem], settings: GateSettings) -> Split:
    """Each item's share by a hash of its normalised question; no item changes its share when others come."""
    shares: dict[Share, list[LearningItem]] = {"train": [], "validation": [], "test": []}
    for item in items:
        key = normalised(item.query)
        shares[share_of(key, train=settings.train_share, validation=settings.validation_share)].append(item)
    return Split(tuple(shares["train"]), tuple(shares["validation"]), tuple(shares["test"]))
