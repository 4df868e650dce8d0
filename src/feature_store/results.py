"""What does the feature store answer? Typed values; times are UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

Mode = Literal["full", "incremental"]


class FreshnessStatus(StrEnum):
    """How old a view's online values are against its limits; UNKNOWN: it was never materialised."""

    FRESH = "FRESH"
    WARNING = "WARNING"
    STALE = "STALE"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_usable(self) -> bool:
        """Whether answers and training may rest on it."""
        return self in (FreshnessStatus.FRESH, FreshnessStatus.WARNING)


@dataclass(frozen=True, slots=True)
class FeatureFreshness:
    """Age of one view. ``source`` says where ``last_materialized`` was read: "registry", "jobs" or "none"."""

    feature_view: str
    last_materialized: datetime | None
    status: FreshnessStatus
    age_hours: float | None
    max_age_hours: float
    warning_threshold_hours: float
    source: Literal["registry", "jobs", "none"]
    message: str

    @property
    def is_fresh(self) -> bool:
        """Whether the status is FRESH or WARNING."""
        return self.status.is_usable


@dataclass(frozen=True, slots=True)
class ViewMaterialization:
    """What was carried over for one view: ``rows`` written to the online store for events in [start, end]."""

    name: str
    rows: int
    start: datetime
    end: datetime
    duration_s: float
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class MaterializationResult:
    """All views of one call, in order. Not ``recorded``: without a database an interrupted call begins anew."""

    views: tuple[ViewMaterialization, ...]
    mode: Mode
    recorded: bool = True

    @property
    def rows(self) -> int:
        """Rows over all views."""
        return sum(view.rows for view in self.views)


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """One feature over the offline history. Numbers are None for features that are not numeric."""

    feature_view: str
    feature: str
    rows: int
    missing_share: float
    distinct: int
    mean: float | None
    std_dev: float | None
    minimum: float | None
    maximum: float | None
