"""What does the answer say, in words a brand manager reads?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.causal_impact.state import CausalImpactState, CausalImpactUpdate
from src.agents.runtime import Deps, traced_node
from src.causal_engine.conclusion import Evidence, conclude


def evidence_of(state: CausalImpactState) -> Evidence:
    """All results of a run as the evidence for its conclusion."""
    return Evidence(
        spec=state["request"].spec,
        identification=state["identification"],
        outcome=state["outcome"],
        refutation=state.get("refutation"),
        sensitivity=state.get("sensitivity"),
    )


@traced_node("causal_impact", "interpretation")
async def interpret_results(state: CausalImpactState, runtime: Runtime[Deps]) -> CausalImpactUpdate:
    """Conclude from estimate, refutation and sensitivity."""
    return {"conclusion": conclude(evidence_of(state))}
