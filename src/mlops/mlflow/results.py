"""What does the connector return? Frozen values that say what was stored and what was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar


class RunStatus(StrEnum):
    """State of a run; the store keeps the same words in capitals."""

    RUNNING = "running"
    SCHEDULED = "scheduled"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"

    @property
    def stored(self) -> str:
        """As MLflow writes it."""
        return self.value.upper()


class ModelStage(StrEnum):
    """Life of a model version; staging, shadow and production are also aliases in the registry."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    SHADOW = "shadow"
    PRODUCTION = "production"
    DEPRECATED = "deprecated"
    ARCHIVED = "archived"

    @property
    def alias(self) -> str | None:
        """The alias of the version in this stage, where the stage has one."""
        return self.value if self in _ALIASED else None


_ALIASED = frozenset({ModelStage.STAGING, ModelStage.SHADOW, ModelStage.PRODUCTION})


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment; ``experiment_id`` is None while the server does not know it yet."""

    name: str
    experiment_id: str | None
    artifact_location: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def persisted(self) -> bool:
        """Whether the store has it."""
        return self.experiment_id is not None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as the store has it; times are UTC."""

    run_id: str
    experiment_id: str
    run_name: str
    status: RunStatus
    start_time: datetime
    end_time: datetime | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifact_uri: str

    @property
    def parent_run_id(self) -> str | None:
        """The run this one is nested in."""
        return self.tags.get("mlflow.parentRunId")


@dataclass(frozen=True, slots=True)
class Written:
    """The store has it. ``refused`` names metrics left out because they are NaN or infinite."""

    component: str
    operation: str
    refused: tuple[str, ...] = ()
    persisted: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model stored with a run; ``version`` when it was registered in the same call."""

    name: str
    model_id: str
    run_id: str
    uri: str
    flavor: str
    version: ModelVersion | None = None
    persisted: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version as the registry has it."""

    name: str
    version: int
    run_id: str
    source: str
    stage: ModelStage
    created_at: datetime
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    persisted: ClassVar[bool] = True

    @property
    def uri(self) -> str:
        """Address for ``load_model``."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class StageTransition:
    """Whether a version changed its stage, and if not, why; true in a condition exactly when it did."""

    ok: bool
    from_stage: ModelStage | None
    to_stage: ModelStage
    reason: str

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a version beyond its run's metrics; a metric stored with the run outranks it.

    ``auc`` in 0–1 (a classifier), ``r2`` up to 1 (a regression), ``samples`` all rows the model was made and judged
    with, ``requests`` a count, ``error_rate`` in 0–1, ``p99_ms`` milliseconds; these three were observed in shadow.
    ``hours`` in shadow are only what somebody says they were; ``stated_by`` names who says what is said of shadow,
    None where it was measured.
    """

    auc: float | None = None
    samples: float | None = None
    requests: float | None = None
    error_rate: float | None = None
    p99_ms: float | None = None
    r2: float | None = None
    hours: float | None = None
    stated_by: str | None = None


@dataclass(frozen=True, slots=True)
class Waiver:
    """Rules a named person sets aside for one promotion, and why; kept on the version. Approval is never waived."""

    rules: frozenset[str]
    granted_by: str
    reason: str

    @property
    def signed(self) -> bool:
        """Whether somebody answers for it and says why."""
        return bool(self.granted_by.strip() and self.reason.strip())


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the store answers now, in how many milliseconds, and the state of the circuit breaker."""

    reachable: bool
    latency_ms: float | None
    breaker: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay moved to the store and what it left.

    ``runs`` and ``entries`` were delivered; ``refused`` entries were rejected by the store and are kept, with
    the reason, in the folder ``refused`` of the spool; ``pending`` entries wait for the next replay.
    ``run_ids`` gives the store's id of each run by the id it had in the spool.
    """

    runs: int = 0
    entries: int = 0
    refused: int = 0
    pending: int = 0
    damaged_lines: int = 0
    reason: str = ""
    run_ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing waits any more."""
        return self.pending == 0
