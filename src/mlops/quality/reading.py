"""Which rows of a frame break which rule of its contract? Counted, without a message for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.contracts.checking import FrameCheck
from src.contracts.coercion import coerce_frame, unreadable
from src.contracts.describe import ColumnRule, Rule, RuleKind, table_rules
from src.contracts.model import Dtype, TableContract
from src.contracts.pandera_builder import column_violations
from src.contracts.row_checks import row_violations
from src.contracts.rules import Scope
from src.mlops.quality.frames import at_positions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Positions = npt.NDArray[np.int64]

_COUNTED_ELSEWHERE = (RuleKind.PRESENT, RuleKind.NOT_NULL)
_ALWAYS_OBJECTS = (Dtype.STR, Dtype.JSON, Dtype.LIST)


@dataclass(frozen=True, slots=True)
class Reading:
    """``frame``: read by the contract, rows labelled 0 … n − 1. ``broken``: rows, in order, by the rule they break.

    Rules that are kept are not in ``broken``; neither are those of presence and of filled cells.
    """

    frame: pd.DataFrame
    broken: Mapping[str, Positions]

    def slices(self, rows: int) -> Iterator[Reading]:
        """The same in pieces of at most ``rows`` rows."""
        import numpy as np

        for start in range(0, len(self.frame), rows):
            ends = (start, start + rows)
            within = {rule: found[slice(*np.searchsorted(found, ends))] - start for rule, found in self.broken.items()}
            piece = at_positions(self.frame.iloc[slice(*ends)])
            yield Reading(piece, {rule: found for rule, found in within.items() if len(found)})


def read(table: TableContract, frame: pd.DataFrame, *, each_row_alone: bool = False) -> Reading:
    """Read ``frame`` and find what breaks the rules; ``each_row_alone`` leaves out those that compare rows.

    The same rows as ``contracts.checking.check_frame`` names, but in a time that does not grow with their number.
    """
    import numpy as np

    coerced = coerce_frame(table, at_positions(frame))
    broken = {}
    for rule in table_rules(table):
        if _is_decided_here(rule, coerced) and not (each_row_alone and rule.scope is Scope.TABLE):
            found = np.flatnonzero(_violations(table, rule, coerced).to_numpy(dtype=bool))
            if len(found):
                broken[rule.name] = found
    return Reading(coerced, broken)


def reading_of(check: FrameCheck) -> Reading:
    """What is already known of a frame."""
    import numpy as np

    rows = len(check.frame)
    place = {label: position for position, label in enumerate(check.frame.index)} if check.failures else {}
    found: dict[str, set[int]] = {}
    for failure in check.failures:
        known = found.setdefault(failure.rule, set())
        known.update(range(rows) if failure.index is None else (place[failure.index],))
    broken = {rule: np.array(sorted(positions), np.int64) for rule, positions in found.items()}
    return Reading(at_positions(check.frame), broken)


def _is_decided_here(rule: Rule, frame: pd.DataFrame) -> bool:
    if isinstance(rule, ColumnRule):
        return rule.kind not in _COUNTED_ELSEWHERE and rule.column.name in frame.columns
    return rule.scope is not Scope.DATABASE


def _violations(table: TableContract, rule: Rule, frame: pd.DataFrame) -> pd.Series[bool]:
    if not isinstance(rule, ColumnRule):
        return row_violations(table, rule, frame)
    series = frame[rule.column.name]
    if rule.kind is RuleKind.TYPE:
        return _misread(rule, series)
    return column_violations(rule, series)


def _misread(rule: ColumnRule, series: pd.Series[Any]) -> pd.Series[bool]:
    import pandas as pd

    dtype = rule.column.dtype
    if dtype is Dtype.STR or (series.dtype != object and dtype is not Dtype.DATE):
        return pd.Series(False, index=series.index)
    if dtype is Dtype.DATE and series.dtype != object:
        at_midnight: pd.Series[bool] = series == series.dt.normalize()
        return series.notna() & ~at_midnight
    misread = unreadable(series, dtype)
    if dtype is Dtype.DATE or dtype in _ALWAYS_OBJECTS:
        misread |= column_violations(rule, series)
    return misread
