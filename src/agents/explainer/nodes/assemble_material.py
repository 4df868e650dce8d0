"""Collect what is to be told, the most important first."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.explainer.material import material_of
from src.agents.explainer.state import ExplainerState, ExplainerUpdate
from src.agents.runtime import Deps, traced_node


@traced_node("explainer", "assemble")
async def assemble_material(state: ExplainerState, runtime: Runtime[Deps]) -> ExplainerUpdate:
    """The material, and what was left out of it. Raises DataUnavailable where no agent answered, saying why."""
    material = material_of(state["request"])
    return {"material": material, "degraded": material.left_out}
