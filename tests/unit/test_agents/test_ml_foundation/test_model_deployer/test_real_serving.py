"""A version's way from its run to a served, observed, replaced and restored model, on real parts only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.agents.ml_foundation.model_deployer.agent import ModelDeployerAgent
from src.agents.ml_foundation.model_deployer.result import Action, DeployRequest, DeployResult
from src.agents.ml_foundation.model_deployer.services import Services
from src.agents.runtime import Deps
from src.mlops.serving import endpoints
from src.mlops.serving.endpoints import Serving, predict_rows
from src.mlops.serving.local import LocalServing
from src.mlops.tracing.ids import uuid7
from src.storage.database import Database
from src.storage.deployments import DeploymentRepository
from src.storage.experiments import ExperimentRepository
from src.storage.model_registry import ModelRegistryRepository
from src.storage.postgres_gateway import PostgresGateway
from tests.traces import memory_connector

from .parts import FEATURES, NAME, approval, bundle, raw_rows, store
from .test_agent import NoDatasets

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LENIENT = {"stages": {"production": {"shadow": {"min_requests": 5, "max_p99_ms": 60_000}}}}


@pytest.fixture
def _no_endpoint_left() -> Iterator[None]:
    yield
    for serving in endpoints.running_endpoints(NAME):
        endpoints.stop_endpoint(serving.name)


def served_version() -> list[int]:
    return [serving.version for serving in endpoints.running_endpoints(NAME, "production")]


def primary() -> Serving:
    return next(serving for serving in endpoints.running_endpoints(NAME, "production") if serving.role == "primary")


@pytest.mark.usefixtures("_no_endpoint_left")
async def test_the_whole_life_of_two_versions(tmp_path: Path, db: Database) -> None:
    there = store(tmp_path / "mlflow", registry=LENIENT)
    gateway = PostgresGateway(db)
    rows, deployments = ModelRegistryRepository(gateway), DeploymentRepository(gateway)
    experiment = await ExperimentRepository(gateway).ensure(
        "adoption", mlflow_experiment_id="1", prediction_target="bought"
    )
    services = Services(
        there.connector,
        rows,
        deployments,
        serving=LocalServing(start_timeout_s=120),
        packages=tmp_path / "packages",
        clock=there.clock,
    )
    tracer, _ = memory_connector()

    async def run(action: str, **given: object) -> DeployResult:
        deps = Deps(NoDatasets(), tracer, str(uuid7()), str(uuid7()))
        asked = DeployRequest(Action(action), NAME, **given)  # type: ignore[arg-type]
        there.clock.forward(hours=1)
        return await ModelDeployerAgent(services, sla_seconds=600).run(asked, deps)

    for number, run_id in enumerate(there.runs[:2], start=1):
        made = await run("register", run_id=run_id, experiment_id=experiment, algorithm="logistic_regression")
        assert made.registered is not None
        assert made.registered.version == number

    assert (await run("promote", version=1, target_stage="staging")).overall == "completed"
    skipped = await run("promote", version=1, target_stage="production", approval=approval("shadow"))
    assert skipped.overall == "completed", skipped
    first = await run("deploy", version=1, environment="production")
    assert first.overall == "completed", first
    frame = raw_rows()[list(FEATURES)].head(3)
    assert predict_rows(primary(), frame.to_dict("records")) == bundle().predict(frame).to_dict("records")

    for stage in ("staging", "shadow"):
        assert (await run("promote", version=2, target_stage=stage)).overall == "completed"
    shadow = await run("deploy", version=2, environment="production", strategy="shadow")
    assert shadow.overall == "completed", shadow
    assert served_version() == [1, 2]
    for _ in range(8):
        predict_rows(primary(), frame.to_dict("records"))
    seen = LocalServing().observed(NAME, 2)
    for _ in range(200):
        if seen is not None and seen.requests == 8:
            break
        await asyncio.sleep(0.05)
        seen = LocalServing().observed(NAME, 2)
    assert seen is not None
    assert (seen.requests, seen.error_rate) == (8, 0.0)

    there.clock.forward(hours=25)
    crowned = await run("promote", version=2, target_stage="production", approval=approval())
    assert crowned.overall == "completed", crowned
    second = await run("deploy", version=2, environment="production")
    assert second.overall == "completed", second
    assert served_version() == [2]

    back = await run("rollback", environment="production", approval=approval(why="errors rise"))
    assert back.overall == "completed", back
    assert served_version() == [1]
    assert await there.champion() == 1
    champion = await rows.champion(NAME)
    assert champion is not None
    assert champion.model_version == "1"
    statuses = [deployment.status for deployment in await deployments.history(NAME)]
    assert statuses[:2] == ["active", "rolled_back"]
