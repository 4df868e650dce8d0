"""Honest frames for modelling, and ways to spoil one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from src.domain.splits import SPLIT_NAMES, SplitRatios, chronological
from src.mlops.preparation.leakage import LeakageReport, find_leakage
from src.mlops.preparation.transforms import FittedTransforms, fit_transforms

# Two normal classes this far apart have an AUC of .90.
AUC_90 = 1.812
FEATURES = ("strong", "inverse", "weak", "coded", "flag", "word", "many", "coarse", "since", "topics")
COARSE_FEATURES = ("coded", "flag", "word")
TARGETS = ("binary", "rare", "number", "skewed", "classes")
# Small frames need larger parts than usual for every split to have rows.
RATIOS = SplitRatios(0.5, 0.2, 0.15, 0.15)


@dataclass(frozen=True)
class Modelling:
    """A frame with its split and what a search for leakage is told of it."""

    frame: pd.DataFrame
    split: pd.Series[str]
    features: tuple[str, ...]
    unit: str | None
    time: str | None
    fitted: FittedTransforms | None = None

    def search(self, **changes: Any) -> LeakageReport:
        given = {
            "features": self.features,
            "target": "target",
            "split": self.split,
            "time": self.time,
            "unit": self.unit,
            "fitted": self.fitted,
        }
        return find_leakage(self.frame, **given | changes)  # type: ignore[arg-type]

    def changed(self, **columns: Any) -> Modelling:
        return replace(self, frame=self.frame.assign(**columns))


def honest(
    random_state: int, *, target: str | None = None, rows: int | None = None, by_unit: bool | None = None
) -> Modelling:
    """60 to 2,000 rows with strong but honest features (AUC .90), empty cells, codes, words and lists."""
    rng = np.random.default_rng(random_state)
    n = rows or int(rng.integers(60, 2_001))
    by_unit = bool(rng.random() < 0.5) if by_unit is None else by_unit
    y, signal = _target(rng, target or TARGETS[random_state % len(TARGETS)], n)
    at = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 700 * 1440, n), unit="m")
    empty = rng.random(n) < np.where(signal > 0, 0.3, 0.1)
    frame = pd.DataFrame(
        {
            "row_id": np.arange(n),
            "patient_id": [f"p{code}" for code in rng.integers(0, max(n // 3, 20), n)],
            "at": at,
            "target": y,
            "strong": AUC_90 * signal + rng.standard_normal(n),
            "inverse": -AUC_90 * signal + rng.standard_normal(n),
            "weak": np.where(empty, np.nan, 0.3 * signal + rng.standard_normal(n)),
            "coded": rng.integers(0, 6, n),
            "flag": signal + rng.standard_normal(n) > 0.5,
            "word": rng.choice(list("abcdefgh"), n),
            "many": [f"c{code}" for code in rng.integers(0, max(n // 3, 40), n)],
            "coarse": np.round(1.5 * signal + rng.standard_normal(n), 1),
            "since": at - pd.to_timedelta(rng.integers(0, 9_999, n), unit="m"),
            "topics": [[word for word in "uvwxyz" if rng.random() < 0.3] for _ in range(n)],
        }
    )
    split = split_by_time(frame, "patient_id" if by_unit else None, gap_days=int(rng.integers(0, 8)))
    made = Modelling(frame, split, FEATURES, "patient_id" if by_unit else None, "at")
    return replace(made, fitted=fit_transforms(frame, split, FEATURES))


def split_by_time(frame: pd.DataFrame, unit: str | None, gap_days: int = 7) -> pd.Series[str]:
    days = pd.Series(frame["at"].dt.tz_localize(None).to_numpy().astype("datetime64[D]").astype(np.int64))
    if unit:
        days = days.groupby(frame[unit].to_numpy()).transform("min")
    codes = chronological(days.to_numpy(), RATIOS, gap_days).codes
    return pd.Series(np.array(SPLIT_NAMES, dtype=object)[codes], index=frame.index)


def _target(rng: np.random.Generator, kind: str, n: int) -> tuple[Any, np.ndarray]:
    """The target and the standardised signal that features carry of it."""
    if kind in ("binary", "rare"):
        positive = rng.random(n) < (0.4 if kind == "binary" else max(0.03, 14 / n))
        return positive.astype(np.float64), positive.astype(np.float64)
    signal = rng.standard_normal(n)
    if kind == "classes":
        return np.array(["low", "mid", "high"], dtype=object)[np.digitize(signal, [-0.5, 0.7])], signal
    return (signal if kind == "number" else np.round(np.exp(signal), 3)), signal


def leak_target_copied(made: Modelling, rng: np.random.Generator) -> Modelling:
    """The target under another name and in other words."""
    y = made.frame["target"]
    words = y.map(lambda value: f"class {value}") if y.nunique() <= 3 else 7.0 - 2.0 * y
    return replace(made.changed(recoded=words), features=(*FEATURES, "recoded"))


def leak_target_blurred(made: Modelling, rng: np.random.Generator) -> Modelling:
    """A measurement made after the outcome: the target with a little noise."""
    y = pd.Series(pd.factorize(made.frame["target"], sort=True)[0] * 1.0)
    return replace(made.changed(after=y + 0.02 * rng.standard_normal(len(y))), features=(*FEATURES, "after"))


def leak_target_by_range(made: Modelling, rng: np.random.Generator) -> Modelling:
    """A distance from the usual, of either sign: it neither rises nor falls with the target, and tells it."""
    codes, different = pd.factorize(made.frame["target"], sort=True)
    distance = 1.0 - codes / (len(different) - 1)
    if len(different) <= 3:
        distance = distance + rng.uniform(0.0, 0.3, len(codes))
    signed = distance * np.where(rng.random(len(codes)) < 0.5, -1.0, 1.0)
    return replace(made.changed(deviation=signed), features=(*FEATURES, "deviation"))


def leak_target_missing(made: Modelling, rng: np.random.Generator) -> Modelling:
    """A feature that is filled in only when the outcome happened."""
    y = made.frame["target"]
    codes = pd.Series(pd.factorize(y, sort=True)[0])
    happened = codes > (0 if codes.max() == 1 else codes.median() - 0.5)
    target = happened.astype(float)
    noise = pd.Series(rng.standard_normal(len(y)))
    return replace(made.changed(target=target, filed=noise.where(happened)), features=(*FEATURES, "filed"))


def leak_future_value(made: Modelling, rng: np.random.Generator) -> Modelling:
    """Some values of a feature were known only after their row's time."""
    late = rng.random(len(made.frame)) < 0.1
    late[:5] = True
    known = made.frame["at"] + pd.to_timedelta(np.where(late, 30, -30), unit="D")
    return made.changed(weak_known_at=known)


def leak_future_date(made: Modelling, rng: np.random.Generator) -> Modelling:
    """A feature is the date of something later."""
    later = made.frame["at"] + pd.to_timedelta(rng.integers(1, 90, len(made.frame)), unit="D")
    return replace(made.changed(next_visit=later), features=(*FEATURES, "next_visit"))


def leak_shuffled_time(made: Modelling, rng: np.random.Generator) -> Modelling:
    """Rows were split at random although they are to be predicted in order of time."""
    split = pd.Series(rng.permutation(made.split.to_numpy()), index=made.split.index)
    return replace(made, split=split, unit=None, fitted=None)


def leak_unit_torn(made: Modelling, rng: np.random.Generator) -> Modelling:
    """Rows of patients were split, not patients."""
    return replace(made, split=split_by_time(made.frame, None), unit="patient_id", fitted=None)


def leak_rows_copied(made: Modelling, rng: np.random.Generator) -> Modelling:
    """Some training rows are in the test split once more, under another key."""
    train, test = (made.split.index[made.split == name] for name in ("train", "test"))
    n = min(5, len(test))
    frame = made.frame.copy()
    columns = [name for name in frame.columns if name != "row_id"]
    frame.loc[rng.choice(test, n, replace=False), columns] = frame.loc[
        rng.choice(train, n, replace=False), columns
    ].to_numpy()
    return replace(made, frame=frame.astype(made.frame.dtypes.to_dict()), fitted=None)


def leak_rows_rekeyed(made: Modelling, rng: np.random.Generator) -> Modelling:
    """Some training rows are in the test split once more, as rows of another patient at another time."""
    train, test = (made.split.index[made.split == name] for name in ("train", "test"))
    n = min(5, len(test))
    frame = made.frame.copy()
    columns = [name for name in (*FEATURES, "target") if name != "since"]
    copied = frame.loc[rng.choice(train, n, replace=False), columns].to_numpy()
    frame.loc[rng.choice(test, n, replace=False), columns] = copied
    return replace(made, frame=frame.astype(made.frame.dtypes.to_dict()), fitted=None)


def leak_fitted_on_all(made: Modelling, rng: np.random.Generator) -> Modelling:
    """Medians, means and words were learnt from all rows."""
    return replace(made, fitted=fit_transforms(made.frame, made.split.map(lambda _: "train"), FEATURES))


LEAKS: dict[str, tuple[str, Callable[[Modelling, np.random.Generator], Modelling], dict[str, Any]]] = {
    "target copied": ("target", leak_target_copied, {}),
    "target blurred": ("target", leak_target_blurred, {}),
    "target told by ranges": ("target", leak_target_by_range, {}),
    "target told by an empty cell": ("target", leak_target_missing, {}),
    "value known later": ("temporal", leak_future_value, {"known_at": {"weak": "weak_known_at"}}),
    "later date": ("temporal", leak_future_date, {}),
    "rows shuffled in time": ("temporal", leak_shuffled_time, {}),
    "patients torn": ("group", leak_unit_torn, {}),
    "rows copied": ("duplicate", leak_rows_copied, {}),
    "rows copied under another key": ("duplicate", leak_rows_rekeyed, {}),
    "fitted on all rows": ("preprocessing", leak_fitted_on_all, {}),
}
