"""."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.runtime import Deps, traced_node
from src.agents.tool_composer.state import ComposerState, ComposerUpdate


@traced_node("tool_composer", "execute")
async def execute_plan(state: ComposerState, runtime: Runtime[Deps]) -> ComposerUpdate:
    """."""
    raise NotImplementedError
