"""How well does an algorithm with its default parameters do on training rows it did not see?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.agents.ml_foundation.model_selector.result import Benchmark
from src.agents.ml_foundation.model_selector.services import Fit
from src.agents.training_rows import SplitRows
from src.domain.modelling import ProblemType, TrainingData
from src.errors import DataUnavailable, E2IError
from src.mlops.modelling.metrics import metric_value
from src.mlops.modelling.targets import fit_target
from src.mlops.modelling.types import Labelled
from src.mlops.preparation.transforms import fit_transforms

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Indices = NDArray[np.intp]

MOST_FOLDS = 5
LEAST_ROWS = 30


@dataclass(frozen=True)
class Fold:
    """Rows of one fold: transformations were learnt from ``train`` alone."""

    train: Labelled
    held_out: Labelled


def folds_of(
    rows: SplitRows,
    data: TrainingData,
    problem_type: ProblemType,
    *,
    folds: int,
    max_rows: int,
    random_state: int,
) -> tuple[Fold, ...]:
    """Folds in which every class has its share, and in which rows of one unit stay together.

    Raises DataUnavailable for too few rows, and what ``fit_target`` and ``fit_transforms`` raise.
    """
    frame = rows.frame[rows.frame[data.target].notna()]
    if len(frame) < LEAST_ROWS:
        raise DataUnavailable(f"{len(frame)} training rows are too few to compare algorithms; {LEAST_ROWS} are needed")
    coding = fit_target(frame[data.target], problem_type, data.positive, data.target)
    y = coding.encode(frame[data.target], data.target)
    frame, y = _sampled(frame, y, problem_type, max_rows, random_state)
    units = None if rows.units is None else rows.units.loc[frame.index]
    pairs = _indices(y, units, problem_type, _possible(y, problem_type, folds), random_state)
    return tuple(_fold(frame, y, data, train, held_out) for train, held_out in pairs)


def cross_validated(
    algorithm: str,
    problem_type: ProblemType,
    metric: str,
    folds: tuple[Fold, ...],
    fit: Fit,
    *,
    random_state: int,
    deadline: float | None = None,
) -> Benchmark:
    """Mean and standard deviation of the metric over the folds, and seconds of one fit.

    What kept an algorithm from being measured is part of the result; ``deadline`` is a ``time.monotonic``.
    """
    import numpy as np

    values: list[float] = []
    seconds: list[float] = []
    try:
        for fold in folds:
            if deadline is not None and time.monotonic() > deadline:
                return _unmeasured(algorithm, metric, len(folds), "no time was left for it")
            began = time.monotonic()
            model = fit(algorithm, problem_type, {}, fold.train, random_state=random_state, n_jobs=1)
            seconds.append(time.monotonic() - began)
            values.append(metric_value(metric, problem_type, fold.held_out.y, model.scores(fold.held_out.X)))
    except (E2IError, ValueError) as error:
        # The text of another library's error may quote values of a row.
        told = str(error) if isinstance(error, E2IError) else type(error).__name__
        return _unmeasured(algorithm, metric, len(folds), told)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Benchmark(algorithm, metric, float(np.mean(values)), sd, len(values), float(np.mean(seconds)))


def without_features(problem_type: ProblemType, metric: str, folds: tuple[Fold, ...]) -> float:
    """The metric of a model that knows only how frequent each class is, or the mean, over the same folds."""
    import numpy as np

    values = []
    for fold in folds:
        n = len(fold.held_out.y)
        if problem_type is ProblemType.REGRESSION:
            scores = np.full(n, float(fold.train.y.mean()))
        else:
            shares = np.bincount(fold.train.y) / len(fold.train.y)
            scores = np.tile(shares, (n, 1))
        values.append(metric_value(metric, problem_type, fold.held_out.y, scores))
    return float(np.mean(values))


def _unmeasured(algorithm: str, metric: str, folds: int, why: str) -> Benchmark:
    return Benchmark(algorithm, metric, None, None, folds, None, why)


def _possible(y: pd.Series[Any], problem_type: ProblemType, folds: int) -> int:
    """No more folds than the rarest class has rows."""
    rarest = len(y) if problem_type is ProblemType.REGRESSION else int(y.value_counts().min())
    if rarest < 2:
        raise DataUnavailable("a class of the target has a single training row; algorithms cannot be compared")
    return min(folds, MOST_FOLDS, rarest)


def _sampled(
    frame: pd.DataFrame, y: pd.Series[Any], problem_type: ProblemType, max_rows: int, random_state: int
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    if len(frame) <= max_rows:
        return frame, y
    from sklearn.model_selection import train_test_split

    by_class = None if problem_type is ProblemType.REGRESSION else y
    chosen, _ = train_test_split(frame.index, train_size=max_rows, random_state=random_state, stratify=by_class)
    kept = frame.index.isin(chosen)
    return frame[kept], y[kept]


def _indices(
    y: pd.Series[Any], units: pd.Series[Any] | None, problem_type: ProblemType, folds: int, random_state: int
) -> Iterator[tuple[Indices, Indices]]:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    by_class = problem_type is not ProblemType.REGRESSION
    kinds = {
        (True, True): StratifiedGroupKFold,
        (True, False): StratifiedKFold,
        (False, True): GroupKFold,
        (False, False): KFold,
    }
    splitter = kinds[by_class, units is not None](folds, shuffle=True, random_state=random_state)
    found: Iterator[tuple[Indices, Indices]] = splitter.split(y.to_numpy(), y.to_numpy(), units)
    return found


def _fold(frame: pd.DataFrame, y: pd.Series[Any], data: TrainingData, train: Indices, held_out: Indices) -> Fold:
    import pandas as pd

    learnt = frame.iloc[train]
    everything = pd.Series("train", index=learnt.index)
    transforms = fit_transforms(learnt, everything, data.features)
    return Fold(
        Labelled(transforms.apply(learnt), y.iloc[train]),
        Labelled(transforms.apply(frame.iloc[held_out]), y.iloc[held_out]),
    )
