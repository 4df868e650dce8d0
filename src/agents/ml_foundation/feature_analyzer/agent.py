"""Which features are worth having, and what does a model make of them? Selection, SHAP and a narrative."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.feature_analyzer.graph import AnalyzeGraph, Part, build_graph
from src.agents.ml_foundation.feature_analyzer.request import request_from
from src.agents.ml_foundation.feature_analyzer.result import AnalyzeRequest, AnalyzeResult, Removed
from src.agents.ml_foundation.feature_analyzer.services import PLACE, WORK, Services, Work
from src.agents.results import meta_of
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.errors import ContractViolation


class FeatureAnalyzerAgent:
    """Derives and selects features on training rows, explains a model by SHAP, and says what it found."""

    agent_name = PLACE
    agent_type = "hybrid"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, sla_seconds: float | None = None) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = services
        self._graphs: dict[Part, AnalyzeGraph] = {}

    async def run(
        self, request: AnalyzeRequest | Mapping[str, Any], deps: Deps, *, part: Part = "all"
    ) -> AnalyzeResult:
        """Analyse what ``request`` names: all, or only the engineering of features or the explanation of a model.

        What cannot be done is ``error`` in the result. Raises ContractViolation, before anything is read, for a
        request that is not valid or an explanation without a model. Exceptions other than E2IError leave unchanged.
        """
        started, began = datetime.now(UTC), time.monotonic()
        work = Work()
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services, WORK: work})
        async with deps.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id) as span:
            asked = request_from(request)
            if part == "explanation" and asked.model_uri is None:
                raise ContractViolation("an explanation needs a model; name it as model_uri")
            span.set_attribute("experiment_id", asked.experiment_id)
            state = await self._graph(part).ainvoke({"request": asked}, context=own)
            result = self._result(state, work, deps.trace_id, started, time.monotonic() - began)
            span.set_attribute("status", result.meta.status)
        return result

    def _graph(self, part: Part) -> AnalyzeGraph:
        if part not in self._graphs:
            self._graphs[part] = build_graph(part)
        return self._graphs[part]

    def _result(self, state: Any, work: Work, trace_id: str, started: datetime, seconds: float) -> AnalyzeResult:
        error: NodeError | None = state.get("error")
        return AnalyzeResult(
            selected=state.get("selected", ()),
            generated=state.get("generated", ()),
            removed=state.get("removed", Removed()),
            shap=state.get("shap"),
            interactions=state.get("interactions", ()),
            narrative=state.get("narrative"),
            plots=dict(work.plots),
            analysis_id=state.get("analysis_id"),
            error=error,
            meta=meta_of(
                PLACE,
                state,
                error,
                trace_id=trace_id,
                started=started,
                seconds=seconds,
                budget_s=self.sla_seconds,
            ),
        )
