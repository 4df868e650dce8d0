"""Which algorithm should a model of this problem be trained with, and why? The agent that chooses it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.model_selector.graph import build_graph
from src.agents.ml_foundation.model_selector.request import request_from
from src.agents.ml_foundation.model_selector.result import SelectRequest, SelectResult
from src.agents.ml_foundation.model_selector.services import PLACE, Services
from src.agents.quality_gate import QCGate, reasons_to_stop
from src.agents.results import meta_of
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.errors import DataQualityCheckpointError


class ModelSelectorAgent:
    """Chooses an algorithm by constraints, history, and measurements on training rows; never behind a shut gate."""

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, simple: bool = False, sla_seconds: float | None = None) -> None:
        """``simple`` only filters, ranks, selects and says why. ``sla_seconds`` (default: config/agents.yaml) is
        how long a run may take without a warning."""
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = services
        self._graph = build_graph(simple=simple)

    async def run(self, request: SelectRequest | Mapping[str, Any], deps: Deps) -> SelectResult:
        """Choose. A refusal is a result, not an exception.

        Raises ContractViolation, before anything is read, for a request that is not valid. Exceptions other than
        E2IError leave unchanged.
        """
        started, began = datetime.now(UTC), time.monotonic()
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services})
        async with deps.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id) as span:
            asked = request_from(request)
            span.set_attribute("experiment_id", asked.experiment_id)
            state = await self._graph.ainvoke({"request": asked, "gate": asked.qc_gate}, context=own)
            result = self._result(asked, state, deps.trace_id, started, time.monotonic() - began)
            span.set_attribute("algorithm", result.primary.algorithm if result.primary is not None else None)
        return result

    def _result(
        self, asked: SelectRequest, state: Any, trace_id: str, started: datetime, seconds: float
    ) -> SelectResult:
        error: NodeError | None = state.get("error") or _refusal(asked.qc_gate)
        failed = error is not None
        return SelectResult(
            # A choice whose reasons could not be given or kept is none.
            primary=None if failed else state["primary"],
            alternatives=() if failed else state["alternatives"],
            rationale=None if failed else state["rationale"],
            benchmark=state.get("benchmark", ()),
            baseline=state.get("baseline"),
            history=state.get("history", {}),
            removed=state.get("removed", {}),
            run_id=state.get("run_id"),
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Shut:
    """A gate that did not pass, as a checkpoint's finding."""

    gate: QCGate

    def headline(self) -> str:
        why = "; ".join(reasons_to_stop(self.gate))
        return f"no model may be built on this data: {why}"


def _refusal(gate: QCGate) -> NodeError | None:
    if not reasons_to_stop(gate):
        return None
    refused = DataQualityCheckpointError(_Shut(gate))
    return NodeError(type(refused).__name__, str(refused), "qc_gate")
