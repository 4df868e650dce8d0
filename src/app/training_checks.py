"""Can an order be carried out? Its options by themselves, and its words against the rows it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from src.agents.ml_foundation.model_selector.registry import PROFILES
from src.agents.requests import LONGEST_NAME
from src.domain.modelling import ProblemType
from src.errors import ContractViolation, nearest_names
from src.mlops.mlflow.values import checked_model_name
from src.mlops.modelling.metrics import DIRECTIONS, METRICS, searchable
from src.mlops.modelling.targets import fit_target
from src.mlops.preparation.columns import Kind, kind_of, times

if TYPE_CHECKING:
    import pandas as pd

# Random states are signed 32-bit numbers in the libraries that learn.
LARGEST_SEED = 2**31 - 1


def require_within(option: str, value: int, least: int, most: int) -> None:
    """Raise ContractViolation for a number out of its range."""
    if value < least:
        raise ContractViolation(f"{option} is {value}; it must be at least {least}")
    if value > most:
        raise ContractViolation(f"{option} is {value}; it must be at most {most}")


def require_experiment(name: str | None, algorithm: str | None) -> None:
    """Raise ContractViolation for an experiment whose models could not be registered under its name."""
    if name is None:
        return
    if not name.strip() or len(name) > LONGEST_NAME:
        raise ContractViolation(f"--experiment '{name[:40]}' must be 1 to {LONGEST_NAME} characters")
    longest = max(PROFILES, key=len)
    try:
        checked_model_name(f"{name}_{algorithm or longest}")
    except ContractViolation as error:
        raise ContractViolation(f"--experiment '{name}' cannot name a model: {error}") from error


def require_metrics(metric: str | None, criteria: Iterable[str], problem: ProblemType | None, *, search: bool) -> None:
    """Raise ContractViolation for a metric that the problem, or while that is not known any problem, does not have.

    A ``search`` cannot go by every metric that a model is judged by.
    """
    kinds = tuple(METRICS) if problem is None else (problem,)
    names = [name for name in dict.fromkeys(name for kind in kinds for name in METRICS[kind]) if name in DIRECTIONS]
    whose = "model" if problem is None else f"{problem} model"
    for option, name in (*(("--criteria", name) for name in criteria), *((("--metric", metric),) if metric else ())):
        if name not in names:
            raise ContractViolation(f"{option}: a {whose} has no metric '{name}'; {nearest_names(name, names)}")
    if metric is not None and problem is not None and search:
        searchable(metric, problem)


def require_target(target: pd.Series[Any], problem: ProblemType, positive: str | None) -> None:
    """Raise ContractViolation or DataUnavailable for a target that is no target of that problem.

    ``positive`` must be one of its values.
    """
    name = str(target.name)
    distinct = int(target.dropna().nunique())
    if not distinct:
        raise ContractViolation(f"the target '{name}' is empty in every row")
    if distinct < 2:
        raise ContractViolation(f"the target '{name}' has one value in all rows: there is nothing to tell apart")
    if positive is not None and problem is not ProblemType.BINARY:
        raise ContractViolation(f"--positive names one of two classes; the problem is {problem}")
    fit_target(target, problem, positive, name)


def require_times(column: pd.Series[Any], option: str = "--time") -> None:
    """Raise ContractViolation for a column that does not hold times."""
    name = str(column.name)
    filled = column.dropna()
    if filled.empty:
        raise ContractViolation(f"{option} '{name}' is empty in every row")
    if kind_of(filled, name) in (Kind.NUMBER, Kind.LIST):
        raise ContractViolation(f"{option} '{name}' holds no times; name a column of dates or times")
    try:
        times(filled, name)
    except ContractViolation as error:
        raise ContractViolation(f"{option} '{name}' holds no times: {error}") from error


def require_resumable(study: str | None, trials: int) -> None:
    """Raise ContractViolation for a search that is to go on without trials."""
    if study is not None and trials < 1:
        raise ContractViolation("--resume goes on with a search: give it --trials, and leave --no-tune out")


def require_word(option: str, text: str | None, words: Sequence[str]) -> str | None:
    """``text`` as one of ``words`` writes it. Raises ContractViolation."""
    if text is None:
        return None
    by_lower = {str(word).lower(): str(word) for word in words}
    if text.strip().lower() not in by_lower:
        raise ContractViolation(f"{option} '{text}' is unknown; {nearest_names(text, [str(word) for word in words])}")
    return by_lower[text.strip().lower()]
