"""How strong must a hidden common cause be to explain the estimate away?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.causal_impact.state import CausalImpactState, CausalImpactUpdate
from src.agents.causal_impact.workspace import compute, fitted_study
from src.agents.runtime import Deps, traced_node
from src.causal_engine.sensitivity.report import sensitivity_report
from src.errors import EstimationError


@traced_node("causal_impact", "sensitivity")
async def analyze_sensitivity(state: CausalImpactState, runtime: Runtime[Deps]) -> CausalImpactUpdate:
    """Benchmark hidden confounding against the measured confounders."""
    held = await fitted_study(state, runtime.context)
    if held.fitted is None:
        raise EstimationError("there is no estimate to examine")
    report = await compute(sensitivity_report, held.study, held.fitted.estimate, state["identification"].design)
    return {"sensitivity": report}
