"""What must rows not have if a model is to be trained on them?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from src.contracts.model import TableContract
from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable
from src.mlops.preparation.columns import Kind, column_of, kind_of, numbers, texts

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROWS = 30
LEAST_PER_CLASS = 5
# Above this share of different words a text names rows instead of describing them.
DISTINCT_SHARE = 0.5
# Of fewer rows nothing can be said: five rows may well have five different cities.
LEAST_FOR_IDENTIFIERS = 20


class TrainingProblemKind(StrEnum):
    """Why no model can be trained."""

    TOO_FEW_ROWS = "too_few_rows"
    EMPTY_TARGET = "empty_target"
    SINGLE_CLASS = "single_class"
    RARE_CLASS = "rare_class"
    EMPTY_COLUMN = "empty_column"
    IDENTIFIER = "identifier"


_MISSING_DATA = frozenset(
    {
        TrainingProblemKind.TOO_FEW_ROWS,
        TrainingProblemKind.EMPTY_TARGET,
        TrainingProblemKind.SINGLE_CLASS,
        TrainingProblemKind.RARE_CLASS,
        TrainingProblemKind.EMPTY_COLUMN,
    }
)


@dataclass(frozen=True, slots=True)
class TrainingProblem:
    """One thing that is wrong, in words that say what to do; ``column`` is None when it is not about one."""

    kind: TrainingProblemKind
    message: str
    column: str | None = None


def training_problems(
    frame: pd.DataFrame,
    *,
    target: str,
    features: Sequence[str],
    problem_type: ProblemType,
    table: TableContract | None = None,
    min_rows: int = LEAST_ROWS,
    min_per_class: int = LEAST_PER_CLASS,
) -> tuple[TrainingProblem, ...]:
    """Everything that keeps raw training rows from being learnt from, the target first; () when nothing does.

    Raises UnknownColumn, and ContractViolation for columns that cannot be read.
    """
    found = _of_target(column_of(frame, target, "target"), target, problem_type, min_rows, min_per_class)
    for name in features:
        problem = _of_feature(column_of(frame, name, "feature"), name, table)
        if problem is not None:
            found.append(problem)
    return tuple(found)


def refuse_problems(problems: Iterable[TrainingProblem]) -> None:
    """Raise when there is any: DataUnavailable where rows or values are missing, otherwise ContractViolation."""
    found = list(problems)
    if not found:
        return
    message = "; ".join(problem.message for problem in found)
    if any(problem.kind in _MISSING_DATA for problem in found):
        raise DataUnavailable(message)
    raise ContractViolation(message)


def _of_target(
    values: pd.Series[Any], name: str, problem_type: ProblemType, min_rows: int, min_per_class: int
) -> list[TrainingProblem]:
    known = values.dropna()
    if len(values) and known.empty:
        return [TrainingProblem(TrainingProblemKind.EMPTY_TARGET, f"target '{name}' is empty in every row", name)]
    found = []
    if len(known) < min_rows:
        message = f"there are {len(known)} training rows with a target; at least {min_rows} are needed"
        found.append(TrainingProblem(TrainingProblemKind.TOO_FEW_ROWS, message))
    counts = known.value_counts()
    if len(counts) < 2:
        message = f"target '{name}' has one value in all training rows: there is nothing to tell apart"
        found.append(TrainingProblem(TrainingProblemKind.SINGLE_CLASS, message, name))
    elif problem_type in (ProblemType.BINARY, ProblemType.MULTICLASS) and counts.iloc[-1] < min_per_class:
        message = (
            f"the rarest class of target '{name}' has {int(counts.iloc[-1])} training rows; at least "
            f"{min_per_class} are needed: collect more, or join it with another class"
        )
        found.append(TrainingProblem(TrainingProblemKind.RARE_CLASS, message, name))
    return found


def _of_feature(values: pd.Series[Any], name: str, table: TableContract | None) -> TrainingProblem | None:
    known = values.dropna()
    if known.empty:
        message = f"feature '{name}' is empty in every training row; leave it out or complete it"
        return TrainingProblem(TrainingProblemKind.EMPTY_COLUMN, message, name)
    if len(known) < LEAST_FOR_IDENTIFIERS:
        return None
    kind = kind_of(known, name, table)
    if kind is Kind.TEXT:
        distinct = len(set(texts(known, name)))
        if distinct > DISTINCT_SHARE * len(known):
            message = (
                f"feature '{name}' has {distinct} different words in {len(known)} rows: it names rows instead of "
                "describing them; leave it out"
            )
            return TrainingProblem(TrainingProblemKind.IDENTIFIER, message, name)
    if kind is Kind.NUMBER and _is_key(known, name):
        message = f"feature '{name}' numbers the rows ({len(known)} different whole numbers); leave it out"
        return TrainingProblem(TrainingProblemKind.IDENTIFIER, message, name)
    return None


def _is_key(known: pd.Series[Any], name: str) -> bool:
    """Whole numbers, each once, that rise or fall from row to row or lie so close that they must have been counted."""
    import numpy as np

    values = numbers(known, name)
    if not (values == np.floor(values)).all() or len(np.unique(values)) < len(values):
        return False
    steps = np.diff(values)
    dense = float(values.max() - values.min()) < 2 * len(values)
    return bool((steps > 0).all() or (steps < 0).all() or dense)
