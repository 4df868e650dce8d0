"""Settle which steps the request comes to."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.result import Action, DeployRequest
from src.agents.ml_foundation.model_deployer.services import PLACE, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate, Plan
from src.agents.runtime import Deps, traced_node

FIRST, LAST = "validate_deployment_plan", "check_rollback_availability"
PROMOTION = ("validate_promotion", "promote_stage")
DEPLOYMENT = ("package_model", "containerize_model", "deploy_to_endpoint", "check_health")


@traced_node(PLACE, "plan_deployment")
async def plan_deployment(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The nodes to run. A rollback also replaces the endpoint, where the model is served from one."""
    request, services = state["request"], services_of(runtime.context)
    running = []
    if request.action is Action.ROLLBACK:
        running = await asyncio.to_thread(services.serving.running, request.model_name, request.environment)
    replaces = next((serving.name for serving in running if serving.role == "primary"), None)
    return {"plan": Plan(steps_of(request, replaces=replaces is not None), replaces)}


def steps_of(request: DeployRequest, *, replaces: bool = False) -> tuple[str, ...]:
    """Nodes of an action after the plan, in order."""
    registration = ("register_model",) if request.run_id is not None else ()
    promotion = PROMOTION if request.target_stage is not None else ()
    work = {
        Action.REGISTER: (*registration, *promotion),
        Action.PROMOTE: PROMOTION,
        Action.DEPLOY: (*registration, *promotion, *DEPLOYMENT),
        Action.ROLLBACK: ("execute_rollback", *(DEPLOYMENT if replaces else ())),
        Action.HEALTH: ("check_health",),
    }
    return (FIRST, *work[request.action], LAST)
