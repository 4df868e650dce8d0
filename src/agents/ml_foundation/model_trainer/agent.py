"""How good a model can be had of this data? The agent that tunes, trains, judges and records one."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.model_trainer.balance import class_shares
from src.agents.ml_foundation.model_trainer.ending import abandoned, ended
from src.agents.ml_foundation.model_trainer.graph import build_graph
from src.agents.ml_foundation.model_trainer.request import request_from
from src.agents.ml_foundation.model_trainer.result import TrainRequest, TrainResult
from src.agents.ml_foundation.model_trainer.services import PLACE, TRAINING, Services, Training
from src.agents.ml_foundation.model_trainer.state import Evaluation, TrainState
from src.agents.results import meta_of
from src.agents.runtime import Deps
from src.agents.tiers import identity

NOTHING = Evaluation({}, {})


class ModelTrainerAgent:
    """Trains one model on gated data and keeps it with its evidence."""

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, sla_seconds: float | None = None) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = services
        self._graph = build_graph()

    async def run(self, request: TrainRequest | Mapping[str, Any], deps: Deps) -> TrainResult:
        """Train the model that ``request`` asks for. A refusal or an expected failure is a result, not an exception.

        Raises ContractViolation, before anything is read, for a request that is not valid. Exceptions other than
        E2IError leave unchanged, after the training was recorded as failed, or as cancelled.
        """
        started, began = datetime.now(UTC), time.monotonic()
        training = Training(self._services.clock())
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services, TRAINING: training})
        async with deps.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id) as span:
            asked = request_from(request)
            span.set_attribute("experiment_id", asked.experiment_id)
            state = await self._carried_out(asked, own, training)
            result = self._result(state, deps.trace_id, started, time.monotonic() - began)
            result = dataclasses.replace(result, class_shares=class_shares(training))
            span.set_attribute("trained", result.error is None)
        return result

    async def _carried_out(self, asked: TrainRequest, deps: Deps, training: Training) -> TrainState:
        """The last state of the graph, once everything that the run opened is closed and its end is recorded."""
        state: TrainState = {"request": asked}
        try:
            async for latest in self._graph.astream(state, context=deps, stream_mode="values"):
                state = latest  # type: ignore[assignment]
        except (Exception, asyncio.CancelledError) as error:
            await abandoned(self._services, training, state, error)
            raise
        return await ended(self._services, training, state)

    def _result(self, state: TrainState, trace_id: str, started: datetime, seconds: float) -> TrainResult:
        error = state.get("error")
        found = state["evaluation"] if error is None else NOTHING
        trained = state.get("trained")
        return TrainResult(
            training_run_id=state.get("training_run_id"),
            model_ref=state.get("model_ref"),
            metrics=found.metrics,
            primary_metric=state.get("metric") if error is None else None,
            threshold=trained.threshold if trained is not None and error is None else None,
            calibration=found.calibration,
            intervals=found.intervals,
            segments=found.segments,
            fairness_gap=found.fairness_gap,
            confusion=found.confusion,
            curves=found.curves,
            hpo=state.get("hpo"),
            criteria_met=found.criteria_met,
            split_counts=state.get("split_counts", {}),
            feature_names=state.get("feature_names", ()),
            balanced=trained.balanced if trained is not None else False,
            visited=state.get("visited", ()),
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
