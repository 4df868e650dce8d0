"""Build the folder a version is served from: model, preprocessing, signature, requirements, and a digest over all."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.nodes.validate_deployment_plan import check_environment
from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.result import Package
from src.agents.ml_foundation.model_deployer.services import PLACE, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import ServiceOutage
from src.mlops.mlflow_connector import MLflowConnector, ModelVersion
from src.mlops.serving.package import Manifest, build_package
from src.mlops.serving.stored_models import contents_of
from src.resilience.outcomes import Unavailable

BUNDLE = "bundle"


@traced_node(PLACE, "package_model")
async def package_model(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The package below ``packages/<model>/<version>``; the same version gives the same digest every time.

    Raises ServiceOutage while the MLflow store is away, ContractViolation for a model that is no bundle,
    PromotionRefused for a version whose stage does not allow the environment.
    """
    services, request = services_of(runtime.context), state["request"]
    version = await registry_of(services).version(request.model_name, state["version"])
    check_environment(request, version)
    folder = services.packages / version.name / str(version.version) / BUNDLE
    with tempfile.TemporaryDirectory(prefix="e2i-package-") as scratch:
        manifest = await _built(services.connector, version, Path(scratch) / "model", folder)
    return {"package": Package(str(folder), manifest.digest)}


async def _built(connector: MLflowConnector, version: ModelVersion, copied: Path, folder: Path) -> Manifest:
    there = await connector.download_model(version.uri, copied)
    if isinstance(there, Unavailable):
        raise ServiceOutage(f"{there.component}: {there.reason}")
    contents = await asyncio.to_thread(contents_of, there, version.name, version.version, version.run_id)
    return await asyncio.to_thread(build_package, there, contents, folder)
