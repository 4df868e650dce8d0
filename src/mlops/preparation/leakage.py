"""Would a model trained on this frame look better than it can be in use?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from src.contracts.enums import DataSplit, SplitStrategy
from src.contracts.model import TableContract
from src.domain.alerts import AlertSeverity
from src.errors import ContractViolation
from src.mlops.preparation.columns import Kind, column_of, kind_of
from src.mlops.preparation.leakage_report import CheckName, LeakageFinding, LeakageReport, Outcome, Unchecked
from src.mlops.preparation.overlap import find_repeated_rows, find_shared_units
from src.mlops.preparation.target_leakage import find_target_leakage
from src.mlops.preparation.time_leakage import find_temporal_leakage
from src.mlops.preparation.transforms import FittedFeature, FittedTransforms, fit_transforms

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LeakageFinding", "LeakageReport", "Unchecked", "find_leakage", "find_preprocessing_leakage", "report_of"]


def find_leakage(
    frame: pd.DataFrame,
    *,
    features: Sequence[str],
    target: str,
    split: pd.Series[str],
    time: str | None = None,
    unit: str | None = None,
    table: TableContract | None = None,
    known_at: Mapping[str, str] | None = None,
    fitted: FittedTransforms | None = None,
    strategy: str = SplitStrategy.CHRONOLOGICAL,
) -> LeakageReport:
    """Look for leakage in five ways: target, temporal, group, duplicate, preprocessing.

    ``split`` has one name per row of ``frame``, in its order. ``time`` is when a row is to be predicted,
    ``unit`` what must not be in two splits. Without a unit a chronological split is one of rows, and must be
    in order of time. ``known_at``: feature → column of the time at which its value was known. ``fitted``:
    transformations about to be used. What a check lacks, or has too little data for, is in ``skipped``:
    not clean, but unknown. Raises UnknownColumn, and ContractViolation for values of another type.
    """
    if len(split) != len(frame):
        raise ContractViolation(f"there are {len(frame)} rows and {len(split)} splits; they must be as many")
    for name in (*features, target):
        column_of(frame, name)
    by_rows = unit is None and strategy == SplitStrategy.CHRONOLOGICAL
    compared, own = _compared(frame, features, target, time, unit, table)
    outcomes: dict[CheckName, Outcome] = {
        "target": find_target_leakage(frame, features, target, unit=unit, table=table),
        "temporal": find_temporal_leakage(
            frame, features, split, time=time, by_rows=by_rows, table=table, known_at=known_at
        ),
        "group": find_shared_units(frame, split, unit) if unit else _unknown("group", "no unit column was named"),
        "duplicate": find_repeated_rows(frame, split, compared, own),
        "preprocessing": find_preprocessing_leakage(frame, split, fitted, table=table)
        if fitted
        else _unknown("preprocessing", "nothing was fitted yet"),
    }
    return report_of(outcomes)


def _compared(
    frame: pd.DataFrame,
    features: Sequence[str],
    target: str,
    time: str | None,
    unit: str | None,
    table: TableContract | None,
) -> tuple[list[str], list[str]]:
    """Columns that tell a copy whatever its key, and those that change with the key: time, unit, features in time."""
    others = [name for name in (time, unit) if name]
    moved = [name for name in features if kind_of(frame[name], name, table) is Kind.TIME]
    kept = [name for name in features if name not in (*others, *moved)]
    if not kept:
        return [], list(dict.fromkeys([*features, target, *others]))
    return list(dict.fromkeys([*kept, target])), [*others, *moved]


def find_preprocessing_leakage(
    frame: pd.DataFrame,
    split: pd.Series[str],
    fitted: FittedTransforms,
    *,
    table: TableContract | None = None,
) -> Outcome:
    """Transformations that were learnt from anything but the training rows of this frame."""
    names = [feature.name for feature in fitted.features]
    due = fit_transforms(frame, split, names, table)
    wrong = tuple(
        mine.name for mine, other in zip(fitted.features, due.features, strict=True) if not _same(mine, other)
    )
    if not wrong and fitted.n_rows == due.n_rows:
        return Outcome()
    everything = fit_transforms(frame, split.map(lambda _: str(DataSplit.TRAIN)), names, table)
    on_all = fitted.n_rows == everything.n_rows and all(map(_same, fitted.features, everything.features))
    source = "all rows" if on_all else "rows other than the training rows"
    message = f"the transformations were fitted on {source}; fit them on the {due.n_rows} training rows only"
    rows = max(fitted.n_rows - due.n_rows, 0) if on_all else fitted.n_rows
    details = {"fitted_rows": fitted.n_rows, "training_rows": due.n_rows}
    return Outcome(
        (LeakageFinding("preprocessing", AlertSeverity.CRITICAL, wrong or tuple(names), rows, message, details),)
    )


def _same(one: FittedFeature, other: FittedFeature) -> bool:
    """Whether two fits agree; sums in another order differ in the last digits."""
    import math

    if one.transformation is not other.transformation:
        return False
    mine, theirs = one.parameters(), other.parameters()
    return all(
        math.isclose(value, theirs[key], rel_tol=1e-9, abs_tol=1e-9 * max(1.0, abs(one.scale)))
        if isinstance(value, float)
        else value == theirs[key]
        for key, value in mine.items()
    )


def _unknown(check: CheckName, reason: str) -> Outcome:
    return Outcome(skipped=(Unchecked(check, reason),))


def report_of(outcomes: Mapping[CheckName, Outcome]) -> LeakageReport:
    """Several checks as one report. A check counts as made unless all of it was skipped and it found nothing."""
    whole = {item.check for outcome in outcomes.values() for item in outcome.skipped if not item.columns}
    return LeakageReport(
        tuple(finding for outcome in outcomes.values() for finding in outcome.findings),
        tuple(check for check, outcome in outcomes.items() if check not in whole or outcome.findings),
        tuple(item for outcome in outcomes.values() for item in outcome.skipped),
    )
