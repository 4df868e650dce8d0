"""How much does each trait of a claim count for, or against, its being supported?

Fitted on the development halves of the labelled sets (benchmarks/rag/fitting.py). A weight is never negative, so
what speaks for a claim can only raise its evidence and what speaks against it can only lower it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from src.settings import CONFIG_DIR, ConfigModel, load_config

WEIGHTS_FILE = CONFIG_DIR / "heuristic_weights.yaml"

Weight = Annotated[float, Field(ge=0)]


class ForWeights(ConfigModel):
    """What speaks for a claim: weights of ``TraitsFor``, and the log odds of a claim that has none of it."""

    constant: float
    words_found: Weight
    letters_found: Weight
    no_new_words: Weight
    density: Weight
    triples: Weight
    order: Weight
    content_order: Weight


class AgainstWeights(ConfigModel):
    """What speaks against a claim: log odds lost by each of ``TraitsAgainst``, and by what a window contradicts."""

    denial: Weight
    denial_unread: Weight
    absolute_unread: Weight
    direction: Weight
    no_direction: Weight
    negation: Weight
    antonym: Weight
    figures_elsewhere: Weight


class EvidenceWeights(ConfigModel):
    """The whole file: an answer to a question (or in a dialogue) and a statement by itself are worded differently."""

    answer: ForWeights
    statement: ForWeights
    against: AgainstWeights


def load_weights(path: Path | str = WEIGHTS_FILE) -> EvidenceWeights:
    """Read the weights once per path. Raises ConfigError: unknown or missing key, a negative weight."""
    return _load(str(path))


@lru_cache(maxsize=4)
def _load(path: str) -> EvidenceWeights:
    return load_config(path, EvidenceWeights)
