"""."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.explainer.state import ExplainerState, ExplainerUpdate
from src.agents.runtime import Deps, traced_node


@traced_node("explainer", "generate")
async def generate_explanation(state: ExplainerState, runtime: Runtime[Deps]) -> ExplainerUpdate:
    """."""
    raise NotImplementedError
