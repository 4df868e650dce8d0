"""Is there a version to go back to?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.result import Rollback
from src.agents.ml_foundation.model_deployer.services import PLACE, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node


@traced_node(PLACE, "check_rollback_availability")
async def check_rollback_availability(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The champion before the present one, where the registry still has it."""
    registry = registry_of(services_of(runtime.context))
    previous = await registry.previous_champion(state["request"].model_name)
    return {"rollback": Rollback(previous is not None, previous.version if previous is not None else None)}
