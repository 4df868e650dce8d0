"""Find out, before anything is changed, whether the plan can be carried out at all."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.result import Action, DeployRequest
from src.agents.ml_foundation.model_deployer.services import PLACE, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import PromotionRefused
from src.mlops.mlflow_connector import ModelStage, ModelVersion

SERVED_STAGES = {
    "development": frozenset(ModelStage) - {ModelStage.ARCHIVED},
    "staging": frozenset({ModelStage.STAGING, ModelStage.SHADOW, ModelStage.PRODUCTION}),
    "production": frozenset({ModelStage.PRODUCTION}),
}


@traced_node(PLACE, "validate_deployment_plan")
async def validate_deployment_plan(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The version the request is about, where it exists already, and its stage.

    Raises ModelNotFound, and PromotionRefused for a version whose stage does not allow the environment.
    """
    request = state["request"]
    if "register_model" in state["plan"].steps or request.action in (Action.ROLLBACK, Action.HEALTH):
        return {}
    version = await registry_of(services_of(runtime.context)).version(request.model_name, request.version)
    if request.action is Action.DEPLOY and request.target_stage is None:
        check_environment(request, version)
    return {"version": version.version, "stage": version.stage.value}


def check_environment(request: DeployRequest, version: ModelVersion) -> None:
    """Raise PromotionRefused when a version of that stage may not be served in the environment."""
    allowed = SERVED_STAGES[request.environment]
    if request.strategy == "shadow":
        allowed |= {ModelStage.SHADOW}
    if version.stage not in allowed:
        raise PromotionRefused(
            f"version {version.version} of '{version.name}' is in {version.stage}; {request.environment} serves only "
            f"{' or '.join(sorted(allowed))}: promote it first"
        )
