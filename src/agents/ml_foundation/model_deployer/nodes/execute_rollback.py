"""Put the champion before the present one back into production."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.result import Promotion
from src.agents.ml_foundation.model_deployer.services import PLACE, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import PromotionRefused


@traced_node(PLACE, "execute_rollback")
async def execute_rollback(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The version that is in production now. Raises PromotionRefused where there is none to go back to."""
    request = state["request"]
    registry = registry_of(services_of(runtime.context))
    if request.approval is None:
        raise PromotionRefused("a rollback needs the name of the person who approves it")
    moved = await registry.rollback(request.model_name, request.approval, to=request.version)
    if not moved:
        return {"promotion": Promotion(False, tuple(moved.reason.split("; ")))}
    champion = await registry.champion(request.model_name)
    if champion is None:
        raise PromotionRefused(f"model '{request.model_name}': another change took it out of production meanwhile")
    return {"promotion": Promotion(True), "version": champion.version, "stage": champion.stage.value}
