"""Say in words what was found, and keep the analysis."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from src.agents.ml_foundation.feature_analyzer.facts import facts_of
from src.agents.ml_foundation.feature_analyzer.narration import narrate
from src.agents.ml_foundation.feature_analyzer.result import Narrative
from src.agents.ml_foundation.feature_analyzer.services import PLACE, services_of
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState, AnalyzeUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import DatabaseUnavailable

TOP = 10


@traced_node(PLACE, "narrate_importance")
async def narrate_importance(state: AnalyzeState, runtime: Runtime[Deps]) -> AnalyzeUpdate:
    """The narrative, by a language model or a template, and the id of the stored analysis.

    Without a database there is no id, and the result says so. Raises ContractViolation for an unknown training run.
    """
    services, deps = services_of(runtime.context), runtime.context
    span = deps.tracer.current_span()
    told = await narrate(services, facts_of(state))
    if span is not None:
        if told.prompt is not None:
            span.prompt_versions = {told.prompt.component: told.prompt.version}
            span.set_attribute("prompt_sha256", told.prompt.fingerprint)
        if told.degraded:
            span.set_fallback(("llm", "template"))
    update: AnalyzeUpdate = {
        "narrative": told.narrative,
        "warnings": told.warnings,
        "degraded": told.degraded,
        "analysis_id": None,
    }
    if "shap" not in state:
        return update
    try:
        return update | {"analysis_id": await services.analyses.add(row_of(state, told.narrative, deps.trace_id))}
    except DatabaseUnavailable as error:
        return update | {"degraded": (*told.degraded, f"the analysis is not stored: {error}")}


def row_of(state: AnalyzeState, narrative: Narrative, trace_id: str) -> dict[str, Any]:
    """A row of ml_shap_analyses: aggregates only."""
    request, shap = state["request"], state["shap"]
    return {
        "training_run_id": request.training_run_id,
        "model_uri": request.model_uri,
        "explainer_type": shap.explainer,
        "sample_size": shap.n_rows,
        "base_value": shap.base_value,
        "global_importance": {one.feature: one.mean_abs for one in shap.ranked},
        "top_features": [
            {"feature": one.feature, "mean_abs": one.mean_abs, "direction": one.direction} for one in shap.ranked[:TOP]
        ],
        "interactions": [
            {"a": pair.a, "b": pair.b, "strength": pair.strength, "method": pair.method}
            for pair in state.get("interactions", ())
        ],
        "narrative": "\n".join([narrative.summary, *narrative.key_insights, *narrative.cautions]),
        "narrative_source": narrative.source,
        "trace_id": trace_id,
    }
