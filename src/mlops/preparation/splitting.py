"""Which rows are for training, and does the division keep its promises?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from src.contracts.enums import DataSplit, SplitStrategy
from src.domain.splits import (
    ASSIGNED,
    DEFAULT_RATIOS,
    GAP_DAYS,
    SPLIT_NAMES,
    UNASSIGNED,
    Chronological,
    SplitPlan,
    SplitRatios,
    UnitAssignment,
    chronological,
    day_number,
    day_of,
    hash_cuts,
    hash_place,
    place_by_cuts,
    require_gap,
    split_config_id,
    strata_places,
)
from src.errors import ContractViolation, DataUnavailable, nearest_names
from src.mlops.preparation.columns import column_of, days

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from src.mlops.preparation.columns import Floats

    Codes = NDArray[np.int64]
    Splits = pd.Series[str]

SPLIT_COLUMN = "data_split"
FEWEST_ROWS = 10
TOLERANCE = 0.02
MOST_SHIFTS = 20
MOST_STRATA = 20
STRATEGIES = (SplitStrategy.CHRONOLOGICAL, SplitStrategy.PATIENT_STRATIFIED)


def plan_splits(
    frame: pd.DataFrame,
    *,
    time: str | None,
    unit: str | None = None,
    ratios: SplitRatios = DEFAULT_RATIOS,
    gap_days: int = GAP_DAYS,
    strategy: str = SplitStrategy.CHRONOLOGICAL,
    random_state: int | None = None,
    source: str | None = None,
    scope: Mapping[str, str] | None = None,
    key: Sequence[str] = (),
    strata: str | None = None,
) -> tuple[SplitPlan, Splits]:
    """Plan a split of ``frame`` and return it with the split of every row (index of ``frame``).

    chronological: by the first date of each ``unit``, or by each row's own date without a unit, with
    ``gap_days`` after each cut unassigned; cuts are the ratios' points of the rows' dates, or of the assigned
    rows' dates where the gaps would otherwise spoil the ratios. patient_stratified: by the hash of the unit,
    salted with ``random_state``; no gap, and ``time`` only dates the units; each value of the column ``strata``
    (at most 20, the same in all rows of a unit) is in every split as often as in all rows, as far as whole units
    allow. All rows of a unit are in one split;
    rows without a date (chronological) or unit are unassigned. ``source`` names the table, ``scope`` what its
    rows were chosen by. The plan's id also tells which rows, by their ``key`` columns and unit (neither: their
    time), are in which split.

    Raises DataUnavailable when a split would get fewer than 10 rows or its share of the assigned rows
    misses its ratio by more than .02; UnknownColumn, ContractViolation for wrong names or values.
    """
    kind = _strategy(strategy)
    if kind is SplitStrategy.PATIENT_STRATIFIED:
        plan, codes = _stratified(frame, unit, ratios, random_state, strata)
    else:
        plan, codes = _chronological(frame, time, unit, ratios, gap_days)
    split = _named(frame, codes)
    plan = replace(plan, rows=_counts(split), source=source)
    _require_ratios(plan)
    by = [name for name in (*key, unit or (None if key else time)) if name]
    return _identified(plan, plan.cuts or plan.hash_cuts, _fingerprint(frame, split, by), scope), split


def splits_of_plan(
    frame: pd.DataFrame,
    plan: SplitPlan,
    *,
    time: str | None = None,
    unit: str | None = None,
    assignments: Mapping[str, str] | None = None,
) -> Splits:
    """Split of every row under a registered plan: by its ``assignments`` of units, otherwise by its cuts.

    Units that were not assigned are unassigned. Raises DataUnavailable when the plan has neither
    assignments nor dates.
    """
    import pandas as pd

    if assignments and unit is not None:
        units = column_of(frame, unit, "unit column").astype(object)
        found = units.map(lambda value: assignments.get(str(value), DataSplit.UNASSIGNED), na_action="ignore")
        return pd.Series(
            found.where(units.notna(), DataSplit.UNASSIGNED).map(str), index=frame.index, name=SPLIT_COLUMN
        )
    if not plan.cuts or time is None:
        raise DataUnavailable(
            f"split '{plan.split_config_id}' has no assignments and no dates for these rows; plan a new split"
        )
    places = _index_days(frame, time, unit)
    return _named(frame, _placed(places, tuple(day_number(cut) for cut in plan.cuts), plan.gap_days))


def given_splits(frame: pd.DataFrame) -> Splits:
    """The split that rows bring along in ``data_split``; empty cells are unassigned.

    Raises ContractViolation for an unknown name, DataUnavailable when no row is for training.
    """
    import pandas as pd

    column = column_of(frame, SPLIT_COLUMN).astype(object)
    named = column.where(column.notna(), DataSplit.UNASSIGNED).map(str)
    unknown = sorted(set(named) - set(SPLIT_NAMES))
    if unknown:
        raise ContractViolation(f"{SPLIT_COLUMN} holds '{unknown[0][:40]}'; {nearest_names(unknown[0], SPLIT_NAMES)}")
    if not (named == DataSplit.TRAIN).any():
        raise DataUnavailable(f"no row is for training; fill {SPLIT_COLUMN}, or name a split strategy to plan one")
    return pd.Series(named, index=frame.index, name=SPLIT_COLUMN)


def plan_of_given(
    frame: pd.DataFrame,
    split: Splits,
    *,
    strategy: str = SplitStrategy.CHRONOLOGICAL,
    unit: str | None = None,
    source: str | None = None,
    scope: Mapping[str, str] | None = None,
    key: Sequence[str] = (),
) -> SplitPlan:
    """The plan of a split that the rows of ``frame`` brought along, with the ratios it really has.

    It has no cuts and no gap; ``too_small`` and ``off_ratio`` judge it. Its id tells which rows, by their ``key``
    columns and unit (neither: their place in the frame), are in which split. Raises DataUnavailable when one of
    the four splits has no row.
    """
    rows = _counts(split)
    empty = [name for name in ASSIGNED if rows[name] == 0]
    if empty:
        raise DataUnavailable(
            f"{SPLIT_COLUMN} has no {empty[0]} rows; widen the filters, or name a split strategy to plan one"
        )
    total = sum(rows[name] for name in ASSIGNED)
    ratios = SplitRatios(*(rows[name] / total for name in ASSIGNED))
    kind = _strategy(strategy)
    plan = SplitPlan("", kind, ratios, (), 0, unit, rows, source)
    by = [name for name in (*key, unit) if name]
    return _identified(plan, ("given", *rows.values()), _fingerprint(frame, split, by), scope)


def too_small(plan: SplitPlan) -> tuple[str, ...]:
    """What to say of each split with fewer than 10 rows: nothing can be judged on it."""
    return tuple(
        f"the {name} split has {plan.rows[name]} rows, and needs {FEWEST_ROWS}; take more rows, or another split"
        for name in ASSIGNED
        if plan.rows[name] < FEWEST_ROWS
    )


def off_ratio(plan: SplitPlan, ratios: SplitRatios = DEFAULT_RATIOS) -> tuple[str, ...]:
    """What to say of each split whose share of the assigned rows misses its ratio by more than .02."""
    total = max(sum(plan.rows[name] for name in ASSIGNED), 1)
    return tuple(
        f"the {name} split has {plan.rows[name] / total:.1%} of the assigned rows instead of {wanted:.0%}"
        for name, wanted in zip(ASSIGNED, ratios.shares, strict=True)
        if abs(plan.rows[name] / total - wanted) > TOLERANCE
    )


def unit_assignments(
    frame: pd.DataFrame, split: Splits, *, unit: str, time: str | None = None
) -> tuple[UnitAssignment, ...]:
    """One assignment per unit, in order of the units; ContractViolation when a unit is in two splits.

    Rows that are unassigned are in none: a unit is unassigned only when all of its rows are.
    """
    import pandas as pd

    units = column_of(frame, unit, "unit column").astype(object)
    dates = days(column_of(frame, time, "time column"), time) if time else None
    rows = pd.DataFrame({"unit": units.to_numpy(), "split": split.to_numpy(), "day": dates})
    rows = rows[rows["unit"].notna()]
    rows = rows.assign(unit=rows["unit"].map(str), split=rows["split"].where(rows["split"] != DataSplit.UNASSIGNED))
    # An empty cell is no split: nunique leaves it out, and first is the first that is not empty.
    found = rows.groupby("unit").agg(split=("split", "first"), splits=("split", "nunique"), day=("day", "min"))
    torn = int((found["splits"] > 1).sum())
    if torn:
        raise ContractViolation(f"{torn} values of '{unit}' are in more than one split; each must be in one")
    named = found.assign(split=found["split"].fillna(str(DataSplit.UNASSIGNED))).sort_index()
    return tuple(UnitAssignment(str(row.Index), str(row.split), _date(row.day)) for row in named.itertuples())


def _date(day: Any) -> date | None:
    return None if day is None or day != day else day_of(int(day // 1))


def _strategy(name: str) -> SplitStrategy:
    if name not in STRATEGIES:
        raise ContractViolation(f"no split strategy '{name}' is carried out here; {nearest_names(name, STRATEGIES)}")
    return SplitStrategy(name)


def _identified(plan: SplitPlan, cuts: Sequence[Any], rows: str, scope: Mapping[str, str] | None) -> SplitPlan:
    """The plan with the id of its content."""
    identity = split_config_id(
        plan.strategy,
        plan.ratios,
        plan.gap_days,
        source=plan.source,
        unit=plan.unit,
        cuts=cuts,
        rows=rows,
        scope=scope,
        random_state=plan.random_state,
    )
    return replace(plan, split_config_id=identity)


def _fingerprint(frame: pd.DataFrame, split: Splits, by: Sequence[str]) -> str:
    """SHA-256 of which row is in which split: the same whatever the order of rows that ``by`` names."""
    import numpy as np
    import pandas as pd

    named = pd.DataFrame({"split": split.map(str).to_numpy()})
    for position, name in enumerate(by):
        cells = column_of(frame, name, "key column").astype(object)
        named[position] = cells.where(cells.notna(), None).map(str).to_numpy()
    if not by:
        named["place"] = np.arange(len(named))
    hashes = pd.util.hash_pandas_object(named, index=False).to_numpy()
    return hashlib.sha256(np.sort(hashes).astype("<u8").tobytes()).hexdigest()


def _chronological(
    frame: pd.DataFrame, time: str | None, unit: str | None, ratios: SplitRatios, gap_days: int
) -> tuple[SplitPlan, Codes]:
    import numpy as np

    require_gap(gap_days)
    if time is None:
        raise ContractViolation("a chronological split needs a time column; name one, or split by patient_stratified")
    places = _index_days(frame, time, unit)
    # Each row brings its unit's date, so that the ratios hold over rows where some units have many.
    found = _cut(places[~np.isnan(places)].astype(np.int64), ratios, gap_days)
    codes = _placed(places, found.cuts, gap_days)
    cuts = tuple(day_of(cut) for cut in found.cuts)
    if len(set(cuts)) < len(cuts):
        raise DataUnavailable(
            f"too many rows share their date in '{time}' ({int(np.unique(places[~np.isnan(places)]).size)} different "
            "dates) to be split by time; take a longer period, or split by patient_stratified"
        )
    return SplitPlan("", SplitStrategy.CHRONOLOGICAL, ratios, cuts, gap_days, unit), codes


def _cut(days_of_rows: Codes, ratios: SplitRatios, gap_days: int) -> Chronological:
    """Cuts at the ratios' points of all rows or, where the gaps take too many rows for that, of those left."""
    import numpy as np

    first = found = chronological(days_of_rows, ratios, gap_days)
    for _ in range(MOST_SHIFTS):
        kept = days_of_rows[found.codes != UNASSIGNED]
        shares = np.bincount(found.codes, minlength=len(SPLIT_NAMES))[:UNASSIGNED] / max(len(kept), 1)
        if np.all(np.abs(shares - ratios.shares) <= TOLERANCE):
            return found
        if len(kept) == 0:
            break
        # Half of the way: cuts and gaps that move together may swing for ever.
        wanted = np.quantile(kept, ratios.points)
        cuts = tuple(np.round((wanted + found.cuts) / 2).astype(np.int64).tolist())
        found = Chronological(place_by_cuts(days_of_rows, cuts, gap_days), cuts)
    return first


def _stratified(
    frame: pd.DataFrame, unit: str | None, ratios: SplitRatios, random_state: int | None, strata: str | None
) -> tuple[SplitPlan, Codes]:
    import numpy as np
    import pandas as pd

    if unit is None:
        raise ContractViolation("patient_stratified needs a unit column, such as patient_id")
    numbered, units = pd.factorize(column_of(frame, unit, "unit column").astype(object), use_na_sentinel=True)
    places = np.array([hash_place(str(value), random_state) for value in units], dtype=np.int64)
    rows = np.bincount(numbered[numbered >= 0], minlength=len(units))
    if strata is not None and (of_unit := _strata(frame, strata, numbered, len(units))) is not None:
        places = strata_places(places, rows, of_unit, random_state)
    cuts = hash_cuts(places, rows, ratios)
    of_units = np.append(place_by_cuts(places, cuts, 0), UNASSIGNED)
    codes: Codes = of_units[numbered]
    kind = SplitStrategy.PATIENT_STRATIFIED
    return SplitPlan("", kind, ratios, (), 0, unit, random_state=random_state, hash_cuts=cuts), codes


def _strata(frame: pd.DataFrame, column: str, numbered: Codes, units: int) -> Codes | None:
    """The stratum of each unit; None where the column has too many values to divide by, as quantities have."""
    import numpy as np
    import pandas as pd

    # Sorted, so that the order of the rows does not number the strata.
    values = column_of(frame, column, "column of strata").astype(object)
    codes, distinct = pd.factorize(values.where(values.notna(), None).map(str), sort=True)
    if len(distinct) > MOST_STRATA:
        return None
    found = np.zeros(units, dtype=np.int64)
    found[numbered[numbered >= 0]] = codes[numbered >= 0]
    return found


def _index_days(frame: pd.DataFrame, time: str, unit: str | None) -> Floats:
    """Day of each row's unit (its first) or of the row, NaN without one."""
    import numpy as np
    import pandas as pd

    own: Floats = np.floor(days(column_of(frame, time, "time column"), time))
    if unit is None:
        return own
    units = column_of(frame, unit, "unit column").astype(object).to_numpy()
    return pd.Series(own).groupby(units).transform("min").to_numpy(dtype=np.float64)


def _placed(places: Floats, cuts: tuple[int, ...], gap_days: int) -> Codes:
    import numpy as np

    known = ~np.isnan(places)
    codes = np.full(len(places), UNASSIGNED, dtype=np.int64)
    codes[known] = place_by_cuts(places[known].astype(np.int64), cuts, gap_days)
    return codes


def _named(frame: pd.DataFrame, codes: Codes) -> Splits:
    import numpy as np
    import pandas as pd

    return pd.Series(np.array(SPLIT_NAMES, dtype=object)[codes], index=frame.index, name=SPLIT_COLUMN)


def _counts(split: Splits) -> dict[str, int]:
    counted = split.value_counts()
    return {name: int(counted.get(name, 0)) for name in SPLIT_NAMES}


def _require_ratios(plan: SplitPlan) -> None:
    total = sum(plan.rows[name] for name in ASSIGNED)
    for name in ASSIGNED:
        if plan.rows[name] < FEWEST_ROWS:
            raise DataUnavailable(
                f"the {name} split would have {plan.rows[name]} rows, and needs {FEWEST_ROWS}; {_remedy(plan)}"
            )
    for name, wanted in zip(ASSIGNED, plan.ratios.shares, strict=True):
        share = plan.rows[name] / total
        if abs(share - wanted) > TOLERANCE:
            raise DataUnavailable(
                f"the {name} split would have {share:.1%} of the assigned rows instead of {wanted:.0%} "
                f"(± {TOLERANCE:.0%}); {_remedy(plan)}"
            )


def _remedy(plan: SplitPlan) -> str:
    if plan.strategy is SplitStrategy.PATIENT_STRATIFIED:
        return f"there are too few values of '{plan.unit}', or some have too many of the rows: take more of them"
    whole = f", or rows unevenly spread over '{plan.unit}'" if plan.unit else ""
    return (
        f"few different dates, a period short beside the gaps of {plan.gap_days} days{whole} do this: "
        "take more rows or a longer period, another gap, or split by patient_stratified"
    )
