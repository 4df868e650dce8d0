"""Is something of one split in another: the same unit, or the same row once more?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from src.contracts.values import json_text
from src.domain.alerts import AlertSeverity
from src.domain.splits import ASSIGNED
from src.mlops.preparation.columns import column_of
from src.mlops.preparation.leakage_report import LeakageFinding, Outcome, Unchecked

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

# How rarely chance may give as many alike pairs before they are called copies.
CHANCE = 1e-4
# How sure the bound on chance is that is taken from pairs within a split.
SURE = 0.999
# With one column of full precision, so many rows must agree: it may be a formula of a coarse one.
FEWEST_TWINS = 3
DECIMALS = 6


def find_shared_units(frame: pd.DataFrame, split: pd.Series[str], unit: str) -> Outcome:
    """Units (patients) with rows in more than one split; unassigned rows are in none. Raises UnknownColumn."""
    import pandas as pd

    rows = pd.DataFrame({"unit": column_of(frame, unit, "unit column").to_numpy(), "split": split.to_numpy()})
    rows = rows[rows["split"].isin(ASSIGNED) & rows["unit"].notna()]
    if rows.empty:
        return Outcome(skipped=(Unchecked("group", f"no assigned row has a '{unit}'"),))
    torn = rows.groupby("unit", observed=True)["split"].transform("nunique") > 1
    if not torn.any():
        return Outcome()
    n, units = int(torn.sum()), int(rows.loc[torn, "unit"].nunique())
    message = f"{units} values of '{unit}' have rows in more than one split; split by '{unit}', not by rows"
    return Outcome((LeakageFinding("group", AlertSeverity.CRITICAL, (unit,), n, message, {"units": units}),))


def find_repeated_rows(
    frame: pd.DataFrame, split: pd.Series[str], columns: Sequence[str], own: Sequence[str] = ()
) -> Outcome:
    """Rows of one split that are in another once more: alike in all ``columns`` and ``own`` (time, unit).

    A copy may have been given another key, so rows are compared a second time on ``columns`` (features that are
    no times, and the target) alone. Rows with few different values are alike by chance, so likeness alone
    proves nothing. It is a copy when (a) the columns have full precision (numbers with more than 6 decimals,
    times with seconds) that never repeats within a split: two such columns, or one and 3 rows; or (b) pairs
    across splits are alike more often than twice the rate that pairs within splits allow (99.9 % bound), and
    more than chance gives once in 10,000. Other alike rows leave the check made, and are named, where chance
    explains them: where many pairs of rows are alike in all columns but one, so that some are bound to be alike in
    that one too (``_by_chance``). Where hardly any pair is nearly alike the check is undecided.
    """
    chosen = split.isin(ASSIGNED).to_numpy()
    rows, names = frame[chosen], split.to_numpy()[chosen]
    if len(set(names)) < 2:
        return Outcome(skipped=(Unchecked("duplicate", "fewer than two splits have rows"),))
    every = list(dict.fromkeys([*columns, *own]))
    whole = _alike(rows, names, every)
    if whole.is_copied:
        return Outcome((_copied(whole.rows, every, "rows are copies of rows in another split"),))
    skipped = [_undecided(whole, "alike across splits", every)] if whole.rows else []
    if columns and len(columns) < len(every):
        part = _alike(rows, names, columns)
        if part.is_copied:
            found = _copied(part.rows, columns, "rows have all the values of a row in another split under another key")
            return Outcome((found,))
        if part.rows > whole.rows:
            # Other rows of the same unit: values that never change with the key make them alike, and no copies.
            other = replace(part, by_chance=True)
            skipped.append(_undecided(other, "alike across splits but for their key", columns))
    return Outcome(skipped=tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Alike:
    """Rows that are alike with one of an earlier split, whether they are copies, and whether chance explains them."""

    rows: int = 0
    is_copied: bool = False
    by_chance: bool = False


def _alike(rows: pd.DataFrame, names: Any, columns: Sequence[str]) -> _Alike:
    import numpy as np
    import pandas as pd

    plain = pd.DataFrame({name: _plain(column_of(rows, name)) for name in columns})
    alike = plain.groupby(list(columns), dropna=False, sort=False).ngroup().to_numpy()
    counts = _counts(alike, names)
    across, within = _pairs(counts)
    if across == 0:
        return _Alike()
    n = int((counts.sum(axis=0) - counts[_first_split(counts), np.arange(counts.shape[1])]).sum())
    precise = sum(_is_precise(rows[name], names) for name in columns)
    certain = precise >= 2 or (precise == 1 and n >= FEWEST_TWINS)
    if certain or _beyond_chance(across, within, names):
        return _Alike(n, is_copied=True)
    return _Alike(n, by_chance=_by_chance(plain, names, across))


def _counts(groups: NDArray[np.integer[Any]], names: Any) -> Counts:
    """How many rows of each group (numbered from 0) are in each split; shape (splits, groups)."""
    import numpy as np

    most = int(groups.max()) + 1
    return np.stack([np.bincount(groups[names == name], minlength=most) for name in ASSIGNED])


def _copied(n: int, columns: Sequence[str], what: str) -> LeakageFinding:
    message = f"{n} {what}; keep one of each before splitting"
    return LeakageFinding("duplicate", AlertSeverity.ERROR, tuple(columns), n, message)


def _undecided(found: _Alike, what: str, columns: Sequence[str]) -> Unchecked:
    if found.by_chance:
        return Unchecked("duplicate", f"{found.rows} rows are {what}, which chance may explain", tuple(columns))
    return Unchecked(
        "duplicate",
        f"{found.rows} rows are {what} in all {len(columns)} columns, and hardly any in all but one, as chance would "
        "have it; keep one of each before splitting, or add columns that tell them apart",
    )


def _first_split(counts: Counts) -> Counts:
    """For each group of alike rows the first split that has one."""
    import numpy as np

    first: Counts = np.argmax(counts > 0, axis=0).astype(np.int64)
    return first


def _pairs(counts: Counts) -> tuple[int, int]:
    """Pairs of alike rows in different splits and in the same one; ``counts`` of shape (splits, groups)."""
    total = counts.sum(axis=0)
    within = int((counts * (counts - 1) // 2).sum())
    return int((total * (total - 1) // 2).sum()) - within, within


def _beyond_chance(across: int, within: int, names: Any) -> bool:
    import numpy as np
    from scipy.stats import chi2, poisson

    sizes = np.array([[int((names == name).sum())] for name in ASSIGNED])
    all_across, all_within = _pairs(sizes)
    most = float(chi2.ppf(SURE, 2 * (within + 1))) / 2 / max(all_within, 1) * all_across
    return across >= 2 * most and float(poisson.sf(across - 1, most)) < CHANCE


def _by_chance(plain: pd.DataFrame, names: Any, across: int) -> bool:
    """Whether some column makes the ``across`` alike pairs of rows unsurprising, whatever the others depend on.

    Of the pairs of rows in different splits that are alike in all other columns, a share q is alike in this one too.
    Copies give q = 1 in every column, and so do columns that follow from others. Values that are drawn for each
    row give the share p of pairs that are alike in that column whatever the others say, or somewhat more where the
    columns depend on one another. Chance explains alike rows where q is nearer to p than to 1 in some column.
    """
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    codes = [pd.factorize(plain[name], use_na_sentinel=False)[0] for name in plain.columns]
    # A random number for each value: rows with the same sum have the same values (64 bits; sums may wrap).
    marks = [rng.integers(0, 2**64, int(code.max()) + 1, dtype=np.uint64)[code] for code in codes]
    total = np.sum(marks, axis=0, dtype=np.uint64)
    all_across, _ = _pairs(_counts(np.zeros(len(plain), dtype=np.int64), names))
    for code, mark in zip(codes, marks, strict=True):
        others = np.unique(total - mark, return_inverse=True)[1]
        q = across / _pairs(_counts(others, names))[0]
        p = _pairs(_counts(code.astype(np.int64), names))[0] / all_across
        if q < (p + 1) / 2:
            return True
    return False


def _is_precise(series: pd.Series[Any], names: Any) -> bool:
    """Whether values are so fine, and so different within each split, that two do not agree by chance."""
    import numpy as np
    import pandas as pd

    if series.isna().any():
        return False
    if pd.api.types.is_float_dtype(series.dtype):
        values = series.to_numpy(dtype=np.float64)
        fine = np.abs(values - np.round(values, DECIMALS)) > 1e-9 * np.maximum(1.0, np.abs(values))
    elif pd.api.types.is_datetime64_any_dtype(series.dtype):
        fine = (series.dt.second != 0).to_numpy() | (series.dt.microsecond != 0).to_numpy()
    else:
        return False
    repeated = pd.DataFrame({"value": series.to_numpy(), "split": names}).duplicated()
    return bool(fine.mean() >= 0.9 and not repeated.any())


def _plain(series: pd.Series[Any]) -> Any:
    """Values that can be grouped: lists and objects as JSON text."""
    if series.dtype != object:
        return series.to_numpy()
    return series.map(lambda value: value if _hashable(value) else json_text(value), na_action="ignore").to_numpy()


def _hashable(value: Any) -> bool:
    return not (isinstance(value, list | dict | set) or hasattr(value, "tolist"))
