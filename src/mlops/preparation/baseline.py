"""What did the data look like in each split when it was used, so that a later change can be told?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from src.contracts.model import TableContract
from src.domain.shares import CONFIDENCE, wilson
from src.domain.small_cells import SMALLEST_CELL
from src.domain.splits import ASSIGNED
from src.errors import ContractViolation
from src.mlops.preparation.columns import Kind, column_of, days, kind_of, lists, numbers, texts

if TYPE_CHECKING:
    import pandas as pd

    from src.mlops.preparation.columns import Floats

TOP_CATEGORIES = 20
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TargetBaseline:
    """Rate of the higher of two values (binary; 95 % Wilson interval) or mean (number; 95 % t interval).

    Times are in days since 1970. With fewer than 11 known targets (``n``) rate and bounds are None: they could
    tell of one person. For a target of words (category) they are always None, and ``shares`` has the frequent ones.
    """

    kind: Literal["binary", "number", "category"]
    n: int
    rate: float | None = None
    lower: float | None = None
    upper: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeatureBaseline:
    """One feature in one split. ``missing``: share of empty cells, None without rows.

    Numbers and times (days since 1970): mean, sd (n − 1), quantiles at 5, 25, 50, 75, 95 %; None for fewer
    than 11 values. Words and elements of lists: rows of the up to 20 most frequent ones; those with fewer
    than 11 rows, and the next where a remainder would reveal one, are only counted (``hidden``). Personal
    columns show no values.
    """

    name: str
    kind: Kind
    missing: float | None
    mean: float | None = None
    sd: float | None = None
    quantiles: Mapping[str, float] = field(default_factory=dict)
    top: Mapping[str, int] = field(default_factory=dict)
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class SplitBaseline:
    """One split."""

    split: str
    rows: int
    target: TargetBaseline
    features: tuple[FeatureBaseline, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The four splits in order; unassigned rows are left out."""

    splits: tuple[SplitBaseline, ...]

    def of(self, split: str) -> SplitBaseline:
        """The baseline of one split; KeyError without it."""
        return {baseline.split: baseline for baseline in self.splits}[split]

    def to_dict(self) -> Json:
        """JSON-safe."""
        return asdict(self)


def compute_baseline(
    frame: pd.DataFrame,
    split: pd.Series[str],
    *,
    features: Sequence[str],
    target: str,
    table: TableContract | None = None,
) -> Baseline:
    """Describe target and features in each split. Raises UnknownColumn, and ContractViolation for wrong values.

    Whether the target has two values, and which is the higher, is decided over all assigned rows.
    """
    if len(split) != len(frame):
        raise ContractViolation(f"there are {len(frame)} rows and {len(split)} splits; they must be as many")
    names = split.to_numpy()
    outcome = column_of(frame, target, "target")
    kind = kind_of(outcome, target, table)
    levels = _levels(outcome[[name in ASSIGNED for name in names]], target, kind)
    kinds = {name: kind_of(column_of(frame, name, "feature"), name, table) for name in features}
    personal = table.personal_columns if table is not None else frozenset()
    return Baseline(
        tuple(
            SplitBaseline(
                name,
                int((names == name).sum()),
                _target(outcome[names == name], target, kind, levels, hide=target in personal),
                tuple(
                    _feature(frame[feature][names == name], feature, kinds[feature], hide=feature in personal)
                    for feature in features
                ),
            )
            for name in ASSIGNED
        )
    )


def _levels(values: pd.Series[Any], name: str, kind: Kind) -> tuple[Any, Any] | None:
    """The two values of a binary target, lower first; None for any other."""
    import pandas as pd

    if kind is Kind.LIST:
        raise ContractViolation(f"target '{name}' holds lists; a target is a number, a word or a time")
    known = values.dropna()
    read = texts(known, name) if kind is Kind.TEXT else _as_numbers(known, name, kind)
    different = sorted(pd.unique(read).tolist())
    return (different[0], different[1]) if len(different) == 2 else None


def _as_numbers(values: pd.Series[Any], name: str, kind: Kind) -> Floats:
    return days(values, name) if kind is Kind.TIME else numbers(values, name)


def _target(
    values: pd.Series[Any], name: str, kind: Kind, levels: tuple[Any, Any] | None, *, hide: bool
) -> TargetBaseline:
    known = values.dropna()
    n = len(known)
    if levels is not None:
        read = texts(known, name) if kind is Kind.TEXT else _as_numbers(known, name, kind)
        positives = int((read == levels[1]).sum())
        few = n < SMALLEST_CELL
        return TargetBaseline("binary", n) if few else TargetBaseline("binary", n, positives / n, *wilson(positives, n))
    if kind is Kind.TEXT:
        shown = {} if hide else _top(Counter(texts(known, name)))
        return TargetBaseline("category", n, shares={word: count / n for word, count in shown.items()})
    return _mean(_as_numbers(known, name, kind))


def _mean(values: Floats) -> TargetBaseline:
    from scipy.stats import t

    n = len(values)
    if n < SMALLEST_CELL:
        return TargetBaseline("number", n)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / n**0.5
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
    return TargetBaseline("number", n, mean, mean - reach, mean + reach)


def _feature(values: pd.Series[Any], name: str, kind: Kind, *, hide: bool) -> FeatureBaseline:
    missing = float(values.isna().mean()) if len(values) else None
    known = values.dropna()
    if hide:
        return FeatureBaseline(name, kind, missing)
    if kind in (Kind.NUMBER, Kind.TIME):
        return _of_numbers(_as_numbers(known, name, kind), name, kind, missing)
    if kind is Kind.TEXT:
        counts = Counter(texts(known, name))
    else:
        counts = Counter(word for cell in lists(known, name) for word in dict.fromkeys(cell))
    top = _top(counts)
    return FeatureBaseline(name, kind, missing, top=top, hidden=len(counts) - len(top))


def _of_numbers(values: Floats, name: str, kind: Kind, missing: float | None) -> FeatureBaseline:
    import numpy as np

    if len(values) < SMALLEST_CELL:
        return FeatureBaseline(name, kind, missing)
    found = {
        f"{point:.0%}": float(value) for point, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
    }
    return FeatureBaseline(name, kind, missing, float(values.mean()), float(values.std(ddof=1)), found)


def _top(counts: Counter[str]) -> dict[str, int]:
    """The most frequent words whose number does not reveal a small group, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [item for item in ordered if item[1] >= SMALLEST_CELL][:TOP_CATEGORIES]
    # What is not shown is the rest of a known total: it must not be a small group either.
    while shown and 0 < sum(counts.values()) - sum(count for _, count in shown) < SMALLEST_CELL:
        shown.pop()
    return dict(shown)
