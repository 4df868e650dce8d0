"""Which agents are asked, in which order and for how long?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.orchestrator.routing import dispatches_for
from src.agents.orchestrator.services import services_of
from src.agents.orchestrator.state import OrchestratorState, OrchestratorUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import ContractViolation


@traced_node("orchestrator", "route")
async def plan_route(state: OrchestratorState, runtime: Runtime[Deps]) -> OrchestratorUpdate:
    """A dispatch for each part of the question."""
    services, classified = services_of(runtime.context), state.get("classification")
    if classified is None or not classified.parts:
        raise ContractViolation("a question without parts cannot be routed")
    planned = dispatches_for(
        classified,
        services.vocabulary,
        services.specialists.keys(),
        services.budgets,
        documents=services.contexts is not None,
    )
    return {"dispatches": planned}
