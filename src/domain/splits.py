"""Which rows or patients may a model learn from, and which are kept back to judge it?"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from src.contracts.enums import DataSplit, SplitStrategy
from src.errors import ContractViolation, DataUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

SPLIT_NAMES = tuple(str(split) for split in DataSplit)
ASSIGNED = SPLIT_NAMES[: SPLIT_NAMES.index(DataSplit.UNASSIGNED)]
UNASSIGNED = SPLIT_NAMES.index(DataSplit.UNASSIGNED)
GAP_DAYS = 7
# Hashes are placed on 0 … 2^63 − 1; the largest number below it that a float holds is kept.
_SCALE = 2**63 - 1024
EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class SplitRatios:
    """Shares of the assigned rows; each above 0, together 1 (ContractViolation otherwise)."""

    train: float = 0.60
    validation: float = 0.20
    test: float = 0.15
    holdout: float = 0.05

    def __post_init__(self) -> None:
        shares = self.shares
        if not all(math.isfinite(share) and share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            shown = "/".join(f"{share:g}" for share in shares)
            raise ContractViolation(f"split ratios {shown} must each be above 0 and together 1")

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """Train, validation, test, holdout."""
        return (self.train, self.validation, self.test, self.holdout)

    @property
    def points(self) -> tuple[float, ...]:
        """Where one split ends and the next begins, as shares of all: .60, .80, .95 by default."""
        # Rounded, since .60 + .20 + .15 is a bit above .95 in binary and would move a cut by a day.
        return tuple(round(point, 12) for point in list(accumulate(self.shares))[:-1])


DEFAULT_RATIOS = SplitRatios()


@dataclass(frozen=True, slots=True)
class Chronological:
    """``codes``: for each index day a code into SPLIT_NAMES. ``cuts``: the first days after train, validation, test."""

    codes: Codes
    cuts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UnitAssignment:
    """The one split of a unit (patient); ``index_date`` is its first date in UTC, if it has one."""

    unit: str
    split: str
    index_date: date | None


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How rows were split.

    ``cuts``: train lies before the first date, validation from ``gap_days`` after it, and so on; empty for
    patient_stratified and for a split that rows brought along. ``hash_cuts`` are the same on the scale of
    ``hash_place``, of strata on that of ``strata_places``; empty for chronological.
    ``unit``: column whose values stay together, None for a split of single rows. ``rows``: number per
    split, unassigned included; empty on a plan read back from the registry.
    """

    split_config_id: str
    strategy: SplitStrategy
    ratios: SplitRatios
    cuts: tuple[date, ...]
    gap_days: int
    unit: str | None
    rows: Mapping[str, int] = field(default_factory=dict, compare=False)
    source: str | None = None
    random_state: int | None = None
    hash_cuts: tuple[int, ...] = field(default=(), compare=False)


def chronological(index_days: Codes, ratios: SplitRatios = DEFAULT_RATIOS, gap_days: int = GAP_DAYS) -> Chronological:
    """Split by time: cuts at the ratios' quantiles of ``index_days`` (days since 1970), a gap after each unassigned.

    Raises DataUnavailable without any day, ContractViolation for a negative gap.
    """
    import numpy as np

    require_gap(gap_days)
    if len(index_days) == 0:
        raise DataUnavailable("there is no date to split by; check the time column and the filters")
    cuts = np.quantile(index_days, ratios.points).astype(np.int64)
    return Chronological(place_by_cuts(index_days, tuple(cuts.tolist()), gap_days), tuple(cuts.tolist()))


def place_by_cuts(places: Codes, cuts: tuple[int, ...], gap: int) -> Codes:
    """Code into SPLIT_NAMES of each place: below the first cut train, within ``gap`` from a cut unassigned."""
    import numpy as np

    limits = np.asarray(cuts, dtype=np.int64)
    codes = np.searchsorted(limits, places, side="right").astype(np.int64)
    in_gap = (places[:, None] >= limits) & (places[:, None] < limits + gap)
    return np.where(in_gap.any(axis=1), UNASSIGNED, codes)


def hash_place(unit: str, random_state: int | None = None) -> int:
    """Where a unit lies on 0 … 2^63 − 1: the first 8 bytes of its SHA-256, halved; the same in every process."""
    text = unit if random_state is None else f"{random_state}:{unit}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def strata_places(places: Codes, rows: Codes, strata: Codes, random_state: int | None = None) -> Codes:
    """Places on the same scale by which every stratum is cut alike: where a unit lies among those of its stratum.

    ``rows``: number of rows of each unit; ``strata``: number of each unit's stratum. A stratum's share of a split
    then misses its share of all rows by one unit at most, plus what the cut itself misses. Each stratum begins
    elsewhere, so that a unit more or less is not in the same split for all of them.
    """
    import numpy as np

    found = np.zeros(len(places), dtype=np.int64)
    for stratum in np.unique(strata).tolist():
        own = np.flatnonzero(strata == stratum)
        order = own[np.argsort(places[own], kind="stable")]
        start = hash_place(f"stratum {stratum}", random_state) / _SCALE
        share = (np.cumsum(rows[order]) - start * rows[order]) / rows[order].sum()
        found[order] = (share * _SCALE).astype(np.int64)
    return found


def hash_cuts(places: Codes, rows: Codes, ratios: SplitRatios = DEFAULT_RATIOS) -> tuple[int, ...]:
    """Places at which the units, in hash order, have used up each ratio's share of the rows.

    ``rows``: number of rows of each unit. Raises DataUnavailable without any unit.
    """
    import numpy as np

    if len(places) == 0:
        raise DataUnavailable("there is no unit to split by; check the unit column and the filters")
    order = np.argsort(places, kind="stable")
    # A unit belongs where its middle row lies, so that big units do not push every cut one way.
    middle = np.cumsum(rows[order]) - rows[order] / 2
    first = np.searchsorted(middle, np.asarray(ratios.points) * rows.sum())
    return tuple(int(places[order[min(position, len(order) - 1)]]) for position in first)


def split_config_id(
    strategy: SplitStrategy,
    ratios: SplitRatios,
    gap_days: int,
    *,
    source: str | None,
    unit: str | None,
    cuts: Iterable[Any],
    rows: str,
    scope: Mapping[str, str] | None = None,
    random_state: int | None = None,
) -> str:
    """Id of a plan, made of its content: the same plan of the same rows has the same id wherever it is made.

    ``rows`` is a fingerprint of which row is in which split, ``scope`` what the rows were chosen by: what was
    learnt on the training rows of one plan is not that of other rows with the same dates.
    """
    content = [
        str(strategy),
        ratios.shares,
        gap_days,
        source,
        unit,
        [str(cut) for cut in cuts],
        random_state,
        rows,
        sorted((scope or {}).items()),
    ]
    return f"{strategy}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}"


def day_number(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - EPOCH


def day_of(number: int) -> date:
    """The date so many days after 1970 began."""
    return date.fromordinal(number + EPOCH)


def require_gap(gap_days: int) -> None:
    """Raise ContractViolation for a negative gap."""
    if gap_days < 0:
        raise ContractViolation(f"the gap between splits is {gap_days} days; it must be 0 or more")
