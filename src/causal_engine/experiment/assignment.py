"""Who gets the treatment, so that the arms are alike in what is known and nobody could have chosen?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import chdtri

from src.causal_engine.results import BalanceRow
from src.causal_engine.study import FloatArray, IntArray
from src.errors import StudyInvalid, TooFewRows, UnknownColumn

CONTROL = "control"
MOST_DRAWS = 100_000
LEAST_ACCEPTED = 0.001


@dataclass(frozen=True, slots=True)
class Rerandomisation:
    """Draw again until the arms are alike: accept the best ``acceptance`` share of draws, by Mahalanobis distance."""

    columns: tuple[str, ...]
    acceptance: float


@dataclass(frozen=True)
class Assignment:
    """Arm of each unit, in the order of ``units`` (sorted); ``strata`` says which block each was drawn in.

    ``balance`` compares each treated arm with control on numeric columns. ``distance`` is the Mahalanobis distance of
    the arms, None without rerandomisation; ``draws`` how often was drawn.
    """

    units: tuple[str, ...]
    arms: tuple[str, ...]
    strata: tuple[str, ...]
    balance: tuple[tuple[str, BalanceRow], ...]
    draws: int
    distance: float | None

    @property
    def units_per_arm(self) -> dict[str, int]:
        """Units in each arm."""
        return {arm: self.arms.count(arm) for arm in dict.fromkeys(sorted(self.arms))}

    def frame(self, unit_key: str) -> pd.DataFrame:
        """One row per unit: its id, arm and stratum."""
        return pd.DataFrame({unit_key: self.units, "arm": self.arms, "stratum": self.strata})


def assign(
    frame: pd.DataFrame,
    unit: str,
    *,
    strata: Sequence[str] = (),
    shares: Sequence[float] = (0.5,),
    balance: Sequence[str] = (),
    again: Rerandomisation | None = None,
    random_state: int = 20_260_101,
) -> Assignment:
    """Blocked complete randomisation: within each stratum the arms get their shares, rounded; what is left over is
    drawn among the leftovers of all strata, so that the totals keep the shares too.

    ``shares`` are those of the treated arms, control gets the rest. Units are drawn in the order of their ids: the
    order of the rows does not matter. With ``again`` draws are repeated until the squared Mahalanobis distance of the
    arms (the largest over treated arms) is below the ``acceptance`` quantile of χ² (Morgan & Rubin 2012); the analysis
    must then draw the same way. Raises UnknownColumn, StudyInvalid for a stratum that changes within a unit, missing
    values or wrong shares, TooFewRows where an arm would be empty.
    """
    known = _one_row_each(
        frame, unit, tuple(strata), tuple(dict.fromkeys((*balance, *(again.columns if again else ()))))
    )
    parts = np.array([*shares, 1.0 - math.fsum(shares)])
    if not (parts > 0).all():
        raise StudyInvalid("the shares of the treated arms are above 0 and leave something for control")
    names = [*(["treated"] if len(shares) == 1 else [f"treated_{i + 1}" for i in range(len(shares))]), CONTROL]
    codes, labels = _blocks(known, tuple(strata))
    rng = np.random.default_rng(random_state)
    numbers = {name: known[name].to_numpy(dtype=np.float64) for name in _numeric(known, balance, again)}
    drawn, draws, distance = _drawn(codes, parts, again, numbers, rng)
    if len(np.unique(drawn)) < len(parts):
        raise TooFewRows(f"{len(known):,} units do not fill {len(parts)} arms with these shares")
    return Assignment(
        units=tuple(known.index),
        arms=tuple(names[i] for i in drawn),
        strata=tuple(labels[code] for code in codes),
        balance=tuple(_balance(numbers, drawn, names)),
        draws=draws,
        distance=distance,
    )


def acceptance_threshold(columns: int, acceptance: float) -> float:
    """Squared distance below which a share ``acceptance`` of complete randomisations lies (χ² of ``columns``)."""
    return float(chdtri(columns, 1.0 - acceptance))


def _one_row_each(frame: pd.DataFrame, unit: str, strata: tuple[str, ...], numeric: tuple[str, ...]) -> pd.DataFrame:
    for name in (unit, *strata, *numeric):
        if name not in frame.columns:
            raise UnknownColumn(name, list(frame.columns))
    if frame[unit].isna().any():
        raise StudyInvalid(f"'{unit}' is missing in some rows; leave these out (--where) or fill it")
    rows, ids = frame, frame[unit].astype(str)
    grouped = rows.groupby(ids, sort=True)
    for name in strata:
        if rows[name].isna().any():
            raise StudyInvalid(f"stratum '{name}' is missing for some units; fill it or leave it out")
        if (grouped[name].nunique() > 1).any():
            raise StudyInvalid(f"stratum '{name}' changes within '{unit}'; name a column that does not")
    found = grouped[list(strata)].first() if strata else pd.DataFrame(index=pd.Index(sorted(ids.unique())))
    for name in numeric:
        if not (pd.api.types.is_numeric_dtype(rows[name]) or pd.api.types.is_bool_dtype(rows[name])):
            raise StudyInvalid(f"'{name}' is no number; balance is looked at on numeric columns, others are strata")
        found[name] = grouped[name].mean()
        if found[name].isna().any():
            raise StudyInvalid(f"'{name}' is missing for some units; fill it or leave it out")
    return found


def _numeric(known: pd.DataFrame, balance: Sequence[str], again: Rerandomisation | None) -> list[str]:
    return list(dict.fromkeys((*balance, *(again.columns if again else ()))))


def _blocks(known: pd.DataFrame, strata: tuple[str, ...]) -> tuple[IntArray, list[str]]:
    if not strata:
        return np.zeros(len(known), dtype=np.int64), ["all"]
    together = pd.MultiIndex.from_frame(known[list(strata)].astype(str))
    codes, found = pd.factorize(together, sort=True)
    return np.asarray(codes, dtype=np.int64), [" | ".join(values) for values in found]


def _drawn(
    codes: IntArray,
    parts: FloatArray,
    again: Rerandomisation | None,
    numbers: dict[str, FloatArray],
    rng: np.random.Generator,
) -> tuple[IntArray, int, float | None]:
    if again is None:
        return _draw(codes, parts, rng), 1, None
    if not LEAST_ACCEPTED <= again.acceptance < 1 or not again.columns:
        raise StudyInvalid(
            f"rerandomisation accepts a share of {LEAST_ACCEPTED:g} to 1 of the draws and needs columns to balance"
        )
    raw = np.column_stack([numbers[name] for name in again.columns])
    spread = raw.std(axis=0)
    x: FloatArray = np.asarray(raw / np.where(spread > 0, spread, 1.0), dtype=np.float64)
    covariance = np.atleast_2d(np.cov(x, rowvar=False))
    inverse: FloatArray = np.asarray(np.linalg.pinv(covariance, hermitian=True), dtype=np.float64)
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if rank == 0:
        raise StudyInvalid("none of the columns to balance varies between units")
    limit = acceptance_threshold(rank, again.acceptance)
    for draws in range(1, MOST_DRAWS + 1):
        drawn = _draw(codes, parts, rng)
        if len(np.unique(drawn)) < len(parts):
            return drawn, draws, None
        distance = _distance(x, inverse, drawn, len(parts) - 1)
        if distance <= limit:
            return drawn, draws, distance
    raise StudyInvalid(f"no draw of {MOST_DRAWS:,} was balanced enough; accept a larger share")


def _draw(codes: IntArray, parts: FloatArray, rng: np.random.Generator) -> IntArray:
    drawn = np.full(len(codes), -1, dtype=np.int64)
    for code in range(int(codes.max()) + 1):
        members = rng.permutation(np.flatnonzero(codes == code))
        whole = np.floor(parts * len(members) + 1e-9).astype(np.int64)
        drawn[members[: whole.sum()]] = np.repeat(np.arange(len(parts)), whole)
    left = np.flatnonzero(drawn < 0)
    if len(left):
        drawn[left] = _leftovers(drawn, parts, len(left), rng)
    return drawn


def _leftovers(drawn: IntArray, parts: FloatArray, n_left: int, rng: np.random.Generator) -> IntArray:
    """Arms for the units that no stratum's shares took, so that the totals come nearest to the shares."""
    missing = parts * len(drawn) - np.bincount(drawn[drawn >= 0], minlength=len(parts))
    whole = np.floor(np.maximum(missing, 0) + 1e-9).astype(np.int64)
    order = np.argsort(-(missing - whole) + rng.uniform(0, 1e-9, len(parts)), kind="stable")
    for arm in order[: max(0, n_left - int(whole.sum()))]:
        whole[arm] += 1
    return rng.permutation(np.repeat(np.arange(len(parts)), whole)[:n_left])


def _distance(x: FloatArray, inverse: FloatArray, drawn: IntArray, control: int) -> float:
    """Largest squared Mahalanobis distance of a treated arm from control, scaled to χ² under randomisation."""
    found = []
    for arm in range(control):
        one, other = drawn == arm, drawn == control
        apart = x[one].mean(axis=0) - x[other].mean(axis=0)
        found.append(float(apart @ inverse @ apart) / float(1 / one.sum() + 1 / other.sum()))
    return max(found)


def _balance(numbers: dict[str, FloatArray], drawn: IntArray, names: Sequence[str]) -> list[tuple[str, BalanceRow]]:
    control = drawn == len(names) - 1
    rows = []
    for arm, label in enumerate(names[:-1]):
        for name, values in numbers.items():
            one, other = values[drawn == arm], values[control]
            pooled = math.sqrt((float(np.var(one)) + float(np.var(other))) / 2)
            apart = float(one.mean() - other.mean())
            rows.append((label, BalanceRow(name, apart / pooled if pooled > 0 else 0.0, None)))
    return rows
