"""Which rows does a model see: those of one registered split, from the catalogue or joined with the feature store?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Protocol, get_args

from src.agents.runtime import DatasetLoader, Filter
from src.agents.training_rows import SplitRows, TrainingRows
from src.domain.modelling import TrainingData, TrainingSplit
from src.domain.splits import SplitPlan
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.feature_store.repository import EVENT_COLUMN
from src.feature_store.requests import parse_refs
from src.mlops.preparation.row_identity import OF_VIEW, ROW, row_hashes
from src.mlops.preparation.splitting import SPLIT_COLUMN, given_splits, splits_of_plan
from src.resilience.outcomes import Unavailable
from src.storage.gateway import Op

if TYPE_CHECKING:
    import pandas as pd

REGIONS = ("geographic_region", "region")


class RegisteredSplits(Protocol):
    """Where splits are registered; ``PreparationRepository`` in production."""

    async def plan(self, split_config_id: str) -> SplitPlan:
        """A registered plan; raises DataUnavailable for an unknown id."""
        ...

    async def assignments(self, split_config_id: str) -> Mapping[str, str]:
        """The split of each unit, empty where the plan's dates say all."""
        ...


class History(Protocol):
    """What was known when; ``FeastClient`` in production."""

    async def get_historical_features(
        self, entity_df: pd.DataFrame, feature_refs: Sequence[str]
    ) -> pd.DataFrame | Unavailable:
        """``entity_df`` with a column ``view__feature`` for each reference, as known at its ``event_timestamp``."""
        ...


@dataclass(frozen=True)
class Rows:
    """A frame and how it was obtained."""

    frame: pd.DataFrame
    query: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """Rows of a catalogued dataset or table, in the order they are stored; a row's label is its position among
    those that pass the filters, which are the same for every split.

    The holdout is left out before anything else is done with the rows. Where the plan divides them by their own dates,
    rows from the holdout's first day on are not even read; otherwise it takes all rows to know which are the holdout's.
    """

    datasets: DatasetLoader
    splits: RegisteredSplits
    source: str = "dataset"

    async def load(self, data: TrainingData, split: TrainingSplit) -> SplitRows | None:
        """Rows of ``split``, rows without a target too; None for features of the feature store, or no split.

        Raises ContractViolation for a split that may not be asked for, DatasetNotFound, UnknownColumn, and
        DataUnavailable for a split that is not registered, or has no such rows.
        """
        if any(OF_VIEW in name for name in data.features) or data.split_id is None:
            return None
        return await split_rows(self.datasets, self.splits, data, split, self.source)


@dataclass(frozen=True, slots=True)
class FeatureStoreRows:
    """As ``DatasetRows``, with features named ``view:feature`` as they were known at each row's own time."""

    datasets: DatasetLoader
    splits: RegisteredSplits
    history: History
    source: str = "feature_store"

    async def load(self, data: TrainingData, split: TrainingSplit) -> SplitRows | None:
        """Rows of ``split``; None where no feature is of the feature store.

        Raises what ``DatasetRows.load`` does, UnknownFeature, and DataUnavailable without the feature store.
        """
        refs = [name for name in data.features if OF_VIEW in name]
        if not refs or data.split_id is None:
            return None
        joined = JoinedDatasets(self.datasets, self.history, refs, data.time)
        return await split_rows(joined, self.splits, data, split, self.source, columns_of=self.datasets)


@dataclass(frozen=True, slots=True)
class FirstRows:
    """The rows of the first source that has them."""

    sources: Sequence[TrainingRows]

    async def load(self, data: TrainingData, split: TrainingSplit) -> SplitRows | None:
        """Rows of a split; None where no source has them. Raises what the sources raise."""
        for source in self.sources:
            if (found := await source.load(data, split)) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class JoinedDatasets:
    """Datasets with further columns ``view:feature``: the values known at each row's ``time``, point in time."""

    datasets: DatasetLoader
    history: History
    references: Sequence[str]
    time: str | None

    async def load(
        self, dataset_id: str, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> Rows:
        """Rows after ``filters`` with their features; entity keys are columns of the dataset.

        Raises what the dataset's loader does, UnknownFeature, ContractViolation for missing keys or times, and
        DataUnavailable without the feature store.
        """
        refs = parse_refs(self.references)
        loaded = await self.datasets.load(dataset_id, columns=columns, filters=filters)
        frame = loaded.frame.reset_index(drop=True)
        if self.time is None:
            raise ContractViolation(f"{refs[0].feast_name} needs the time of each row: name its column")
        if self.time not in frame.columns:
            raise UnknownColumn(self.time, [str(name) for name in frame.columns], role="time")
        found = await self.history.get_historical_features(_asked(frame, self.time), list(self.references))
        if isinstance(found, Unavailable):
            raise DataUnavailable(f"features of the feature store cannot be read: {found.reason}")
        joined = frame.assign(**{ref.feast_name: found[ref.full_name].to_numpy() for ref in refs})
        return Rows(joined, {**loaded.query, "features": [ref.feast_name for ref in refs]})


def _asked(frame: pd.DataFrame, time_column: str) -> pd.DataFrame:
    import pandas as pd

    return frame.assign(**{EVENT_COLUMN: pd.to_datetime(frame[time_column], utc=True)})


async def split_rows(
    datasets: DatasetLoader,
    splits: RegisteredSplits,
    data: TrainingData,
    split: TrainingSplit,
    source: str,
    *,
    columns_of: DatasetLoader | None = None,
) -> SplitRows:
    """The rows that a registered plan gives to one split; the holdout is refused.

    ``columns_of``: where the filters' columns are looked up, the dataset without further columns.
    """
    if split not in get_args(TrainingSplit):
        raise ContractViolation(f"the {split} split may not be read; ask for {', '.join(get_args(TrainingSplit))}")
    assert data.split_id is not None
    plan, assigned = await splits.plan(data.split_id), await splits.assignments(data.split_id)
    conditions = await _conditions(columns_of or datasets, data, _holdout_day(plan, data))
    loaded = await datasets.load(data.dataset_id, filters=conditions)
    return await asyncio.to_thread(_of_split, loaded.frame.reset_index(drop=True), data, plan, assigned, split, source)


def _of_split(
    frame: pd.DataFrame,
    data: TrainingData,
    plan: SplitPlan,
    assigned: Mapping[str, str],
    split: TrainingSplit,
    source: str,
) -> SplitRows:
    chosen = _placed(frame, data, plan, assigned) == split
    if not chosen.any():
        raise DataUnavailable(
            f"split '{plan.split_config_id}' has no {split} rows of {data.dataset_id}; plan a new one"
        )
    rows = frame[chosen.to_numpy()]
    units = rows[plan.unit] if plan.unit in rows.columns else None
    return SplitRows(split, _columns(rows, data), units, source)


def _columns(rows: pd.DataFrame, data: TrainingData) -> pd.DataFrame:
    segments = (name for name in ("brand", *REGIONS) if name in rows.columns)
    wanted = dict.fromkeys((*data.features, data.target, *data.segments, *segments))
    for name in wanted:
        if name not in rows.columns:
            raise UnknownColumn(name, [str(column) for column in rows.columns])
    return rows[list(wanted)]


def _placed(frame: pd.DataFrame, data: TrainingData, plan: SplitPlan, assigned: Mapping[str, str]) -> pd.Series[Any]:
    """The split of every row: as it was assigned, by the plan's dates, or as the rows bring it along."""
    if not assigned and not plan.cuts and SPLIT_COLUMN in frame.columns:
        return given_splits(frame)
    unit = plan.unit
    if assigned and unit in (None, ROW):
        frame, unit = frame.assign(**{ROW: row_hashes(frame)}), ROW
    return splits_of_plan(frame, plan, time=data.time, unit=unit, assignments=assigned)


def _holdout_day(plan: SplitPlan, data: TrainingData) -> date | None:
    """From which day on every row is of the holdout, None where a row's own date does not say.

    Later rows of a unit are in the split of its first date, so a plan of units has no such day.
    """
    by_own_date = plan.cuts and plan.unit in (None, ROW) and data.time is not None
    return plan.cuts[-1] if by_own_date else None


async def _conditions(datasets: DatasetLoader, data: TrainingData, holdout: date | None) -> tuple[Filter, ...]:
    asked = (data.brand, data.region, *data.period) != (None, None, None, None)
    if not asked and (holdout is None or data.time is None):
        return ()
    seen = None if asked or data.time is None else [data.time]
    frame = (await datasets.load(data.dataset_id, columns=seen)).frame
    names = [str(name) for name in frame.columns]
    found = []
    if data.brand is not None:
        found.append(Filter(_named(("brand",), names), Op.EQ, data.brand))
    if data.region is not None:
        found.append(Filter(_named(REGIONS, names), Op.EQ, data.region))
    return (*found, *_within(frame, data), *_before(frame, data, holdout))


def _within(frame: pd.DataFrame, data: TrainingData) -> tuple[Filter, ...]:
    start, end = data.period
    if start is None and end is None:
        return ()
    if data.time is None:
        raise ContractViolation("a period needs the column of a row's time")
    zoned = getattr(frame[_named((data.time,), list(frame.columns))].dtype, "tz", None) is not None
    found = []
    if start is not None:
        found.append(Filter(data.time, Op.GE, _moment(date.fromisoformat(start), zoned)))
    if end is not None:
        found.append(Filter(data.time, Op.LT, _moment(date.fromisoformat(end) + timedelta(days=1), zoned)))
    return tuple(found)


def _before(frame: pd.DataFrame, data: TrainingData, day: date | None) -> tuple[Filter, ...]:
    """The rows before a day, where the column holds times and not texts that may sort otherwise."""
    if day is None or data.time is None:
        return ()
    kind = frame[_named((data.time,), list(frame.columns))].dtype
    zoned = getattr(kind, "tz", None) is not None
    return (Filter(data.time, Op.LT, _moment(day, zoned)),) if kind.kind == "M" else ()


def _named(names: tuple[str, ...], there: Sequence[str]) -> str:
    for name in names:
        if name in there:
            return name
    raise UnknownColumn(names[-1], list(there))


def _moment(day: date, zoned: bool) -> str:
    return datetime.combine(day, time(), UTC).isoformat() if zoned else day.isoformat()
