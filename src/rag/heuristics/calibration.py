"""How probable is it that an answer is faithful, given its raw score and the kind of item it belongs to?

A kind of item (regime) is recognised by what no corruption of an answer can turn to its profit: whether a question is
asked, how long the contexts are, how many claims are made, how long a single claim is. In each regime a monotone
table, fitted by isotonic regression on labelled development halves with equal weight for every set and for supported
and unsupported answers, turns the raw score into a probability. Where a corruption could move an item from one regime
to another, the lower of their probabilities counts; where the calibrated verdicts agree with people too rarely, none
is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from src.settings import CONFIG_DIR, ConfigModel, load_config

CALIBRATION_FILE = CONFIG_DIR / "heuristic_calibration.yaml"
SHORT_CONTEXT_TOKENS = 100
SHORT_CLAIM_TOKENS = 14

Share = Annotated[float, Field(ge=0, le=1)]


class Regime(StrEnum):
    """What kind of item it is."""

    SHORT_CONTEXT = "short_context"
    """Dialogue and answers from at most 100 tokens of context."""
    QUESTION = "question"
    """An answer to a question from longer contexts."""
    SHORT_CLAIM = "short_claim"
    """One claim of at most 14 tokens without a question: a claim to be verified."""
    SENTENCE = "sentence"
    """One longer sentence without a question: an abstractive summary."""
    SUMMARY = "summary"
    """Several sentences without a question: an extractive summary."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a regime is recognised by: question asked, tokens of all contexts, claims, tokens of the longest claim."""

    asked: bool
    context_tokens: int
    claims: int
    longest_claim: int


class RegimeTable(ConfigModel):
    """Probability at rising raw scores, and how often its verdicts at 0.5 agreed with people on held-out folds.

    ``agreement`` is that of the labelled set in which they agreed least: nothing in an item tells which set it is like.
    """

    items: PositiveInt
    agreement: Share
    raw: tuple[Share, ...] = Field(min_length=2)
    probability: tuple[Share, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if len(self.raw) != len(self.probability):
            raise ValueError("raw and probability must be equally long")
        if any(b <= a for a, b in pairwise(self.raw)) or any(b < a for a, b in pairwise(self.probability)):
            raise ValueError("raw must rise and probability must not fall")
        return self

    def at(self, raw: float) -> float:
        """The probability at a raw score, linear between the points of the table."""
        return float(np.interp(raw, self.raw, self.probability))


class CalibrationFile(ConfigModel):
    """The whole file."""

    least_agreement: Share
    regimes: dict[Regime, RegimeTable]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := sorted(set(Regime) - set(self.regimes)):
            raise ValueError(f"no table for {', '.join(missing)}")
        return self


@dataclass(frozen=True, slots=True)
class Calibrated:
    """``probability`` is None where the regime's verdicts agree with people too rarely."""

    probability: float | None
    regime: Regime
    agreement: float
    items: int
    least_agreement: float


def load_calibration(path: Path | str = CALIBRATION_FILE) -> CalibrationFile:
    """Read the tables once per path. Raises ConfigError: unknown key, missing regime, a table that falls."""
    return _load(str(path))


@lru_cache(maxsize=4)
def _load(path: str) -> CalibrationFile:
    return load_config(path, CalibrationFile)


def regime_of(shape: Shape) -> Regime:
    """The regime an item is calibrated in."""
    return Regime.SHORT_CONTEXT if shape.context_tokens < SHORT_CONTEXT_TOKENS else _with_long_context(shape)


def _with_long_context(shape: Shape) -> Regime:
    if shape.asked:
        return Regime.QUESTION
    if shape.claims > 1:
        return Regime.SUMMARY
    return Regime.SHORT_CLAIM if shape.longest_claim <= SHORT_CLAIM_TOKENS else Regime.SENTENCE


def _before_corruption(shape: Shape) -> Iterator[Regime]:
    """Regimes an item may have come from by losing contexts or gaining a sentence."""
    yield _with_long_context(shape)
    if not shape.asked and shape.claims > 1:
        yield from (Regime.SHORT_CLAIM, Regime.SENTENCE)


def calibrate(raw: float, shape: Shape, file: CalibrationFile) -> Calibrated:
    """The probability that people would call the answer supported, at even odds beforehand."""
    regime = regime_of(shape)
    table = file.regimes[regime]
    trusted = [
        file.regimes[one]
        for one in {regime, *_before_corruption(shape)}
        if file.regimes[one].agreement >= file.least_agreement
    ]
    known = table.agreement >= file.least_agreement
    probability = min(one.at(raw) for one in trusted) if known else None
    return Calibrated(probability, regime, table.agreement, table.items, file.least_agreement)
