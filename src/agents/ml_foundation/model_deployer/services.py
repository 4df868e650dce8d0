"""What do the nodes of model_deployer work with, and where do they find it during a run?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

from src.agents.runtime import Deps
from src.mlops.mlflow_connector import MLflowConnector
from src.mlops.serving.endpoints import Role, Serving
from src.mlops.serving.local import LocalServing
from src.mlops.serving.mirror import Observed
from src.resilience.outcomes import Unavailable
from src.settings import var_dir

PLACE = "model_deployer"


class RegistryRow(Protocol):
    """A row of ``ml_model_registry``."""

    @property
    def id(self) -> str: ...

    @property
    def model_version(self) -> str: ...

    @property
    def stage(self) -> str: ...

    @property
    def is_champion(self) -> bool: ...


class RegistryRows(Protocol):
    """What the database says of registered versions; ``ModelRegistryRepository`` in production."""

    async def register(
        self,
        model_name: str,
        version: int | str,
        *,
        experiment_id: str,
        algorithm: str,
        mlflow_run_id: str | None = None,
        mlflow_model_uri: str | None = None,
        **evidence: Any,
    ) -> str:
        """Keep a version; the same again completes the row. Returns the row's id."""
        ...

    async def move_stage(
        self,
        model_name: str,
        version: int | str,
        stage: str,
        *,
        approved_by: str | None = None,
        archive_existing: bool = True,
    ) -> RegistryRow:
        """Say at which stage a version is. Raises ModelNotFound."""
        ...

    async def versions(self, model_name: str) -> list[Any]:
        """Rows of a model."""
        ...


class TrainingRuns(Protocol):
    """What is needed of the trainings' rows; ``TrainingRunRepository`` in production."""

    async def link_model(self, training_run_id: str, model_registry_id: str) -> None:
        """Say which version a training gave."""
        ...


class DeploymentRow(Protocol):
    """A row of ``ml_deployments``."""

    @property
    def id(self) -> str: ...

    @property
    def strategy(self) -> str: ...

    @property
    def endpoint_name(self) -> str | None: ...


class Deployments(Protocol):
    """What was and is served; ``DeploymentRepository`` in production."""

    async def add(self, row: Mapping[str, Any]) -> str:
        """Keep a deployment and return its id."""
        ...

    async def update(self, deployment_id: str, **values: Any) -> None:
        """Change columns of a deployment."""
        ...

    async def active(self, model_name: str, environment: str | None = None) -> list[Any]:
        """Deployments that serve now, newest first."""
        ...


class ServingAdapter(Protocol):
    """Where models are served; ``LocalServing`` here. Calls block, so they run in a thread."""

    def start(self, package: Path, *, environment: str, role: Role, port: int | None) -> Serving | Unavailable:
        """Serve a package; returns once it answers."""
        ...

    def stop(self, name: str) -> bool:
        """End an endpoint; whether there was one."""
        ...

    def running(self, model_name: str, environment: str) -> list[Serving]:
        """Endpoints that live."""
        ...

    def health(self, serving: Serving) -> Mapping[str, Any] | Unavailable:
        """What an endpoint says of itself."""
        ...

    def mirror(self, primary: Serving, shadow: Serving) -> None:
        """Copy the requests of one endpoint to the other."""
        ...

    def observed(self, model_name: str, version: int) -> Observed | None:
        """What was seen of a version in shadow."""
        ...


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def packages_folder() -> Path:
    """Where packages are built."""
    return var_dir() / "packages"


@dataclass(frozen=True, slots=True)
class Services:
    """The agent's connections, the same for all its runs. ``trainings`` is None where no training row is linked."""

    connector: MLflowConnector
    rows: RegistryRows
    deployments: Deployments
    trainings: TrainingRuns | None = None
    serving: ServingAdapter = field(default_factory=LocalServing)
    packages: Path = field(default_factory=packages_folder)
    clock: Callable[[], datetime] = utc_now


def services_of(deps: Deps) -> Services:
    """The services of the agent whose run this is."""
    return cast(Services, deps.workspace[PLACE])
