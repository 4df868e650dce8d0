"""May this data be used, and what do its splits look like? The agent that guards every model and answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.data_preparer.graph import build_graph
from src.agents.ml_foundation.data_preparer.nodes.finalize_output import verdict
from src.agents.ml_foundation.data_preparer.request import request_from
from src.agents.ml_foundation.data_preparer.services import PLACE, Services
from src.agents.ml_foundation.data_preparer.state import FeastSummary, PrepareRequest
from src.agents.quality_gate import QCGate
from src.agents.results import AgentMeta, meta_of
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.domain.splits import SplitPlan
from src.mlops.preparation.baseline import FeatureBaseline, TargetBaseline


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """The decision and what is known of the data.

    ``is_ready`` also needs every required feature, and usable values in each feature view that serves one;
    ``meta.warnings`` say what is lacking. ``feature_stats`` and ``target_rate`` are by
    split; they are empty, and ``splits`` is None, where the run did not get that far.
    """

    gate: QCGate
    is_ready: bool
    splits: SplitPlan | None
    feature_stats: Mapping[str, tuple[FeatureBaseline, ...]]
    target_rate: Mapping[str, TargetBaseline]
    feast: FeastSummary
    error: NodeError | None
    meta: AgentMeta


class DataPreparerAgent:
    """Validates rows, looks for leakage, splits and transforms them, and gives or refuses its consent."""

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, sla_seconds: float | None = None) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = services
        self._graph = build_graph()

    async def run(self, request: PrepareRequest | Mapping[str, Any], deps: Deps) -> PrepareResult:
        """Judge the data that ``request`` names. A refusal is a result, not an exception.

        Raises ContractViolation, before anything is read, for a request that is not valid. Exceptions
        other than E2IError leave unchanged.
        """
        started, began = datetime.now(UTC), time.monotonic()
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services})
        async with deps.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id) as span:
            asked = request_from(request)
            span.set_attribute("experiment_id", asked.experiment_id)
            state = await self._graph.ainvoke({"request": asked}, context=own)
            result = self._result(state, deps.trace_id, started, time.monotonic() - began)
            span.set_attribute("gate_passed", result.gate.passed)
        return result

    def _result(self, state: Any, trace_id: str, started: datetime, seconds: float) -> PrepareResult:
        error: NodeError | None = state.get("error")
        splits = state["baseline"].splits if "baseline" in state else ()
        return PrepareResult(
            # A verdict whose evidence could not be stored is none: the error then blocks.
            gate=state["gate"] if "gate" in state else verdict(state, self._services),
            is_ready=state.get("is_ready", False),
            splits=state.get("splits"),
            feature_stats={split.split: split.features for split in splits},
            target_rate={split.split: split.target for split in splits},
            feast=state.get("feast", FeastSummary()),
            error=error,
            meta=meta_of(
                PLACE,
                {**state, "warnings": (*state.get("warnings", ()), *state.get("not_ready", ()))},
                error,
                trace_id=trace_id,
                started=started,
                seconds=seconds,
                budget_s=self.sla_seconds,
            ),
        )
