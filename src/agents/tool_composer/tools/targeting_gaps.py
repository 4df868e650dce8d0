"""Which high-decile prescribers do the reps not reach, by region and specialty?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src.agents.tool_composer.tools.periods import BoolArray
from src.causal_engine.study import IntArray
from src.domain.small_cells import SMALLEST_CELL, hidden_groups


@dataclass(frozen=True, slots=True)
class Coverage:
    """High-decile units of one group: ``n`` of them, ``missed`` with too few contacts, the share with Wilson's 95 %
    interval, and contacts per unit and month. ``hidden``: the words shown instead of a small group's values; ``missed``
    and its share are None where they would tell of a few."""

    column: str
    group: str
    n: int
    missed: int | None
    share: float | None
    lower: float | None
    upper: float | None
    contacts: float
    hidden: str | None = None


@dataclass(frozen=True, slots=True)
class Contacts:
    """Contacts of each unit in a period: their number, months observed, decile, and the groups the unit is in."""

    contacts: np.ndarray
    months: np.ndarray
    high: BoolArray
    groups: pd.DataFrame


def contacts_of(
    frame: pd.DataFrame, unit: IntArray, activity: str, decile: str, least_decile: float, by: Sequence[str]
) -> Contacts:
    """Contacts summed by unit; groups and decile are those of the unit's last row."""
    n = int(unit.max()) + 1
    last = np.zeros(n, dtype=np.int64)
    last[unit] = np.arange(len(unit))
    values = np.nan_to_num(frame[activity].to_numpy(dtype=np.float64))
    deciles = frame[decile].to_numpy(dtype=np.float64)[last]
    return Contacts(
        contacts=np.bincount(unit, values, minlength=n),
        months=np.bincount(unit, minlength=n),
        high=np.asarray(deciles >= least_decile, dtype=np.bool_),
        groups=frame[list(by)].iloc[last].astype(str).reset_index(drop=True),
    )


def coverage_of(contacts: Contacts, column: str | None, fewer_than: float) -> list[Coverage]:
    """Coverage of high-decile units by level of ``column`` (None: of all), small groups hidden."""
    labels = contacts.groups[column].to_numpy() if column is not None else np.full(len(contacts.high), "all")
    found = []
    for level in np.unique(labels[contacts.high]):
        rows = contacts.high & (labels == level)
        n, missed = int(rows.sum()), int((contacts.contacts[rows] < fewer_than).sum())
        lower, upper = wilson(missed, n)
        rate = float(contacts.contacts[rows].sum() / contacts.months[rows].sum())
        found.append(Coverage(column or "all", str(level), n, missed, missed / n, lower, upper, rate))
    hidden = hidden_groups({one.group: one.n for one in found})
    few = hidden_groups({one.group: _smaller_part(one) for one in found})
    return [replace(_untold(one) if one.group in few else one, hidden=hidden.get(one.group)) for one in found]


def _untold(one: Coverage) -> Coverage:
    return replace(one, missed=None, share=None, lower=None, upper=None)


def _smaller_part(one: Coverage) -> int:
    """Units of the smaller part, reached or not; all or none of a group tells nothing of a few."""
    missed = one.missed or 0
    return min(missed, one.n - missed) or one.n + SMALLEST_CELL


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z = 1.959963984540054
    share, spread = hits / n, z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    reach = z * float(np.sqrt(share * (1 - share) / n + spread / (4 * n))) / (1 + spread)
    return max(0.0, centre - reach), min(1.0, centre + reach)
