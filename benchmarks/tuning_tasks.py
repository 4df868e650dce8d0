"""Ten small problems, real and generated, each with training, validation and test rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split

from src.domain.modelling import ProblemType
from src.mlops.modelling.types import Labelled

BINARY, MULTICLASS, REGRESSION = ProblemType.BINARY, ProblemType.MULTICLASS, ProblemType.REGRESSION


@dataclass(frozen=True)
class TuningTask:
    """A problem with its three splits (60, 20 and 20 % of the rows)."""

    name: str
    problem_type: ProblemType
    train: Labelled
    validation: Labelled
    test: Labelled


def tuning_tasks(random_state: int) -> list[TuningTask]:
    """The ten problems; ``random_state`` draws the generated ones and all splits."""
    return [
        _split(name, problem_type, *make(random_state), random_state) for name, (problem_type, make) in _TASKS.items()
    ]


def _moons(random_state: int) -> tuple[Any, Any]:
    X, y = datasets.make_moons(1000, noise=0.35, random_state=random_state)
    noise = np.random.default_rng(random_state).normal(size=(1000, 6))
    return np.column_stack([X, noise]), y


def _hastie(random_state: int) -> tuple[Any, Any]:
    X, y = datasets.make_hastie_10_2(1500, random_state=random_state)
    return X, (y > 0).astype(int)


def _digits(random_state: int) -> tuple[Any, Any]:
    X, y = datasets.load_digits(n_class=5, return_X_y=True)
    # Noise makes them hard enough to tell good settings from bad ones.
    return X + np.random.default_rng(random_state).normal(scale=8, size=X.shape), y


def _classes(n: int, classes: int, flip: float, rare: float | None = None) -> Callable[[int], tuple[Any, Any]]:
    def make(random_state: int) -> tuple[Any, Any]:
        weights = None if rare is None else [1 - rare]
        return datasets.make_classification(
            n,
            n_features=20,
            n_informative=8,
            n_classes=classes,
            flip_y=flip,
            weights=weights,
            random_state=random_state,
        )

    return make


_TASKS: dict[str, tuple[ProblemType, Callable[[int], tuple[Any, Any]]]] = {
    "breast_cancer": (BINARY, lambda _: datasets.load_breast_cancer(return_X_y=True)),
    "hastie": (BINARY, _hastie),
    "moons": (BINARY, _moons),
    "two_classes": (BINARY, _classes(1500, 2, 0.1)),
    "rare_class": (BINARY, _classes(2000, 2, 0.02, rare=0.1)),
    "wine": (MULTICLASS, lambda _: datasets.load_wine(return_X_y=True)),
    "noisy_digits": (MULTICLASS, _digits),
    "four_classes": (MULTICLASS, _classes(1500, 4, 0.05)),
    "diabetes": (REGRESSION, lambda _: datasets.load_diabetes(return_X_y=True)),
    "friedman": (REGRESSION, lambda seed: datasets.make_friedman1(800, noise=1.0, random_state=seed)),
}


def _split(name: str, problem_type: ProblemType, X: Any, y: Any, random_state: int) -> TuningTask:
    frame = pd.DataFrame(np.asarray(X, dtype=float), columns=[f"x{number}" for number in range(X.shape[1])])
    target = pd.Series(y, dtype="float64" if problem_type is REGRESSION else "int64")
    stratify = problem_type is not REGRESSION
    first, test = train_test_split(
        np.arange(len(target)), test_size=0.2, random_state=random_state, stratify=target if stratify else None
    )
    train, validation = train_test_split(
        first, test_size=0.25, random_state=random_state, stratify=target[first] if stratify else None
    )

    def rows(which: Any) -> Labelled:
        return Labelled(frame.iloc[which].reset_index(drop=True), target.iloc[which].reset_index(drop=True))

    return TuningTask(name, problem_type, rows(train), rows(validation), rows(test))
