"""What is the effect on the caller's own rows?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.causal_impact.state import CausalImpactState, CausalImpactUpdate
from src.agents.causal_impact.workspace import compute, rows
from src.agents.runtime import Deps, traced_node
from src.causal_engine import estimation


@traced_node("causal_impact", "estimation")
async def estimate_effect(state: CausalImpactState, runtime: Runtime[Deps]) -> CausalImpactUpdate:
    """Estimate with the design's estimator; keep the fitted model for the refutation tests."""
    request, deps = state["request"], runtime.context
    frame = await rows(request, deps)
    outcome, fitted = await compute(
        estimation.estimate_effect,
        frame,
        request.spec,
        state["identification"],
        on_progress=deps.on_progress,
        selected_by=tuple(condition.column for condition in request.filters),
    )
    deps.workspace["fitted"] = fitted
    return {"outcome": outcome}
