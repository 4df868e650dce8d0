"""Which high-decile prescribers do the reps not reach, by region and specialty?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src.agents.tool_composer.tools.periods import BoolArray
from src.causal_engine.study import IntArray
from src.domain.shares import wilson
from src.domain.small_cells import SMALLEST_CELL, Cell, hidden_cells


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
    """Contacts of each unit in a period: their number, months observed, decile, and the groups the unit is in.

    ``asked`` are the units the question is about, ``places`` what it was narrowed by: one column for each way. What is
    too small to be shown is decided on all units, in all places.
    """

    contacts: np.ndarray
    months: np.ndarray
    high: BoolArray
    groups: pd.DataFrame
    places: pd.DataFrame
    asked: BoolArray

    def of_asked(self) -> Contacts:
        """The contacts of the units the question is about."""
        return Contacts(
            self.contacts[self.asked],
            self.months[self.asked],
            self.high[self.asked],
            self.groups[self.asked],
            self.places[self.asked],
            self.asked[self.asked],
        )


def contacts_of(
    frame: pd.DataFrame,
    unit: IntArray,
    activity: str,
    decile: str,
    least_decile: float,
    by: Sequence[str],
    kept: Sequence[tuple[str, tuple[str, ...]]] = (),
) -> Contacts:
    """Contacts summed by unit; groups, places and decile are those of the unit's last row.

    ``kept`` are the values by column that the question was narrowed to.
    """
    n = int(unit.max()) + 1
    last = np.zeros(n, dtype=np.int64)
    last[unit] = np.arange(len(unit))
    values = np.nan_to_num(frame[activity].to_numpy(dtype=np.float64))
    deciles = frame[decile].to_numpy(dtype=np.float64)[last]
    places = frame[list(dict(kept))].iloc[last].astype(str).reset_index(drop=True)
    return Contacts(
        contacts=np.bincount(unit, values, minlength=n),
        months=np.bincount(unit, minlength=n),
        high=np.asarray(deciles >= least_decile, dtype=np.bool_),
        groups=frame[list(by)].iloc[last].astype(str).reset_index(drop=True),
        places=places,
        asked=_asked(places, kept),
    )


def _asked(places: pd.DataFrame, kept: Sequence[tuple[str, tuple[str, ...]]]) -> BoolArray:
    asked = np.ones(len(places), dtype=np.bool_)
    for name, values in kept:
        asked &= places[name].isin(values).to_numpy(dtype=np.bool_)
    return asked


def coverage_of(contacts: Contacts, column: str | None, fewer_than: float) -> list[Coverage]:
    """Coverage of high-decile units by level of ``column`` (None: of all) where it is asked about.

    A group is hidden where any part of it is small in any of the places, or would reveal such a part: otherwise the
    answers about two places, or about one and all, would tell together what neither does.
    """
    labels = _labels(contacts, column)
    found = []
    for level in np.unique(labels[contacts.high & contacts.asked]):
        rows = contacts.high & contacts.asked & (labels == level)
        n, missed = int(rows.sum()), int((contacts.contacts[rows] < fewer_than).sum())
        lower, upper = wilson(missed, n)
        rate = float(contacts.contacts[rows].sum() / contacts.months[rows].sum())
        found.append(Coverage(column or "all", str(level), n, missed, missed / n, lower, upper, rate))
    ways = [name for name in contacts.places.columns if name != column]
    sizes, parts = _cells(contacts, ways, labels, fewer_than)
    hidden, few = _groups_of(hidden_cells(sizes), ways, contacts), _groups_of(hidden_cells(parts), ways, contacts)
    return [replace(_untold(one) if one.group in few else one, hidden=hidden.get(one.group)) for one in found]


def _labels(contacts: Contacts, column: str | None) -> np.ndarray:
    return contacts.groups[column].to_numpy() if column is not None else np.full(len(contacts.high), "all")


def _cells(
    contacts: Contacts, ways: Sequence[str], labels: np.ndarray, fewer_than: float
) -> tuple[dict[Cell, int], dict[Cell, int]]:
    """High-decile units of each place and group, and the smaller part of them, reached or not."""
    keys = [contacts.places.loc[contacts.high, name] for name in ways]
    rows = pd.DataFrame({"group": labels, "missed": contacts.contacts < fewer_than})[contacts.high]
    sizes: dict[Cell, int] = {}
    parts: dict[Cell, int] = {}
    for key, missed in rows.groupby([*keys, rows["group"]], sort=True)["missed"]:
        sizes[key] = len(missed)
        parts[key] = _smaller_part(len(missed), int(missed.sum()))
    return sizes, parts


def _groups_of(hidden: Mapping[Cell, str], ways: Sequence[str], contacts: Contacts) -> dict[str, str]:
    """The groups that have a hidden cell where it is asked about, with the words shown instead."""
    asked = [set(contacts.places.loc[contacts.asked, name]) for name in ways]
    return {
        str(group): words
        for (*places, group), words in hidden.items()
        if all(place in known for place, known in zip(places, asked, strict=True))
    }


def _untold(one: Coverage) -> Coverage:
    return replace(one, missed=None, share=None, lower=None, upper=None)


def _smaller_part(n: int, missed: int) -> int:
    """Units of the smaller part, reached or not; all or none of a group tells nothing of a few."""
    return min(missed, n - missed) or n + SMALLEST_CELL
