"""Is there a way from the version's stage to the one that is wished for?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.services import PLACE, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node


@traced_node(PLACE, "validate_promotion")
async def validate_promotion(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The stage the version is in. Raises PromotionRefused where there is no way."""
    request = state["request"]
    registry = registry_of(services_of(runtime.context))
    version = await registry.check(request.model_name, state["version"], str(request.target_stage), request.approval)
    return {"stage": version.stage.value}
