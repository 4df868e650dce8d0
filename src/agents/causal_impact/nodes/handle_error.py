"""What can still be said when a step refused?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.causal_impact.nodes.interpret_results import evidence_of
from src.agents.causal_impact.state import CausalImpactState, CausalImpactUpdate
from src.agents.runtime import Deps, traced_node
from src.causal_engine.conclusion import conclude


@traced_node("causal_impact", "error_handler")
async def handle_error(state: CausalImpactState, runtime: Runtime[Deps]) -> CausalImpactUpdate:
    """Conclude as far as the results go; without an estimation outcome the error stands alone."""
    if "outcome" not in state:
        return {}
    return {"conclusion": conclude(evidence_of(state))}
