"""What do the nodes of model_selector work with, and where do they find it during a run?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from src.agents.ml_foundation.model_selector.result import SelectRequest
from src.agents.runtime import Deps
from src.agents.training_rows import SplitRows, TrainingRows
from src.errors import DataUnavailable
from src.mlops.mlflow_connector import MLflowConnector
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.types import FittedModel
from src.mlops.optuna.configuration import OptunaConfig, load_optuna_config

PLACE = "model_selector"
ROWS = "model_selector.rows"

Fit = Callable[..., FittedModel]


class Counts(Protocol):
    """Trainings of an algorithm by how they ended."""

    @property
    def completed(self) -> int: ...

    @property
    def failed(self) -> int: ...


class Recorded(Protocol):
    """A recorded training."""

    @property
    def mlflow_run_id(self) -> str | None: ...


class Trainings(Protocol):
    """What the database says of earlier trainings; ``TrainingRunRepository`` in production."""

    async def history(self, algorithm: str | None = None) -> Mapping[str, Counts]:
        """How trainings ended, by algorithm."""
        ...

    async def recent(self, *, experiment_id: str | None = None, limit: int = 50) -> Sequence[Recorded]:
        """The latest trainings."""
        ...


def shipped_config() -> OptunaConfig:
    """Search spaces, folds and metrics of ``config/optuna_config.yaml``."""
    return load_optuna_config().optuna


@dataclass(frozen=True, slots=True)
class Services:
    """The agent's connections, the same for all its runs.

    ``rows`` are asked in turn for training rows. ``connector`` and ``trainings`` are None where nothing is recorded.
    """

    rows: Sequence[TrainingRows] = ()
    connector: MLflowConnector | None = None
    trainings: Trainings | None = None
    config: OptunaConfig = field(default_factory=shipped_config)
    fit: Fit = fit_model


def services_of(deps: Deps) -> Services:
    """The services of the agent whose run this is."""
    return cast(Services, deps.workspace[PLACE])


async def training_rows(deps: Deps, request: SelectRequest) -> SplitRows | None:
    """The training split of the request's data, read once per run; None where no data is named.

    Raises DataUnavailable when no source has it.
    """
    if request.data is None:
        return None
    kept: dict[str, Any] = deps.workspace
    if ROWS not in kept:
        for source in services_of(deps).rows:
            if (found := await source.load(request.data, "train")) is not None:
                kept[ROWS] = found
                break
        else:
            raise DataUnavailable(f"no source of rows has '{request.data.dataset_id}'; load it, or leave data out")
    return cast(SplitRows, kept[ROWS])
