"""How are findings told to a reader? The agent that puts them into words without adding to them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from src.agents.configuration import load_agents_config
from src.agents.explainer.graph import ExplainerGraph, build_graph
from src.agents.explainer.request import request_from
from src.agents.explainer.services import PLACE, Services
from src.agents.explainer.state import ExplainRequest, Explanation, Section, Visual
from src.agents.results import AgentMeta, meta_of
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.domain.findings import Insight


@dataclass(frozen=True, slots=True)
class ExplainResult:
    """The explanation; ``source`` is llm or template.

    ``summary`` is the answer in a few sentences, ``detail`` the whole text, which begins with it.
    """

    summary: str
    detail: str
    sections: tuple[Section, ...]
    insights: tuple[Insight, ...]
    visuals: tuple[Visual, ...]
    follow_ups: tuple[str, ...]
    source: str
    prompt_versions: Mapping[str, int]
    error: NodeError | None
    meta: AgentMeta


@cache
def _compiled() -> ExplainerGraph:
    """The graph of this process: it holds nothing of a run."""
    return build_graph()


class ExplainerAgent:
    """Runs the explainer graph."""

    agent_name = PLACE
    agent_type = "deep"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, sla_seconds: float | None = None) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = services
        self._graph = _compiled()

    async def run(self, request: ExplainRequest | Mapping[str, Any], deps: Deps) -> ExplainResult:
        """Explain. What cannot be done is ``error`` in the result, and the text says why.

        Raises ContractViolation for a request that is not valid. Exceptions other than E2IError leave unchanged.
        """
        started, began = datetime.now(UTC), time.monotonic()
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services})
        async with deps.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id) as span:
            asked = request_from(request)
            span.set_attribute("reader", str(asked.user_expertise))
            span.set_attribute("format", str(asked.output_format))
            state = await self._graph.ainvoke({"request": asked}, context=own)
            result = self._result(state, deps.trace_id, started, time.monotonic() - began)
            span.set_attribute("status", result.meta.status)
        return result

    def _result(self, state: Any, trace_id: str, started: datetime, seconds: float) -> ExplainResult:
        error: NodeError | None = state.get("error")
        told: Explanation = state.get("explanation") or Explanation("", "", (), (), (), "template")
        reasoning = state.get("reasoning")
        return ExplainResult(
            summary=told.summary,
            detail=told.detail,
            sections=told.sections,
            insights=reasoning.insights if reasoning is not None and error is None else (),
            visuals=told.visuals,
            follow_ups=told.follow_ups,
            source=told.source,
            prompt_versions=dict(reasoning.prompt_versions) if reasoning is not None else {},
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
