"""What came out, in one line, and what should be known about it?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.services import PLACE
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node


@traced_node(PLACE, "create_summary")
async def create_summary(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """One line for logs and spans; reservations of the gate go along as warnings."""
    primary = state["primary"]
    summary = f"{primary.algorithm} ({primary.score:.2f}) of {1 + len(state['alternatives'])} candidates"
    return {"summary": summary, "warnings": tuple(f"gate: {line}" for line in state["gate"].warnings)}
