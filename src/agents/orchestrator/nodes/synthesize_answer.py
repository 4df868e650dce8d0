"""."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.orchestrator.state import OrchestratorState, OrchestratorUpdate
from src.agents.runtime import Deps, traced_node


@traced_node("orchestrator", "synthesize")
async def synthesize_answer(state: OrchestratorState, runtime: Runtime[Deps]) -> OrchestratorUpdate:
    """."""
    raise NotImplementedError
