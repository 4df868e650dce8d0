"""What do several tools say together? The agent that takes a question apart and computes its parts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from src.agents.configuration import load_agents_config
from src.agents.requests import check_keys, part_of, require_text
from src.agents.results import AgentMeta, meta_of
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.agents.tool_composer.composition_rows import composition_of
from src.agents.tool_composer.frames import Frames
from src.agents.tool_composer.graph import ComposerGraph, build_graph
from src.agents.tool_composer.opik_tracer import CompositionTraceContext, ToolComposerOpikTracer
from src.agents.tool_composer.plan_memory import document_of
from src.agents.tool_composer.services import PLACE, WORK, Services, Work
from src.agents.tool_composer.state import (
    ComposeContext,
    ComposeRequest,
    ComposerState,
    Plan,
    StepResult,
    SubQuestion,
    Synthesis,
)
from src.errors import DatabaseUnavailable
from src.resilience.circuit_breaker import CircuitBreaker
from src.storage.compositions import composition_id


@dataclass(frozen=True, slots=True)
class CompositionResult:
    """The answer and every step behind it; ``answer`` is empty with an ``error``.

    ``confidence`` is in 0–1, None where nothing was found. ``prompt_versions`` are those its model calls used.
    """

    composition_id: str
    answer: str
    confidence: float | None
    caveats: tuple[str, ...]
    sub_questions: tuple[SubQuestion, ...]
    plan: Plan | None
    steps: tuple[StepResult, ...]
    synthesis: Synthesis | None
    error: NodeError | None
    meta: AgentMeta
    prompt_versions: tuple[tuple[str, int], ...] = ()


def request_from(raw: ComposeRequest | Mapping[str, Any]) -> ComposeRequest:
    """Accept a request or its JSON form. Raises ContractViolation for an unknown key and a query that is no text."""
    if not isinstance(raw, ComposeRequest):
        check_keys(raw, ComposeRequest, "request")
        given = raw.get("context", ComposeContext())
        raw = ComposeRequest(raw["query"], part_of(given, ComposeContext, "context", sequences=("hidden_columns",)))
    require_text(raw.query, "query")
    return raw


@cache
def _compiled() -> ComposerGraph:
    """The graph of this process: it holds nothing of a run."""
    return build_graph()


class ToolComposer:
    """Runs the tool_composer graph."""

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, sla_seconds: float | None = None) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        breaker = services.breaker or CircuitBreaker(PLACE)
        self._services = dataclasses.replace(services, breaker=breaker)
        self._graph = _compiled()

    async def run(self, request: ComposeRequest | Mapping[str, Any], deps: Deps) -> CompositionResult:
        """Compose an answer; the same trace composes the same one, and keeps one set of rows.

        What cannot be done is ``error`` in the result. Raises ContractViolation, before anything is read, for a request
        that is not valid. Exceptions other than E2IError leave unchanged.
        """
        started, began = datetime.now(UTC), time.monotonic()
        asked = request_from(request)
        tracer = ToolComposerOpikTracer(connector=deps.tracer)
        async with tracer.trace_composition(asked.query, trace_id=deps.trace_id) as trace:
            work = Work(
                Frames(deps.datasets, asked.context, self._services.memory), composition_id(deps.trace_id), trace
            )
            own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services, WORK: work})
            state = await self._graph.ainvoke({"request": asked}, context=own)
            state, plan_id = await self._remembered(state, work)
            result = self._result(state, plan_id, deps.trace_id, started, time.monotonic() - began)
            result = await self._stored(asked, state, result)
            self._log(trace, result, state)
        return result

    async def compose(self, query: str, context: ComposeContext, deps: Deps) -> CompositionResult:
        """The same for a question and its context."""
        return await self.run(ComposeRequest(query, context), deps)

    async def _remembered(self, state: Any, work: Work) -> tuple[Any, str | None]:
        """Count the plan's use; its id, None for a plan that is not kept."""
        plan, steps = state.get("plan"), state.get("steps")
        if plan is None or not steps or work.plan_key is None:
            return state, None
        document = document_of(state["sub_questions"], plan)
        if document is None:
            return state, None
        succeeded = all(step.status == "success" for step in steps)
        try:
            plan_id = await self._services.plans.keep(
                work.plan_key, document, succeeded=succeeded, composition_id=work.composition_id
            )
        except DatabaseUnavailable as error:
            return state | {"degraded": (*state.get("degraded", ()), f"the plan is not kept: {error}")}, None
        return state, plan_id

    def _result(
        self, state: ComposerState, plan_id: str | None, trace_id: str, started: datetime, seconds: float
    ) -> CompositionResult:
        error, told, plan = state.get("error"), state.get("synthesis"), state.get("plan")
        meta = meta_of(
            PLACE, state, error, trace_id=trace_id, started=started, seconds=seconds, budget_s=self.sla_seconds
        )
        return CompositionResult(
            composition_id=composition_id(trace_id),
            answer=told.answer if told is not None else "",
            confidence=told.confidence if told is not None else None,
            caveats=told.caveats if told is not None else (),
            sub_questions=state.get("sub_questions", ()),
            plan=plan if plan is None or plan_id is None else dataclasses.replace(plan, plan_id=plan_id),
            steps=state.get("steps", ()),
            synthesis=told,
            error=error,
            meta=meta,
            prompt_versions=state.get("prompt_versions", ()),
        )

    async def _stored(
        self, asked: ComposeRequest, state: ComposerState, result: CompositionResult
    ) -> CompositionResult:
        """Keep the rows; without a database the result says that they are not kept."""
        if self._services.compositions is None:
            return result
        row = composition_of(
            asked.query,
            state,
            trace_id=result.meta.trace_id,
            status=result.meta.status,
            plan_id=None if result.plan is None else result.plan.plan_id,
        )
        try:
            await self._services.compositions.add(row)
        except DatabaseUnavailable as error:
            degraded = (*result.meta.degraded, f"the composition is not stored: {error}")
            status = "partial" if result.meta.status == "completed" else result.meta.status
            return dataclasses.replace(result, meta=dataclasses.replace(result.meta, degraded=degraded, status=status))
        return result

    @staticmethod
    def _log(trace: CompositionTraceContext, result: CompositionResult, state: ComposerState) -> None:
        trace.log_composition_complete(
            result.meta.status,
            sub_questions=len(result.sub_questions),
            steps=len(result.steps),
            succeeded=sum(step.status == "success" for step in result.steps),
            retries=state.get("retries", 0),
            confidence=result.confidence,
            duration_ms=result.meta.duration_ms,
        )
