"""Does the estimate survive attempts to break it on the same rows?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.causal_impact.state import CausalImpactState, CausalImpactUpdate
from src.agents.causal_impact.workspace import compute, fitted_study
from src.agents.runtime import Deps, traced_node
from src.causal_engine.refutation.refute import refute
from src.errors import EstimationError


@traced_node("causal_impact", "refutation")
async def refute_estimate(state: CausalImpactState, runtime: Runtime[Deps]) -> CausalImpactUpdate:
    """Run the refutation tests with the same estimator and the run's seed."""
    held = await fitted_study(state, runtime.context)
    if held.fitted is None:
        raise EstimationError("there is no estimate to refute")
    report = await compute(
        refute,
        held.study,
        held.fitted,
        random_state=held.study.spec.random_state,
        negative_controls=held.study.spec.negative_controls,
    )
    return {"refutation": report}
