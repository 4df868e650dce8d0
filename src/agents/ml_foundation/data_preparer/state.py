"""What travels between the nodes of data_preparer: values only; frames stay in the process."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from src.agents.quality_gate import LayerStatus, QCGate
from src.agents.runtime import NodeError
from src.domain.period import Period
from src.domain.splits import SplitPlan
from src.feature_store.results import FeatureFreshness
from src.mlops.preparation.baseline import Baseline
from src.mlops.preparation.leakage import LeakageReport
from src.mlops.preparation.transforms import FittedTransforms
from src.mlops.quality.result import DataQualityResult


@dataclass(frozen=True, slots=True)
class PrepareScope:
    """Which rows, and what they are for: ``required_features`` are to predict ``target``.

    ``period`` keeps rows whose time lies between its two days, both included. ``known_at`` names, for a
    feature, the column with the time at which its value was known; later than the row's own time, it leaks.
    """

    target: str
    required_features: tuple[str, ...]
    brand: str | None = None
    region: str | None = None
    period: Period | None = None
    known_at: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrepareRequest:
    """Data to judge. ``data_source`` is a contract table (``triggers`` or ``table:triggers``) or a dataset.

    ``suite`` names the contract table that a dataset must keep, or is ``inferred``: the dataset is then held to
    its own names and types. A table is always held to its own contract. ``time`` (the column of a row's time) and
    ``unit`` (the column whose values stay together in a split) are for inferred contracts, which name neither.
    ``split_id`` is a split that is registered already, ``split_strategy`` how to plan a new one; with neither
    rows keep the split they bring along, or are split by time; without time by unit or row. A leakage check that
    was skipped is not a pass.
    """

    experiment_id: str
    data_source: str
    scope: PrepareScope
    split_id: str | None = None
    split_strategy: str | None = None
    suite: str | None = None
    skip_leakage_check: bool = False
    time: str | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class LoadedData:
    """Where the rows come from, the contract table they are held to, and the required features they have."""

    dataset_id: str
    table: str
    rows: int
    features: tuple[str, ...]
    missing_features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeastSummary:
    """Feature views that the required features come from: those registered, and how fresh their values are."""

    registered: tuple[str, ...] = ()
    freshness: tuple[FeatureFreshness, ...] = ()


_GRAVITY = (LayerStatus.PASSED, LayerStatus.SKIPPED, LayerStatus.FAILED)


def gravest(known: dict[str, LayerStatus], told: dict[str, LayerStatus]) -> dict[str, LayerStatus]:
    """Both together; a layer that failed cannot pass afterwards."""
    return known | {name: max(status, known.get(name, status), key=_GRAVITY.index) for name, status in told.items()}


def earliest(known: NodeError, _: NodeError) -> NodeError:
    """The first error of a run is what went wrong; later ones follow from it."""
    return known


class PrepareState(TypedDict, total=False):
    """Every key any node writes. What several nodes write is added together, never replaced."""

    request: PrepareRequest
    loaded: LoadedData
    layers: Annotated[dict[str, LayerStatus], gravest]
    blockers: Annotated[tuple[str, ...], operator.add]
    warnings: Annotated[tuple[str, ...], operator.add]
    not_ready: Annotated[tuple[str, ...], operator.add]
    degraded: Annotated[tuple[str, ...], operator.add]
    score: float | None
    quality: DataQualityResult
    splits: SplitPlan
    leakage: LeakageReport
    transforms: FittedTransforms
    feast: FeastSummary
    baseline: Baseline
    gate: QCGate
    is_ready: bool
    error: Annotated[NodeError, earliest]


class PrepareUpdate(PrepareState, total=False):
    """What a node returns: only what it wrote."""
