"""Register the model of a run as a new version, in MLflow and in the database."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.result import Registered
from src.agents.ml_foundation.model_deployer.services import PLACE, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node


@traced_node(PLACE, "register_model")
async def register_model(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The version; registering the same run again gives the same one."""
    version, _ = await registry_of(services_of(runtime.context)).register(state["request"])
    return {
        "registered": Registered(version.name, version.version),
        "version": version.version,
        "stage": version.stage.value,
    }
