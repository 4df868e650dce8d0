"""Is this model registered, promoted by the rules, served, and can it be taken back? The agent that deploys models."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.model_deployer.graph import build_graph
from src.agents.ml_foundation.model_deployer.request import request_from
from src.agents.ml_foundation.model_deployer.result import DeployRequest, DeployResult, Promotion
from src.agents.ml_foundation.model_deployer.services import PLACE, Services
from src.agents.results import meta_of
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity

Overall = Literal["completed", "failed", "partial"]


class ModelDeployerAgent:
    """Registers, promotes, packages, serves and rolls back models; a refused step is reported as refused."""

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, sla_seconds: float | None = None) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = services
        self._graph = build_graph()

    async def run(self, request: DeployRequest | Mapping[str, Any], deps: Deps) -> DeployResult:
        """Do what is asked. A refusal is a result, not an exception.

        Raises ContractViolation, before anything is done, for a request that is not valid. Exceptions other than
        E2IError leave unchanged.
        """
        started, began = datetime.now(UTC), time.monotonic()
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services})
        async with deps.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id) as span:
            asked = request_from(request)
            span.set_attribute("action", asked.action.value)
            span.set_attribute("model_name", asked.model_name)
            state = await self._graph.ainvoke({"request": asked}, context=own)
            result = self._result(state, deps.trace_id, started, time.monotonic() - began)
            span.set_attribute("overall", result.overall)
        return result

    def _result(self, state: Any, trace_id: str, started: datetime, seconds: float) -> DeployResult:
        error: NodeError | None = state.get("error")
        overall = _overall(state)
        return DeployResult(
            registered=state.get("registered"),
            stage=state.get("stage"),
            promotion=state.get("promotion") or _refused(error),
            package=state.get("package"),
            endpoint=state.get("endpoint"),
            health=state.get("health"),
            rollback=state.get("rollback"),
            deployment_id=state.get("deployment_id"),
            overall=overall,
            error=error,
            meta=meta_of(
                PLACE,
                state,
                error,
                trace_id=trace_id,
                started=started,
                seconds=seconds,
                budget_s=self.sla_seconds,
                status=_status(overall, error),
            ),
        )


def _overall(state: Any) -> Overall:
    """failed: an error or a refusal. partial: no endpoint, or an unhealthy one, where one was asked for.

    A container image is not asked for: without one a run can be complete.
    """
    promotion: Promotion | None = state.get("promotion")
    if "error" in state or (promotion is not None and not promotion.ok):
        return "failed"
    serves = "check_health" in state["plan"].steps
    if serves and ("health" not in state or state["health"].status != "healthy"):
        return "partial"
    return "completed"


def _status(overall: Overall, error: NodeError | None) -> str:
    """To refuse is to have done the work: ``overall`` says that the model did not get there."""
    refused = overall == "failed" and (error is None or _refused(error) is not None)
    return "completed" if refused else overall


def _refused(error: NodeError | None) -> Promotion | None:
    """A way that does not exist is a refusal too."""
    return Promotion(False, (error.message,)) if error is not None and error.type == "PromotionRefused" else None
