"""A small model with its preprocessing, stored folders of it, and a registry in a store of its own."""

from __future__ import annotations

import asyncio
import functools
import shutil
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from src.agents.ml_foundation.model_deployer.result import Approval, ShadowEvidence
from src.domain.modelling import ProblemType
from src.errors import ModelNotFound
from src.mlops.mlflow.models import save_model
from src.mlops.mlflow_connector import Evidence, MLflowConnector, ModelVersion
from src.mlops.modelling.bundle import BUNDLE_FLAVOR, ModelBundle
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.targets import fit_target
from src.mlops.modelling.types import Labelled
from src.mlops.preparation.transforms import fit_transforms
from src.mlops.serving.endpoints import Serving
from src.mlops.serving.mirror import Observed
from src.resilience.outcomes import Unavailable
from src.settings import var_dir
from tests.mlflow_store import configuration, new_store

Found = TypeVar("Found")

NAME = "e2i_adoption_logistic_regression"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FEATURES = ("visits", "segment")
SEEN = ShadowEvidence(24.5, 5_000, 0.001, 80.0)
GOOD = {"test_roc_auc": 0.9, "test_samples": 5_000.0, "test_brier_score": 0.12, "test_pr_auc": 0.7}
GOOD |= {"test_fairness_gap_segment": 0.25}


def approval(*waives: str, by: str = "Jane Doe", why: str = "reviewed with the brand team") -> Approval:
    """Somebody's consent."""
    return Approval(by, why, NOW, frozenset(waives))


def raw_rows(n: int = 200) -> pd.DataFrame:
    """Rows with the features and the target ``bought``."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"visits": rng.poisson(3, n).astype(float), "segment": rng.choice(["a", "b"], n)})
    return frame.assign(bought=np.where(frame["visits"] + rng.normal(size=n) > 3, "yes", "no"))


@functools.cache
def bundle() -> ModelBundle:
    """A fitted logistic regression with everything it needs to predict from raw rows."""
    frame = raw_rows()
    transforms = fit_transforms(frame, pd.Series("train", index=frame.index), list(FEATURES))
    coding = fit_target(frame["bought"], ProblemType.BINARY, "yes")
    rows = Labelled(transforms.apply(frame), coding.encode(frame["bought"]))
    model = fit_model("logistic_regression", ProblemType.BINARY, {}, rows)
    return ModelBundle(transforms, model, coding, "bought", 0.5)


@functools.cache
def model_folder() -> Path:
    """The bundle as MLflow stores it."""
    folder = var_dir() / "stored-bundle"
    save_model(bundle(), BUNDLE_FLAVOR, folder, signature=None, input_example=None)
    return folder


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, hours: float) -> None:
        self.now += timedelta(hours=hours)


@functools.cache
def _filled() -> tuple[Path, tuple[str, ...]]:
    """A store with three runs that hold the bundle and good figures, made once per process."""
    folder = var_dir() / "deployer-template"

    async def fill() -> tuple[str, ...]:
        connector = MLflowConnector(new_store(folder), config_path=configuration(folder))
        runs = []
        for _ in range(3):
            async with connector.start_run() as run:
                await run.log_metrics(GOOD)
                await run.log_model(bundle(), flavor=BUNDLE_FLAVOR)
            runs.append(str(run.run_id))
        return tuple(runs)

    return folder, _in_a_loop_of_its_own(fill())


@functools.cache
def _crowned(champions: int) -> tuple[Path, tuple[str, ...]]:
    """The filled store in which the first ``champions`` runs came into production, one after the other."""
    template, runs = _filled()
    folder, clock = var_dir() / f"deployer-champions-{champions}", Clock()
    folder.mkdir(parents=True)
    shutil.copyfile(template / "mlflow.db", folder / "mlflow.db")
    connector = MLflowConnector(f"sqlite:///{folder / 'mlflow.db'}", config_path=configuration(folder), now=clock)
    seen = Evidence(requests=float(SEEN.requests), error_rate=SEEN.error_rate, p99_ms=SEEN.p99_ms)

    async def crown() -> None:
        for number, run in enumerate(runs[:champions], start=1):
            assert (await connector.register_model(run, NAME)).persisted
            for stage in ("staging", "shadow", "production"):
                clock.forward(hours=25)
                moved = await connector.transition_model_stage(NAME, number, stage, approval="Jane Doe", evidence=seen)
                assert moved, moved.reason

    _in_a_loop_of_its_own(crown())
    return folder, runs


def _in_a_loop_of_its_own(work: Coroutine[Any, Any, Found]) -> Found:
    """Run ``work`` in a thread: whoever asks first may stand in a running loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@dataclass
class Store:
    """An MLflow store of the test's own, and the runs it holds."""

    connector: MLflowConnector
    runs: tuple[str, ...]
    clock: Clock

    async def version(self, run: int = 0) -> int:
        """Register the model of a run, without the database."""
        made = await self.connector.register_model(self.runs[run], NAME)
        assert isinstance(made, ModelVersion)
        return made.version

    async def stage(self, version: int) -> str:
        found = await self.connector.get_model_versions(NAME)
        assert not isinstance(found, Unavailable)
        return next(v.stage.value for v in found if v.version == version)

    async def champion(self) -> int | None:
        found = await self.connector.get_latest_model_version(NAME, "production")
        assert not isinstance(found, Unavailable)
        return None if found is None else found.version


def store(folder: Path, *, champions: int = 0, **changes: Any) -> Store:
    """A copy of the filled store; ``champions`` of its runs came into production, the last one is there now."""
    template, runs = _crowned(champions) if champions else _filled()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template / "mlflow.db", folder / "mlflow.db")
    clock = Clock()
    clock.forward(hours=1_000 if champions else 0)
    file = configuration(folder, **changes)
    return Store(MLflowConnector(f"sqlite:///{folder / 'mlflow.db'}", config_path=file, now=clock), runs, clock)


@dataclass
class Row:
    """What the database would keep of a version."""

    id: str
    model_version: str
    stage: str = "development"
    is_champion: bool = False
    approved_by: str | None = None
    evidence: Mapping[str, Any] | None = None


class Rows:
    """Registry rows in a dictionary; ``failure`` is raised by the next move."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.failure: Exception | None = None

    async def register(self, model_name: str, version: int | str, **evidence: Any) -> str:
        row = self.rows.setdefault((model_name, str(version)), Row(f"row-{version}", str(version)))
        row.evidence = evidence
        return row.id

    async def move_stage(
        self,
        model_name: str,
        version: int | str,
        stage: str,
        *,
        approved_by: str | None = None,
        archive_existing: bool = True,
    ) -> Row:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        if (model_name, str(version)) not in self.rows:
            raise ModelNotFound(f"no version {version}")
        for row in self.rows.values():
            if stage == "production" and row.is_champion:
                row.stage, row.is_champion = "archived", False
        row = self.rows[model_name, str(version)]
        row.stage, row.is_champion, row.approved_by = stage, stage == "production", approved_by or row.approved_by
        return row

    def as_in(self, champions: int) -> None:
        """Rows of the versions that came into production, the last one being there now."""
        for number in range(1, champions + 1):
            last = number == champions
            row = Row(f"row-{number}", str(number), "production" if last else "archived", last, "Jane Doe")
            self.rows[NAME, str(number)] = row

    async def versions(self, model_name: str) -> list[Row]:
        return [row for (name, _), row in self.rows.items() if name == model_name]


class DeploymentRows:
    """Deployments in a list."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    async def add(self, row: Mapping[str, Any]) -> str:
        self.rows.append({"id": f"deployment-{len(self.rows)}", "endpoint_name": None, **row})
        return str(self.rows[-1]["id"])

    async def update(self, deployment_id: str, **values: Any) -> None:
        if not values:
            raise ValueError("update needs at least one value")
        next(row for row in self.rows if row["id"] == deployment_id).update(values)

    async def active(self, model_name: str, environment: str | None = None) -> list[Any]:
        @dataclass
        class Active:
            id: str
            strategy: str
            endpoint_name: str | None

        return [
            Active(row["id"], row["strategy"], row["endpoint_name"])
            for row in reversed(self.rows)
            if row["status"] == "active" and row["environment"] == environment
        ]


class Endpoints:
    """Endpoints in a dictionary; ``refuses`` says why none can be started."""

    def __init__(self) -> None:
        self.there: dict[str, Serving] = {}
        self.refuses: str | None = None
        self.seen: Observed | None = None
        self.mirrored: list[tuple[str, str]] = []
        self.said: Callable[[Serving], Mapping[str, Any] | Unavailable] = answer

    def start(self, package: Path, *, environment: str, role: Any, port: int | None) -> Serving | Unavailable:
        from src.mlops.serving.endpoints import endpoint_name
        from src.mlops.serving.package import read_package

        if self.refuses is not None:
            return Unavailable("serving", self.refuses)
        of = read_package(package)
        name = endpoint_name(of.model_name, environment, of.version)
        url = f"http://127.0.0.1:{port or 9000 + of.version}"
        self.there[name] = Serving(name, of.model_name, of.version, of.digest, environment, role, url, 1, NOW)
        return self.there[name]

    def stop(self, name: str) -> bool:
        return self.there.pop(name, None) is not None

    def running(self, model_name: str, environment: str) -> list[Serving]:
        return [s for s in self.there.values() if (s.model_name, s.environment) == (model_name, environment)]

    def health(self, serving: Serving) -> Mapping[str, Any] | Unavailable:
        return self.said(serving)

    def mirror(self, primary: Serving, shadow: Serving) -> None:
        self.mirrored.append((primary.name, shadow.name))

    def observed(self, model_name: str, version: int) -> Observed | None:
        return self.seen


def answer(serving: Serving, **changes: Any) -> dict[str, Any]:
    """What a healthy endpoint says."""
    latency = {"p50": 2.0, "p95": 5.0, "p99": 9.0}
    figures = {"uptime_s": 3.0, "requests": 100, "errors": 0, "latency_ms": latency}
    return {"version": serving.version, "digest": serving.digest, **figures, **changes}
