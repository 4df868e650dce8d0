"""Say why there is no explanation."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.explainer.phrasing import sentence
from src.agents.explainer.state import ExplainerState, ExplainerUpdate, Explanation, Section
from src.agents.runtime import Deps, traced_node


@traced_node("explainer", "error_handler")
async def handle_error(state: ExplainerState, runtime: Runtime[Deps]) -> ExplainerUpdate:
    """The reason as the whole text: no finding is put in the place of a missing one."""
    told = sentence(state["error"].message)
    return {"explanation": Explanation(told, told, (Section("Not answered", (told,)),), (), (), "template")}
