"""Did the treatment change the outcome? The agent that runs, resumes and reports one such question."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from src.agents.causal_impact.graph import build_graph
from src.agents.causal_impact.nodes.interpret_results import evidence_of
from src.agents.causal_impact.state import CausalImpactState, ImpactRequest
from src.agents.checkpoints import ResultSerializer
from src.agents.results import AgentMeta as AgentMeta
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.causal_engine.conclusion import EstimationOutcome, to_analysis
from src.causal_engine.results import Analysis, Conclusion, Identification, RefutationReport, SensitivityReport
from src.causal_engine.serialise import from_json
from src.errors import ContractViolation, nearest_names

CHECKPOINTED = (
    ImpactRequest,
    Identification,
    EstimationOutcome,
    RefutationReport,
    SensitivityReport,
    Conclusion,
    NodeError,
)


@dataclass(frozen=True, slots=True)
class ImpactResult:
    """The analysis, or the error that kept the run from one."""

    analysis: Analysis | None
    error: NodeError | None
    meta: AgentMeta


def request_from(raw: ImpactRequest | Mapping[str, Any]) -> ImpactRequest:
    """Accept a request or its JSON form; an unknown key is a ContractViolation."""
    if isinstance(raw, ImpactRequest):
        return raw
    known = list(ImpactRequest.__dataclass_fields__)
    for key in raw:
        if key not in known:
            raise ContractViolation(f"unknown key '{key}' in the request; {nearest_names(key, known)}")
    return from_json(ImpactRequest, dict(raw))


def checkpoint_serializer() -> ResultSerializer:
    """The serializer a checkpointer of this agent needs."""
    return ResultSerializer(CHECKPOINTED)


class CausalImpactAgent:
    """Runs the causal_impact graph; with a checkpointer an interrupted run resumes where it stopped."""

    agent_name = "causal_impact"
    tier = identity("causal_impact").tier

    def __init__(self, checkpointer: BaseCheckpointSaver[Any] | None = None) -> None:
        self._checkpointer = checkpointer
        self._graph = build_graph(checkpointer)

    async def run(self, request: ImpactRequest | Mapping[str, Any], deps: Deps) -> ImpactResult:
        """Answer ``request``. Exceptions other than E2IError leave unchanged; the run can then be resumed."""
        config: RunnableConfig = {"configurable": {"thread_id": deps.run_id}}
        started, began = datetime.now(UTC), time.monotonic()
        async with deps.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id):
            inputs: CausalImpactState | None = {"request": request_from(request)}
            if self._checkpointer is not None and (await self._graph.aget_state(config)).next:
                inputs = None
            durability: Literal["sync"] | None = "sync" if self._checkpointer is not None else None
            state = await self._graph.ainvoke(inputs, config, context=deps, durability=durability)
        return _result(state, deps.trace_id, started, (time.monotonic() - began) * 1000.0)


def _result(state: Any, trace_id: str, started: datetime, milliseconds: float) -> ImpactResult:
    error: NodeError | None = state.get("error")
    conclusion: Conclusion | None = state.get("conclusion")
    analysis = to_analysis(evidence_of(state), conclusion) if conclusion is not None else None
    status = "completed" if error is None else ("partial" if analysis is not None else "failed")
    meta = AgentMeta(
        agent_name=CausalImpactAgent.agent_name,
        trace_id=trace_id,
        status=status,
        started_at=started,
        duration_ms=milliseconds,
        warnings=conclusion.warnings if conclusion else (),
        degraded=(f"{error.node}: {error.message}",) if error else (),
    )
    return ImpactResult(analysis, error, meta)
