"""Which rows does a step read? Each kind is loaded once per composition and shared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pandas as pd

from src.agents.runtime import DatasetLoader
from src.agents.tool_composer.state import ComposeContext, Scope
from src.agents.tool_composer.tools.contract import ComposerTool, Frame
from src.agents.tool_composer.tools.kpi_gaps import with_hidden
from src.errors import ContractViolation, DataUnavailable, E2IError
from src.rag.answering.quotable import instructs

TIME_COLUMNS: Mapping[Frame, str] = {
    "panel": "month",
    "metrics": "metric_date",
    "predictions": "prediction_timestamp",
}


@dataclass(frozen=True)
class Rows:
    """A frame without the columns nobody of this role sees, and how it was obtained."""

    frame: pd.DataFrame
    query: Mapping[str, Any]


@dataclass
class Frames:
    """The frames of one composition."""

    datasets: DatasetLoader
    context: ComposeContext
    loads: int = 0
    _loaded: dict[Frame, Rows] = field(default_factory=dict)
    _locks: dict[Frame, asyncio.Lock] = field(default_factory=dict)

    async def get(self, kind: Frame) -> Rows:
        """All rows of a kind after the composition's filters.

        Raises DatasetNotFound, UnknownColumn, and ContractViolation for a filter on a column that is not to be seen.
        What failed is tried again by the next call.
        """
        async with self._locks.setdefault(kind, asyncio.Lock()):
            if kind not in self._loaded:
                self._refuse_hidden_filters()
                self.loads += 1
                loaded = await self.datasets.load(self._dataset(kind), filters=self.context.filters)
                hidden = [name for name in self.context.hidden_columns if name in loaded.frame.columns]
                frame = await asyncio.to_thread(without_instructing_cells, loaded.frame.drop(columns=hidden))
                self._loaded[kind] = Rows(frame, dict(loaded.query))
            return self._loaded[kind]

    async def of(self, kind: Frame, scope: Scope) -> Rows:
        """The rows of a kind that a step is about. Raises DataUnavailable where none is left, and as ``get`` does.

        What is hidden of KPI values is decided on all of them, before they are narrowed.
        """
        rows = await self.get(kind)
        whole = rows.frame if kind != "metrics" else await asyncio.to_thread(with_hidden, rows.frame)
        frame = await asyncio.to_thread(narrowed, whole, scope, TIME_COLUMNS[kind])
        if frame.empty:
            raise DataUnavailable(f"there are no rows for {scope}; ask for another brand, region or period")
        return Rows(frame, {**rows.query, "scope": str(scope), "rows_in_scope": len(frame)})

    def _dataset(self, kind: Frame) -> str:
        names: dict[Frame, str] = {
            "panel": self.context.dataset,
            "metrics": self.context.metrics,
            "predictions": self.context.predictions,
        }
        return names[kind]

    def _refuse_hidden_filters(self) -> None:
        for condition in self.context.filters:
            if condition.column in self.context.hidden_columns:
                raise ContractViolation(f"rows cannot be filtered by '{condition.column}': your role does not see it")


async def columns_of(frames: Frames, tools: Iterable[ComposerTool[Any]]) -> dict[Frame, tuple[str, ...]]:
    """The columns of each kind of rows the tools read, of the kinds that can be loaded.

    A kind that cannot be loaded is left out: the steps that read it fail with the reason.
    """
    found: dict[Frame, tuple[str, ...]] = {}
    for kind in dict.fromkeys(tool.frame for tool in tools):
        try:
            found[kind] = tuple(str(name) for name in (await frames.get(kind)).frame.columns)
        except E2IError:
            continue
    return found


def without_instructing_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with another name for cells that tell their reader how to behave; the frame itself without any.

    Names of groups reach answers and language models, ids of rows do not.
    """
    renamed = {}
    for name, column in frame.items():
        if column.dtype.kind in "biufcmM" or str(name).endswith("_id"):
            continue
        told = [one for one in column.dropna().unique() if isinstance(one, str) and instructs(one)]
        if told:
            names = {one: f"unnamed {chr(ord('a') + at % 26) * (1 + at // 26)}" for at, one in enumerate(sorted(told))}
            renamed[str(name)] = column.astype(object).map(lambda cell, names=names: names.get(cell, cell))
    return frame.assign(**renamed) if renamed else frame


def narrowed(frame: pd.DataFrame, scope: Scope, time_column: str) -> pd.DataFrame:
    """The rows inside ``scope``; the frame itself where that is all of them.

    Raises ContractViolation for a condition these rows cannot meet: it is never left out.
    """
    keep = pd.Series(True, index=frame.index)
    for column, values in scope.kept:
        if column not in frame.columns:
            raise ContractViolation(f"these rows are not kept by {column}; ask without {' or '.join(values)}")
        keep &= frame[column].isin(values)
    if scope.start is not None or scope.end is not None:
        keep &= _inside(frame, time_column, scope.start, scope.end)
    return frame if keep.all() else frame[keep]


def _inside(frame: pd.DataFrame, column: str, start: date | None, end: date | None) -> pd.Series:
    if column not in frame.columns:
        raise ContractViolation(f"these rows have no '{column}'; ask without a period")
    days = pd.to_datetime(frame[column], utc=True)
    keep = pd.Series(True, index=frame.index)
    if start is not None:
        keep &= days >= pd.Timestamp(start, tz="UTC")
    if end is not None:
        keep &= days < pd.Timestamp(end + timedelta(days=1), tz="UTC")
    return keep
