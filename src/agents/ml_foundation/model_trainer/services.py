"""What do the nodes of model_trainer work with, and where do they find it during a run?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from src.agents.runtime import Deps
from src.agents.training_rows import SplitRows, TrainingRows
from src.execution.executor import Executor, open_executor
from src.mlops.modelling.targets import TargetCoding
from src.mlops.modelling.types import FittedModel, Labelled
from src.mlops.optuna.results import TrialRecord
from src.mlops.preparation.transforms import FittedTransforms
from src.mlops.tracing.ids import uuid7

if TYPE_CHECKING:
    from src.agents.ml_foundation.model_trainer.tracking import OpenRun
    from src.mlops.hpo_pattern_memory import HPOPatternMemory
    from src.mlops.mlflow_connector import MLflowConnector
    from src.mlops.modelling.bundle import ModelBundle
    from src.mlops.optuna_optimizer import OptunaOptimizer

PLACE = "model_trainer"
TRAINING = "model_trainer.training"

# Makes the optimizer of an experiment's searches.
OptimizerFactory = Callable[[str], "OptunaOptimizer"]
ExecutorFactory = Callable[[int], AbstractAsyncContextManager[Executor]]


class Experiments(Protocol):
    """Where experiments are kept; ``ExperimentRepository`` in production."""

    async def ensure(
        self,
        name: str,
        *,
        mlflow_experiment_id: str | None,
        prediction_target: str,
        brand: str | None = None,
        region: str | None = None,
    ) -> str:
        """Id of the experiment of that name, made where there is none.

        Raises ContractViolation when it has another target, brand or region.
        """
        ...

    async def get(self, name: str) -> Any:
        """The experiment of that name, with its ``id``; None when there is none."""
        ...


class TrainingRuns(Protocol):
    """Where trainings are kept; ``TrainingRunRepository`` in production."""

    async def begin(self, row: Mapping[str, Any]) -> None:
        """Record a training that runs from now on; ``add`` under the same ``id`` records its end in that row."""
        ...

    async def running(self, experiment_id: str) -> list[tuple[str, str]]:
        """Trainings of an experiment that are called running: their ids, and those of their runs in MLflow."""
        ...

    async def end_abandoned(
        self, training_run_id: str, status: str, at: datetime, error_type: str | None, message: str
    ) -> None:
        """Say how a training ended that did not come to say so itself."""
        ...

    async def add(self, row: Mapping[str, Any]) -> str:
        """Record a training that has ended; the same ``id`` again changes that one row."""
        ...

    async def link_mlflow_run(self, training_run_id: str, mlflow_run_id: str) -> None:
        """Say to which run of MLflow a training was logged, once it is out of the spool."""
        ...


class Studies(Protocol):
    """Where searches are kept; ``HPORepository`` in production."""

    async def save_study(self, study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
        """Store a study and its trials, or nothing, in place of what was known of the study of that name."""
        ...


@dataclass(frozen=True, slots=True)
class Records:
    """The tables that say what was trained."""

    experiments: Experiments
    training_runs: TrainingRuns
    studies: Studies


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """The agent's connections, the same for all its runs.

    ``rows`` are asked in their order. ``connector``, ``patterns`` and ``records`` are None where there is no MLflow,
    no memory of earlier searches or no database; what is then not kept is named in the result.
    """

    rows: Sequence[TrainingRows]
    optimizer: OptimizerFactory
    connector: MLflowConnector | None = None
    patterns: HPOPatternMemory | None = None
    records: Records | None = None
    executor: ExecutorFactory = open_executor
    clock: Callable[[], datetime] = utc_now


@dataclass(slots=True)
class Training:
    """Rows, fitted parts and open connections of one run, in this process.

    ``id`` is that of its row in ``ml_training_runs``. ``rows``: raw rows with a target by split; ``labelled``: the
    same as the model sees them. ``study`` is Optuna's, None without a search, and ``tried_before`` the number of its
    trials when it was opened. ``failure`` is what ended the run early.
    """

    started_at: datetime
    id: str = field(default_factory=lambda: str(uuid7()))
    source: TrainingRows | None = None
    rows: dict[str, SplitRows] = field(default_factory=dict)
    coding: TargetCoding | None = None
    transforms: FittedTransforms | None = None
    labelled: dict[str, Labelled] = field(default_factory=dict)
    optimizer: OptunaOptimizer | None = None
    study: Any = None
    tried_before: int = 0
    trials: tuple[TrialRecord, ...] = ()
    model: FittedModel | None = None
    bundle: ModelBundle | None = None
    run: OpenRun | None = None
    failure: Exception | None = None


def services_of(deps: Deps) -> Services:
    """The services of the agent whose run this is."""
    return cast(Services, deps.workspace[PLACE])


def training_of(deps: Deps) -> Training:
    """What this run has made so far."""
    if TRAINING not in deps.workspace:
        deps.workspace[TRAINING] = Training(services_of(deps).clock())
    return cast(Training, deps.workspace[TRAINING])


def made(part: Any, what: str) -> Any:
    """``part``, which an earlier node put there; RuntimeError for a graph whose nodes ran in another order."""
    if part is None:
        raise RuntimeError(f"{what} was not made before it was needed")
    return part
