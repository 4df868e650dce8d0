"""Which rows are compared with which: two periods, or two segments?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from src.agents.tool_composer.tools.contract import Frame, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.panel_rows import (
    checked_columns,
    is_clock,
    rows_of,
    telling_columns,
    time_key,
    unit_codes,
    unit_key,
)
from src.agents.tool_composer.tools.periods import (
    BoolArray,
    earlier_than,
    month_numbers,
    observed,
    period_named,
    recent_months,
)
from src.causal_engine.study import IntArray
from src.domain.small_cells import SMALLEST_CELL, is_small
from src.errors import ContractViolation, TooFewRows, nearest_names


class ComparingArguments(ToolArguments):
    """Columns of two periods, or of two segments."""

    columns: tuple[str, ...] = Field(
        default=(),
        description="Columns to compare; empty: every column but keys, dates, and counters of time",
        examples=[["nrx", "rep_calls"], ["decile"]],
    )
    segment: str | None = Field(
        default=None,
        description="Column whose levels are compared; without it two periods are compared",
        examples=["region", "specialty", "brand"],
    )
    current: str | None = Field(
        default=None,
        description="Period (2024, 2024-Q3, 2024-05, '2024-01 to 2024-06', 'last 3 months'), or level of `segment`, "
        "that is judged; default: the last three months of the rows (a level has no default)",
        examples=["2024-Q4", "northeast"],
    )
    reference: str | None = Field(
        default=None,
        description="Period or level it is compared with; default: up to twelve months before the current period, or "
        "all other levels",
        examples=["2023", "south"],
    )
    source: Literal["panel", "predictions"] = Field(
        default="panel",
        description="Rows to compare: 'panel' (promotion and prescriptions per prescriber and month) or 'predictions' "
        "(scores of a model: use for 'is the churn model drifting?', columns prediction_value, confidence_score)",
        examples=["panel"],
    )

    @property
    def frame_kind(self) -> Frame:
        """The kind of rows these arguments need."""
        return self.source


@dataclass(frozen=True)
class TwoGroups:
    """The rows of both groups, ``current`` marking those of the judged one, and whose each row is (``unit``)."""

    frame: pd.DataFrame
    current: BoolArray
    unit: IntArray
    columns: tuple[str, ...]
    current_label: str
    reference_label: str
    by_unit: bool
    left_out: tuple[str, ...] = field(default=())

    @property
    def units(self) -> tuple[int, int]:
        """Number of units in the reference and in the current group."""
        return len(np.unique(self.unit[~self.current])), len(np.unique(self.unit[self.current]))

    @property
    def one_row_each(self) -> bool:
        """Whether no unit has a second row."""
        return int(self.unit.max()) + 1 == len(self.unit)


def two_groups(inputs: ToolInputs, arguments: ComparingArguments) -> TwoGroups:
    """The two groups that the arguments name.

    Raises DataUnavailable without rows, ContractViolation for an unknown column, level or period, TooFewRows where a
    group has fewer than eleven units.
    """
    frame = rows_of(inputs)
    asked = checked_columns(frame, arguments.columns)
    current, reference, labels = (
        _periods(inputs, arguments) if arguments.segment is None else _segments(frame, arguments.segment, arguments)
    )
    key = unit_key(inputs)
    columns, clocks = (asked, ()) if asked else _all_columns(inputs, key, arguments.segment)
    kept = current | reference
    groups = TwoGroups(
        frame=frame.loc[kept, list(columns)],
        current=current[kept],
        unit=_numbered(unit_codes(frame, key)[kept]),
        columns=columns,
        current_label=labels[0],
        reference_label=labels[1],
        by_unit=key is not None,
        left_out=clocks,
    )
    _refuse_small(groups)
    return groups


def grouping_columns(frame: pd.DataFrame, asked: Sequence[str], usual: Sequence[str]) -> tuple[str, ...]:
    """The columns to group by: those asked for, else the usual ones that are there and have two levels or more."""
    if asked:
        return checked_columns(frame, asked)
    return tuple(name for name in usual if name in frame.columns and frame[name].nunique() > 1)


def _periods(inputs: ToolInputs, arguments: ComparingArguments) -> tuple[BoolArray, BoolArray, tuple[str, str]]:
    months = month_numbers(inputs.frame[time_key(inputs)])
    there = observed(months)
    now = period_named(arguments.current, there) if arguments.current else recent_months(there)
    before = period_named(arguments.reference, there) if arguments.reference else earlier_than(now, there)
    if now.first <= before.last and before.first <= now.last:
        raise ContractViolation(f"the periods {before} and {now} overlap; compare periods without a common month")
    for period in (now, before):
        if not period.holds(months).any():
            raise TooFewRows(f"no row lies in {period}; the rows are of {there}")
    return now.holds(months), before.holds(months), (str(now), str(before))


def _segments(
    frame: pd.DataFrame, column: str, arguments: ComparingArguments
) -> tuple[BoolArray, BoolArray, tuple[str, str]]:
    checked_columns(frame, (column,))
    levels = frame[column].astype(str).to_numpy()
    if arguments.current is None:
        raise ContractViolation(f"name the level of '{column}' to judge (current); {nearest_names('', set(levels))}")
    current = _level(levels, column, arguments.current)
    if arguments.reference is None:
        rest = np.asarray(~current, dtype=np.bool_)
        if not rest.any():
            raise TooFewRows(f"all rows are of {column} {arguments.current}; there is nothing to compare it with")
        return current, rest, (arguments.current, f"all other levels of {column}")
    reference = _level(levels, column, arguments.reference)
    if (current & reference).any():
        raise ContractViolation(f"'{arguments.current}' is compared with itself; name another level of '{column}'")
    return current, reference, (arguments.current, arguments.reference)


def _level(levels: np.ndarray, column: str, wanted: str) -> BoolArray:
    known = {str(level).lower(): level for level in np.unique(levels)}
    if wanted.lower() not in known:
        raise ContractViolation(
            f"'{column}' has no level '{wanted[:60]}'; {nearest_names(wanted[:60], sorted(known.values()))}"
        )
    return np.asarray(levels == known[wanted.lower()], dtype=np.bool_)


def _all_columns(inputs: ToolInputs, key: str | None, segment: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What there is to compare, and the counters of time that were left out."""
    frame = inputs.frame
    time = time_key(inputs) if segment is None else None
    named = telling_columns(frame, (key, time, segment, inputs.declared.get("cluster_key")))
    clocks: tuple[str, ...] = ()
    if time is not None and key is not None:
        units, months = unit_codes(frame, key), month_numbers(frame[time])
        clocks = tuple(name for name in named if is_clock(frame[name], units, months))
    columns = tuple(name for name in named if name not in clocks)
    if not columns:
        raise ContractViolation("no column of these rows can be compared; name the columns")
    return columns, clocks


def _numbered(codes: IntArray) -> IntArray:
    return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64)


def _refuse_small(groups: TwoGroups) -> None:
    for n, label in zip(groups.units, (groups.reference_label, groups.current_label), strict=True):
        if is_small(n):
            raise TooFewRows(f"fewer than {SMALLEST_CELL} units in {label}; a comparison would describe single ones")
