"""Which rows does a step read? Each kind is loaded once and shared by all steps, and by the questions after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pandas as pd

from src.agents.runtime import DatasetLoader
from src.agents.tool_composer.frame_memory import FrameMemory, Rows
from src.agents.tool_composer.state import ComposeContext, Scope
from src.agents.tool_composer.tools.contract import ComposerTool, Frame
from src.agents.tool_composer.tools.kpi_gaps import HIDDEN, with_hidden
from src.errors import ContractViolation, DataUnavailable, E2IError
from src.rag.answering.quotable import instructs

TIME_COLUMNS: Mapping[Frame, str] = {
    "panel": "month",
    "metrics": "metric_date",
    "predictions": "prediction_timestamp",
}
ALL = Scope()


@dataclass
class Frames:
    """The frames of one composition, from ``memory`` where an earlier one read the same."""

    datasets: DatasetLoader
    context: ComposeContext
    memory: FrameMemory | None = None
    loads: int = 0
    _ready: dict[tuple[Frame, Scope], Rows] = field(default_factory=dict)
    _locks: dict[tuple[Frame, Scope], asyncio.Lock] = field(default_factory=dict)
    _keys: dict[Frame, Hashable] = field(default_factory=dict)

    async def get(self, kind: Frame) -> Rows:
        """All rows of a kind. Raises DatasetNotFound and UnknownColumn; what failed is tried again by the next call."""
        return await self._once((kind, ALL), lambda: self._whole(kind))

    async def of(self, kind: Frame, scope: Scope) -> Rows:
        """The rows of a kind that a step is about. Raises DataUnavailable where none is left, and as ``get`` does.

        What is hidden of KPI values is decided on all of them, before they are narrowed.
        """
        rows = await (
            self.get(kind) if scope == ALL else self._once((kind, scope), lambda: self._narrowed(kind, scope))
        )
        if rows.frame.empty:
            raise DataUnavailable(f"there are no rows for {scope}; ask for another brand, region or period")
        return replace(rows, query={**rows.query, "scope": str(scope), "rows_in_scope": len(rows.frame)})

    async def _once(self, part: tuple[Frame, Scope], make: Callable[[], Awaitable[Rows]]) -> Rows:
        async with self._locks.setdefault(part, asyncio.Lock()):
            if part not in self._ready:
                self._ready[part] = await make()
            return self._ready[part]

    async def _whole(self, kind: Frame) -> Rows:
        name, hidden = self._dataset(kind), tuple(sorted(self.context.hidden_columns))
        if self.memory is None:
            return await self._read(kind, name)
        version = await self.memory.version(name)
        key = (kind, name, version, hidden)
        if (rows := self.memory.find((key, ALL))) is None:
            rows = await self._read(kind, name)
            if rows.query.get("content_sha256") != version:
                return rows
            self.memory.hold((key, ALL), rows)
        self._keys[kind] = key
        return rows

    async def _narrowed(self, kind: Frame, scope: Scope) -> Rows:
        rows = await self.get(kind)
        memory, key = self.memory, (self._keys.get(kind), scope)
        held = memory.find(key) if memory is not None and kind in self._keys else None
        if held is not None:
            return replace(held, whole=rows.frame)
        frame = await asyncio.to_thread(narrowed, rows.frame, scope, TIME_COLUMNS[kind])
        if memory is not None and kind in self._keys and frame is not rows.frame:
            memory.hold(key, Rows(frame, rows.query, frame))
        return Rows(frame, rows.query, rows.frame)

    async def _read(self, kind: Frame, name: str) -> Rows:
        self.loads += 1
        loaded = await self.datasets.load(name)
        hidden = [one for one in self.context.hidden_columns if one in loaded.frame.columns]
        frame = await asyncio.to_thread(_prepared, loaded.frame.drop(columns=hidden), kind)
        return Rows(frame, dict(loaded.query), frame)

    def _dataset(self, kind: Frame) -> str:
        names: dict[Frame, str] = {
            "panel": self.context.dataset,
            "metrics": self.context.metrics,
            "predictions": self.context.predictions,
        }
        return names[kind]


def _prepared(frame: pd.DataFrame, kind: Frame) -> pd.DataFrame:
    told = without_instructing_cells(frame)
    return with_hidden(told) if kind == "metrics" else told


async def columns_of(frames: Frames, tools: Iterable[ComposerTool[Any]]) -> dict[Frame, tuple[str, ...]]:
    """The columns of each kind of rows the tools read, of the kinds that can be loaded.

    A kind that cannot be loaded is left out: the steps that read it fail with the reason.
    """
    found: dict[Frame, tuple[str, ...]] = {}
    for kind in dict.fromkeys(tool.frame for tool in tools):
        try:
            names = (await frames.get(kind)).frame.columns
            found[kind] = tuple(str(name) for name in names if name != HIDDEN)
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
