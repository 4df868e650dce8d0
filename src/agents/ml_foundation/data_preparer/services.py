"""What do the nodes of data_preparer work with, and where do they find it during a run?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import pandas as pd

from src.agents.runtime import Deps
from src.contracts.checking import FrameCheck, RuleFailure
from src.contracts.model import TableContract
from src.domain.splits import SplitPlan, UnitAssignment
from src.feature_store.results import FeatureFreshness
from src.mlops.pandera_schemas import SchemaValidation, validate_dataframe
from src.mlops.preparation.transforms import FittedTransforms, fit_transforms
from src.mlops.quality.configuration import DataQualityConfig
from src.mlops.quality.result import DataQualityResult, QualityScores
from src.mlops.quality.scores import quality_scores
from src.mlops.quality.suites import ExpectationSuite
from src.resilience.outcomes import Unavailable

PLACE = "data_preparer"
FRAMES = "data_preparer.frames"

# The contract is a table's name, or a contract that is no table's.
SchemaCheck = Callable[[pd.DataFrame, Any], SchemaValidation]
Scorer = Callable[[TableContract, FrameCheck, datetime], QualityScores]
Fitter = Callable[[pd.DataFrame, "pd.Series[str]", Sequence[str], TableContract | None], FittedTransforms]


class Expectations(Protocol):
    """Validates a table against its suite; ``DataQualityValidator`` in production."""

    async def validate(
        self,
        df: pd.DataFrame,
        suite_or_table: str | ExpectationSuite,
        *,
        check: FrameCheck | None = None,
        brand: str | None = None,
        region: str | None = None,
    ) -> DataQualityResult:
        """The outcome of every expectation; ``check`` is what the schema said of ``df``, where it was asked."""
        ...


class FeatureStore(Protocol):
    """What the agent needs of the feature store; ``FeastClient`` in production."""

    async def apply(self) -> Any:
        """Register all views; Unavailable without Feast."""
        ...

    async def get_feature_freshness(self, view: str) -> FeatureFreshness | Unavailable:
        """How old the values of a view are; raises UnknownFeature for one that is not registered."""
        ...


class PreparationStore(Protocol):
    """Where splits, transformations and findings of leakage are kept; ``PreparationRepository`` in production."""

    async def register_plan(self, plan: SplitPlan, *, created_by: str | None = None) -> object:
        """Keep a plan; the same plan again changes nothing."""
        ...

    async def plan(self, split_config_id: str) -> SplitPlan:
        """A registered plan; raises DataUnavailable for an unknown id."""
        ...

    async def add_assignments(self, split_config_id: str, assignments: Sequence[UnitAssignment]) -> object:
        """Keep the split of each patient, all or none."""
        ...

    async def assignments(self, split_config_id: str) -> Mapping[str, str]:
        """The split of each patient."""
        ...

    async def save_preprocessing(self, split_config_id: str, rows: Sequence[Mapping[str, Any]]) -> object:
        """Keep what was learnt from the training rows, in place of what an earlier run of the plan left."""
        ...

    async def add_audit(self, rows: Sequence[Mapping[str, Any]]) -> object:
        """Keep what the search for leakage found."""
        ...


class QualityReports(Protocol):
    """Where validations are kept; ``QualityReportRepository`` in production."""

    async def add(self, result: DataQualityResult) -> object:
        """Store a result once."""
        ...


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """The agent's connections, the same for all its runs.

    ``features`` is None where there is no feature store. With ``require_all_layers`` a layer of
    validation that did not run blocks; otherwise it is a warning.
    """

    expectations: Expectations
    preparation: PreparationStore
    reports: QualityReports
    config: DataQualityConfig
    features: FeatureStore | None = None
    schema: SchemaCheck = validate_dataframe
    score: Scorer = quality_scores
    fit: Fitter = fit_transforms
    clock: Callable[[], datetime] = utc_now
    require_all_layers: bool = True


@dataclass(slots=True)
class Frames:
    """Rows of one run: as ``read``, and ``typed`` by the contract ``table``.

    ``failures``: broken rules by row; None until, and unless, they were looked for. ``split``: of each row.
    """

    read: pd.DataFrame
    typed: pd.DataFrame
    table: TableContract
    failures: tuple[RuleFailure, ...] | None = None
    split: pd.Series[Any] | None = None

    @property
    def check(self) -> FrameCheck | None:
        """What the schema said, where it was asked."""
        return None if self.failures is None else FrameCheck(self.typed, self.failures)


def services_of(deps: Deps) -> Services:
    """The services of the agent whose run this is."""
    return cast(Services, deps.workspace[PLACE])


def frames_of(deps: Deps) -> Frames:
    """The rows that load_data put there."""
    return cast(Frames, deps.workspace[FRAMES])
