"""What did a validation of a table find? Plain values, safe to store as JSON."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class QualityStatus(StrEnum):
    """``SKIPPED``: the validation could not be run; it is not a pass."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class FailedExpectation:
    """An expectation that did not hold, or that has no outcome (``error`` then says why).

    ``id`` is ``<table>.<rule>``; ``count`` how many rows break it (None: the table as a whole);
    ``rows`` the labels of the first of them; ``approximate`` marks figures put together from
    batches where that is not exact.
    """

    id: str
    type: str
    kwargs: Json
    columns: tuple[str, ...]
    observed: str
    critical: bool
    count: int | None = None
    rows: tuple[Hashable, ...] = ()
    approximate: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class QualityScores:
    """Shares between 0 and 1; None where the table has nothing to measure it by.

    completeness: cells of required columns that are filled. validity: filled cells that keep every
    rule of their column. consistency: rows that keep every rule between columns. timeliness: rows whose
    time is known and not in the future. uniqueness: rows that are not repetitions of a unique column or
    key. accuracy: rows whose derived values equal what they are derived from.
    """

    completeness: float | None
    validity: float | None
    consistency: float | None
    timeliness: float | None
    uniqueness: float | None
    accuracy: float | None

    def weighted(self, weights: Mapping[str, float]) -> float | None:
        """Weighted mean over the dimensions that were measured, weights re-normalised; None when none was."""
        known = {name: value for name, value in asdict(self).items() if value is not None and weights.get(name)}
        total = sum(weights[name] for name in known)
        return sum(weights[name] * value for name, value in known.items()) / total if total else None


@dataclass(frozen=True, slots=True)
class Counts:
    """``evaluated`` = ``passed`` + ``failed``; an expectation without outcome counts as failed."""

    evaluated: int
    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class DataQualityResult:
    """Outcome of one suite on one table. ``success_rate`` is None when nothing was evaluated.

    ``overall_status``: failed when a critical expectation failed or the rate is below the warning
    threshold; warning between both thresholds, and where only what is unusual took the rate below;
    skipped when nothing was evaluated (``reason`` says why).
    """

    id: str
    suite_name: str
    table_name: str
    run_at: datetime
    overall_status: QualityStatus
    expectations: Counts
    success_rate: float | None
    failed_expectations: tuple[FailedExpectation, ...]
    scores: QualityScores
    validation_ms: float
    rows_validated: int = 0
    data_split: str | None = None
    brand: str | None = None
    region: str | None = None
    training_run_id: str | None = None
    leakage_detected: bool = False
    approximate: tuple[str, ...] = field(default=())
    reason: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the suite ran and its status is ``passed``."""
        return self.overall_status is QualityStatus.PASSED

    @property
    def blocking(self) -> bool:
        """Whether nothing may be built on this data: failed, or leakage."""
        return self.overall_status is QualityStatus.FAILED or self.leakage_detected

    def headline(self) -> str:
        """One line for people: table, status, and the first rules that failed."""
        head = f"{self.table_name}: {self.overall_status}"
        if self.reason:
            return f"{head} ({self.reason})"
        shown = [failed.id.split(".", 1)[-1] for failed in self.failed_expectations[:3]]
        more = len(self.failed_expectations) - len(shown)
        listed = ", ".join(shown) + (f" and {more} more" if more else "")
        leakage = "; leakage detected" if self.leakage_detected else ""
        return (
            f"{head}, {self.expectations.failed} of {self.expectations.evaluated} expectations failed"
            + (f" ({listed})" if listed else "")
            + leakage
        )

    def to_dict(self) -> Json:
        """JSON-safe: times as ISO 8601 UTC, row labels as text or whole numbers."""
        document = asdict(self)
        document["run_at"] = self.run_at.isoformat()
        document["failed_expectations"] = [
            {**asdict(failed), "rows": [label if isinstance(label, int) else str(label) for label in failed.rows]}
            for failed in self.failed_expectations
        ]
        return document | {"passed": self.passed, "blocking": self.blocking}
