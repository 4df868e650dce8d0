"""Which problems can a model be trained for, and which number says that it is good?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Direction = Literal["minimize", "maximize"]
TrainingSplit = Literal["train", "validation", "test"]


class ProblemType(StrEnum):
    """What is predicted: one of two classes, one of several, a number, or the effect of a treatment."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    EFFECT = "effect"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An algorithm proposed for a problem; ``score`` in 0–1, ``search_space`` as ``suggest_from_search_space`` takes.

    ``family``: linear, forest, boosting or causal. ``class_path``: the class that is fitted, importable.
    """

    algorithm: str
    family: str
    class_path: str
    score: float
    default_params: Mapping[str, Any] = field(default_factory=dict)
    search_space: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Which rows a model is trained on, by ids: the dataset, its columns, the registered split, and the filters.

    ``split_id`` is None only where splits are read from the feature store. ``segments``: columns by which metrics
    are reported. ``positive`` is the value of a text target that counts as 1. ``time``: the column of a row's time,
    by which periods and splits by date are read.
    """

    dataset_id: str
    target: str
    features: tuple[str, ...]
    split_id: str | None
    brand: str | None = None
    region: str | None = None
    period: tuple[str | None, str | None] = (None, None)
    segments: tuple[str, ...] = ()
    positive: str | None = None
    time: str | None = None
