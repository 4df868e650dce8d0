"""What model is asked for? The caller's words, checked against the data, before anything is kept or computed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.agents.ml_foundation.data_preparer.source import REGION_COLUMNS, time_column
from src.agents.ml_foundation.model_selector.registry import known
from src.agents.ml_foundation.model_trainer.request import MOST_TRIALS, MOST_WORKERS
from src.app.training_checks import (
    LARGEST_SEED,
    require_experiment,
    require_metrics,
    require_resumable,
    require_target,
    require_times,
    require_within,
    require_word,
)
from src.contracts.enums import Brand, Region
from src.contracts.inference import infer_contract, is_inferred, time_columns
from src.contracts.model import Dtype, Role, TableContract
from src.contracts.tables import ALIASES, TABLES, get_table
from src.domain.modelling import ProblemType
from src.errors import ContractViolation, UnknownColumn, nearest_names
from src.mlops.modelling.validation import DISTINCT_SHARE
from src.storage.catalogue import TABLE_PREFIX

if TYPE_CHECKING:
    import pandas as pd

AUTO, ALL = "auto", "all"
PROBLEMS = tuple(str(kind) for kind in ProblemType if kind is not ProblemType.EFFECT)
# A whole number with more values is a quantity, not a class.
MOST_CLASSES = 20
FEWEST_FOR_IDENTIFIERS = 20
FILE_ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".gz", ".bz2", ".zst")
_USABLE = (Role.FEATURE, Role.DIMENSION)


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """A model as the caller asks for it. Exactly one of ``data`` (a file) and ``dataset`` (table or name) is given.

    ``features`` may be columns and ``view:feature``; empty: all that may be used. ``problem`` may be auto.
    ``trials`` 0: no search. ``timeout_s``: seconds of the search. ``criteria``: metric → bound on the test split.
    ``resume``: name of a search to go on with.
    """

    target: str
    data: Path | None = None
    dataset: str | None = None
    features: tuple[str, ...] = ()
    problem: str = AUTO
    brand: str | None = None
    region: str | None = None
    days: tuple[str | None, str | None] = (None, None)
    algorithm: str | None = None
    trials: int = 30
    timeout_s: float | None = None
    workers: int = 1
    unit: str | None = None
    time: str | None = None
    split_strategy: str | None = None
    positive: str | None = None
    criteria: Mapping[str, float] = field(default_factory=dict)
    metric: str | None = None
    experiment: str | None = None
    resume: str | None = None
    random_state: int = 42

    @property
    def name(self) -> str:
        """The data, in a word."""
        return self.dataset or (self.data.name.split(".")[0] if self.data is not None else "")


@dataclass(frozen=True, slots=True)
class Columns:
    """What an order means for the rows at hand. ``left_out``: column → why ``all`` does not use it."""

    problem: ProblemType
    features: tuple[str, ...]
    time: str | None
    left_out: Mapping[str, str] = field(default_factory=dict)


def where_from(text: str) -> tuple[Path | None, str | None]:
    """The file or the dataset that ``text`` names; a contract table is the dataset ``table:<name>``."""
    short = text.removeprefix(TABLE_PREFIX)
    if short in TABLES or short in ALIASES:
        return None, f"{TABLE_PREFIX}{get_table(short).name}"
    path = Path(text)
    if path.is_file() or path.suffix.lower() in FILE_ENDINGS:
        return path, None
    return None, text


def checked(order: TrainingOrder) -> TrainingOrder:
    """The order with brand and region as they are stored.

    Raises ContractViolation for an unknown word, an option out of range, a name that no model can have, or days that
    are none.
    """
    if order.problem not in (AUTO, *PROBLEMS):
        words = (AUTO, *PROBLEMS)
        raise ContractViolation(f"--problem '{order.problem}' is unknown; {nearest_names(order.problem, words)}")
    require_within("--trials", order.trials, 0, MOST_TRIALS)
    require_within("--workers", order.workers, 1, MOST_WORKERS)
    require_within("--seed", order.random_state, 0, LARGEST_SEED)
    require_resumable(order.resume, order.trials)
    if order.algorithm is not None:
        known(order.algorithm)
    require_experiment(order.experiment, order.algorithm)
    problem = None if order.problem == AUTO else ProblemType(order.problem)
    require_metrics(order.metric, order.criteria, problem, search=order.trials > 0)
    if order.timeout_s is not None and not order.timeout_s > 0:
        raise ContractViolation(f"--timeout is {order.timeout_s:g}; it must be seconds above 0")
    if order.target in order.features:
        raise ContractViolation(f"the target '{order.target}' is among the features; leave it out")
    for option, text in zip(("--from", "--to"), order.days, strict=True):
        _require_day(option, text)
    return dataclasses.replace(
        order,
        brand=require_word("--brand", order.brand, list(Brand)),
        region=require_word("--region", order.region, list(Region)),
    )


def criteria_from(words: Sequence[str]) -> dict[str, float]:
    """Bounds such as "roc_auc=.7"; raises ContractViolation."""
    found = {}
    for text in words:
        name, _, bound = (part.strip() for part in text.partition("="))
        try:
            found[name] = float(bound)
        except ValueError as error:
            raise ContractViolation(f"--criteria '{text}' is not like roc_auc=.7") from error
        if not math.isfinite(found[name]):
            raise ContractViolation(f"--criteria '{text}' has no bound; it is like roc_auc=.7")
    return found


def declared_contract(dataset_id: str) -> TableContract | None:
    """The contract of a table; None for a dataset that nobody declared one for."""
    return get_table(dataset_id.removeprefix(TABLE_PREFIX)) if dataset_id.startswith(TABLE_PREFIX) else None


def columns_of(order: TrainingOrder, frame: pd.DataFrame, declared: TableContract | None) -> Columns:
    """What the order means for ``frame``: problem, features, and the column of a row's time.

    Raises UnknownColumn for a target, feature, time or unit that is not there, and ContractViolation where the
    problem cannot be told, does not fit the target or its metrics, a time is none, or no column is left to learn from.
    """
    names = [str(name) for name in frame.columns]
    own = [name for name in order.features if ":" not in name]
    for role, wanted in (("target", [order.target]), ("feature", own), ("time", [order.time]), ("unit", [order.unit])):
        for name in wanted:
            if name is not None and name not in names:
                raise UnknownColumn(name, names, role=role)
    table = declared or infer_contract(frame, order.name, time=order.time, unit=order.unit)
    time = order.time or (time_column(table) if declared else _found_time(order, table))
    if order.time is not None:
        require_times(frame[order.time])
    problem = _problem(order, frame[order.target])
    require_target(frame[order.target], problem, order.positive)
    require_metrics(order.metric, order.criteria, problem, search=order.trials > 0)
    if order.features:
        return Columns(problem, order.features, time)
    left_out = {name: why for name in names if (why := _unfit(name, frame[name], table, order, time))}
    features = tuple(name for name in names if name not in left_out and name != order.target)
    if not features:
        raise ContractViolation(f"no column is left to predict '{order.target}' from; name some with --features")
    return Columns(problem, features, time, left_out)


def _found_time(order: TrainingOrder, table: TableContract) -> str | None:
    return next((name for name in time_columns(table) if name != order.target), None)


def _problem(order: TrainingOrder, target: pd.Series[Any]) -> ProblemType:
    if order.problem != AUTO:
        return ProblemType(order.problem)
    import pandas as pd

    values = target.dropna()
    distinct = int(values.nunique())
    if values.empty:
        raise ContractViolation(f"the target '{order.target}' is empty in every row")
    if order.positive is not None or distinct <= 2:
        return ProblemType.BINARY
    numeric = pd.api.types.is_numeric_dtype(values.dtype)
    if numeric and (distinct > MOST_CLASSES or bool((pd.to_numeric(values) % 1 != 0).any())):
        return ProblemType.REGRESSION
    if distinct <= MOST_CLASSES:
        return ProblemType.MULTICLASS
    raise ContractViolation(
        f"the target '{order.target}' has {distinct} different texts: join some of them in a column of its own, or "
        "take each for a class with --problem multiclass"
    )


def _unfit(
    name: str, series: pd.Series[Any], table: TableContract, order: TrainingOrder, time: str | None
) -> str | None:
    """Why a column is none of ``all``."""
    if name == order.target:
        return None
    column = table.column(name)
    if (name == "brand" and order.brand) or (name in REGION_COLUMNS and order.region):
        return "it is the same in every row"
    if name in (time, order.unit, "data_split") or column.role is Role.KEY or column.is_personal:
        return "it says which row it is"
    if column.dtype is Dtype.JSON or (not is_inferred(table) and column.role not in _USABLE):
        return "it is no feature"
    if column.dtype in (Dtype.DATE, Dtype.TS) and is_inferred(table):
        return "it is a time"
    if series.isna().all():
        return "it is empty"
    if column.dtype is not Dtype.LIST and series.dropna().nunique() < 2 and not series.isna().any():
        return "it is the same in every row"
    # A declared feature is one, whatever its values look like.
    return "its values name rows" if is_inferred(table) and _names_rows(series, column.dtype) else None


def _names_rows(series: pd.Series[Any], dtype: Dtype) -> bool:
    filled = series.dropna()
    if len(filled) < FEWEST_FOR_IDENTIFIERS or dtype not in (Dtype.STR, Dtype.INT):
        return False
    distinct = int(filled.nunique())
    if dtype is Dtype.STR:
        return distinct > DISTINCT_SHARE * len(filled)
    return distinct == len(filled) and bool(filled.is_monotonic_increasing or filled.is_monotonic_decreasing)


def _require_day(option: str, text: str | None) -> None:
    if text is None:
        return
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ContractViolation(f"{option} '{text}' is not a day like 2026-03-31") from error
