"""Alerts with an honest outcome, and stand-ins for the services around the agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from src.agents.ml_foundation.data_preparer.agent import DataPreparerAgent, PrepareResult
from src.agents.ml_foundation.data_preparer.services import Services
from src.agents.ml_foundation.data_preparer.state import PrepareRequest, PrepareScope
from src.agents.runtime import Deps, Filter
from src.domain.splits import SplitPlan, UnitAssignment
from src.errors import ContractViolation, DatasetNotFound, DataUnavailable, UnknownFeature
from src.feature_store.results import FeatureFreshness, FreshnessStatus
from src.mlops.quality.configuration import DataQualityConfig
from src.mlops.quality.result import Counts, DataQualityResult, FailedExpectation, QualityScores, QualityStatus
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from src.resilience.outcomes import Unavailable
from tests.traces import memory_connector

GOOD = QualityScores(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
FEATURES = ("confidence_score", "lead_time_days", "priority")


def alerts(n: int = 600, seed: int = 3) -> pd.DataFrame:
    """Legal rows of ``triggers``: two alerts per patient over two years; confidence tells something of the outcome."""
    rng = np.random.default_rng(seed)
    first = np.repeat(rng.integers(0, 700, n // 2), 2)
    day = first + np.tile([0, 10], n // 2)
    confidence = rng.uniform(0.2, 0.9, n).round(6)
    return pd.DataFrame(
        {
            "trigger_id": [f"trg_{i:06d}" for i in range(n)],
            "patient_id": [f"pat_{i // 2:06d}" for i in range(n)],
            "trigger_timestamp": pd.Timestamp("2023-01-01T09:00Z") + pd.to_timedelta(day, unit="D"),
            "trigger_type": rng.choice(["refill_gap", "new_diagnosis"], n),
            "priority": rng.choice(["critical", "high", "medium", "low"], n),
            "confidence_score": confidence,
            "lead_time_days": rng.integers(1, 60, n),
            "brand": "Kisqali",
            "false_positive_flag": rng.uniform(size=n) < 0.7 - 0.5 * confidence,
        }
    )


def request(**changes: Any) -> PrepareRequest:
    """Asks for ``alerts``; scope fields are given by their own names."""
    of_scope = {field.name for field in dataclasses.fields(PrepareScope)}
    scope = PrepareScope("false_positive_flag", FEATURES)
    scope = dataclasses.replace(scope, **{name: value for name, value in changes.items() if name in of_scope})
    others = {name: value for name, value in changes.items() if name not in of_scope}
    return dataclasses.replace(PrepareRequest("exp-1", "triggers", scope), **others)


@dataclass(frozen=True)
class Rows:
    frame: pd.DataFrame

    @property
    def query(self) -> dict[str, Any]:
        return {"rows_before": len(self.frame), "rows_after": len(self.frame)}


class FrameDatasets:
    """Frames by dataset id; the filters of each load are kept, not applied."""

    def __init__(self, **frames: pd.DataFrame) -> None:
        self.frames = {f"table:{name}": frame for name, frame in frames.items()}
        self.filters: list[tuple[Filter, ...]] = []

    async def load(
        self, dataset_id: str, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> Rows:
        if dataset_id not in self.frames:
            raise DatasetNotFound(f"no dataset '{dataset_id}'")
        self.filters.append(tuple(filters))
        return Rows(self.frames[dataset_id])


def found(status: QualityStatus = QualityStatus.PASSED, *failed: FailedExpectation, **other: Any) -> DataQualityResult:
    """A validation of 40 expectations."""
    counts = Counts(40, 40 - len(failed), len(failed))
    values = {"success_rate": counts.passed / 40, "scores": GOOD, "validation_ms": 1.0, "reason": None} | other
    return DataQualityResult(
        str(uuid7()),
        "triggers_suite",
        "triggers",
        datetime.now(UTC),
        status,
        counts,
        failed_expectations=failed,
        **values,
    )


def broken(name: str, *, critical: bool = False, error: str | None = None) -> FailedExpectation:
    """An expectation that three rows break."""
    return FailedExpectation(f"triggers.{name}", "expect_x", {}, (name,), "3 rows", critical, 3, error=error)


class Expectations:
    """Says what it was given, and keeps the tables it was asked about."""

    def __init__(self, result: DataQualityResult | None = None) -> None:
        self.result = result or found()
        self.asked: list[str] = []

    async def validate(self, df: pd.DataFrame, suite_or_table: str, **_: Any) -> DataQualityResult:
        self.asked.append(suite_or_table)
        return self.result


class Reports:
    """Keeps results by id, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.kept: dict[str, DataQualityResult] = {}
        self.failure = failure

    async def add(self, result: DataQualityResult) -> None:
        if self.failure is not None:
            raise self.failure
        self.kept[result.id] = result


def age(view: str, status: FreshnessStatus) -> FeatureFreshness:
    """How old a view is."""
    return FeatureFreshness(view, None, status, None, 2.0, 1.0, "registry", f"{view} was carried over some time ago")


@dataclass
class Features:
    """A feature store with one status for every view, without Feast, or with nothing registered until applied."""

    status: FreshnessStatus = FreshnessStatus.FRESH
    absent: str | None = None
    applied: int = 0
    views: tuple[str, ...] = ("trigger_effectiveness", "hcp_profile")
    needs_apply: bool = False
    asked: list[str] = field(default_factory=list)

    async def apply(self) -> Any:
        if self.absent is not None:
            return Unavailable("feast", self.absent)
        self.applied += 1
        return None

    async def get_feature_freshness(self, view: str) -> Any:
        self.asked.append(view)
        if self.absent is not None:
            return Unavailable("feast", self.absent)
        if view not in self.views or (self.needs_apply and not self.applied):
            raise UnknownFeature(f"no feature view '{view}' is registered")
        return age(view, self.status if view == "trigger_effectiveness" else FreshnessStatus.EXPIRED)


class Preparation:
    """Plans, assignments, transformations and audits in dictionaries."""

    def __init__(self) -> None:
        self.plans: dict[str, SplitPlan] = {}
        self.assigned: dict[str, dict[str, str]] = {}
        self.transforms: dict[str, list[Any]] = {}
        self.audits: list[Any] = []

    async def register_plan(self, plan: SplitPlan, *, created_by: str | None = None) -> None:
        self.plans.setdefault(plan.split_config_id, dataclasses.replace(plan, rows={}))

    async def plan(self, split_config_id: str) -> SplitPlan:
        if split_config_id not in self.plans:
            raise DataUnavailable(f"no split '{split_config_id}'")
        return self.plans[split_config_id]

    async def add_assignments(self, split_config_id: str, assignments: Sequence[UnitAssignment]) -> None:
        kept = self.assigned.setdefault(split_config_id, {})
        if any(kept.get(one.unit, one.split) != one.split for one in assignments):
            raise ContractViolation(f"patients have another split in '{split_config_id}'")
        kept |= {one.unit: one.split for one in assignments}

    async def assignments(self, split_config_id: str) -> Mapping[str, str]:
        return self.assigned.get(split_config_id, {})

    async def save_preprocessing(self, split_config_id: str, rows: Sequence[Any]) -> None:
        self.transforms[split_config_id] = list(rows)

    async def add_audit(self, rows: Sequence[Any]) -> None:
        self.audits += rows

    def splits(self, frame: pd.DataFrame, plan: SplitPlan) -> pd.Series[Any]:
        """The split of each row by the kept assignments of patients."""
        return frame["patient_id"].map(self.assigned[plan.split_config_id])


@dataclass
class World:
    """Everything around one run; ``services`` may be changed before the agent is made."""

    datasets: FrameDatasets
    expectations: Expectations = field(default_factory=Expectations)
    reports: Reports = field(default_factory=Reports)
    features: Features | None = field(default_factory=Features)
    store: Preparation = field(default_factory=Preparation)
    changes: dict[str, Any] = field(default_factory=dict)
    deps: Deps = field(init=False)
    sink: MemorySink = field(init=False)

    def __post_init__(self) -> None:
        connector, self.sink = memory_connector()
        self.deps = Deps(self.datasets, connector, str(uuid7()), str(uuid7()))

    @property
    def services(self) -> Services:
        services = Services(self.expectations, self.store, self.reports, DataQualityConfig(), self.features)
        return dataclasses.replace(services, **self.changes)

    async def run(self, asked: Any = None, **changes: Any) -> PrepareResult:
        """Run the agent on ``request(**changes)``."""
        agent = DataPreparerAgent(self.services, sla_seconds=600)
        try:
            return await agent.run(asked if asked is not None else request(**changes), self.deps)
        finally:
            await self.deps.tracer.flush()

    def route(self) -> list[str]:
        """Spans that have ended, in order."""
        return [span["operation_type"] for span in self.sink.spans]


def world(frame: pd.DataFrame | None = None, **changes: Any) -> World:
    """A world whose table ``triggers`` holds ``frame``."""
    parts = {name: changes.pop(name) for name in ("expectations", "reports", "features", "store") if name in changes}
    return World(FrameDatasets(triggers=alerts() if frame is None else frame), **parts, changes=changes)
