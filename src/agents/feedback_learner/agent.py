"""What do scored answers call for? The agent that runs and resumes a learning cycle."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from src.agents.checkpoints import ResultSerializer
from src.agents.configuration import load_agents_config
from src.agents.feedback_learner.given import over
from src.agents.feedback_learner.graph import build_graph
from src.agents.feedback_learner.nodes.finalize_cycle import CycleLeftOpen, counts_of, final_steps
from src.agents.feedback_learner.request import request_from
from src.agents.feedback_learner.services import PLACE, Services
from src.agents.feedback_learner.state import CHECKPOINTED, LearnRequest, LearnState, Step, TrainingSignal
from src.agents.results import AgentMeta, meta_of
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.domain.improvement import DetectedPattern, LearningItem
from src.domain.rubric import RubricDecision
from src.errors import ContractViolation, DataUnavailable, E2IError


@dataclass(frozen=True, slots=True)
class LearnResult:
    """What a cycle learnt and did. ``items`` are interaction ids; a component that waits has no decision.

    ``actions`` and ``knowledge`` are ids; ``steps`` say what became of each component's need, and why.
    """

    batch_id: str
    items: tuple[str, ...]
    patterns: tuple[DetectedPattern, ...]
    decisions: Mapping[str, RubricDecision]
    waiting: Mapping[str, str]
    actions: tuple[str, ...]
    knowledge: tuple[str, ...]
    steps: tuple[Step, ...]
    alerted: tuple[str, ...]
    training_signal: TrainingSignal | None
    counts: Mapping[str, int]
    error: NodeError | None
    meta: AgentMeta


@dataclass(frozen=True, slots=True)
class Handoff:
    """What other agents may want to know of the last cycle: decisions, what is being changed, what went wrong."""

    agent: str
    batch_id: str
    status: str
    decisions: Mapping[str, str]
    actions: Mapping[str, str]
    patterns: tuple[str, ...]
    reward: float | None
    next_steps: tuple[str, ...]


def checkpoint_serializer() -> ResultSerializer:
    """The serializer a checkpointer of this agent needs."""
    return ResultSerializer(CHECKPOINTED)


class FeedbackLearnerAgent:
    """Runs the feedback_learner graph; a cycle is one thread of the checkpointer, deleted when the cycle is closed."""

    agent_name = PLACE
    agent_type = "deep"
    tier = identity(PLACE).tier

    def __init__(
        self,
        services: Services,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        *,
        sla_seconds: float | None = None,
    ) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a cycle may take without a warning."""
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = dataclasses.replace(services, budget_s=self.sla_seconds)
        self._checkpointer = checkpointer
        self._graph = build_graph(checkpointer)
        self._last: LearnResult | None = None

    async def run(self, request: LearnRequest | Mapping[str, Any], deps: Deps) -> LearnResult:
        """``learn``, under the name all agents have."""
        return await self.learn(request, deps)

    async def learn(self, request: LearnRequest | Mapping[str, Any], deps: Deps) -> LearnResult:
        """Learn from the answers that wait; a cycle that was interrupted goes on where it stopped.

        What cannot be done is ``error`` in the result, the cycle is closed as failed and its answers wait for another.
        Exceptions other than E2IError close it too and leave unchanged; where it cannot even be closed, or the process
        is stopped, the cycle stays running, to be resumed by its id. Raises ContractViolation for a request that is
        not valid and for a cycle that has ended.
        """
        return await self._learn(request_from(request), self._services, deps)

    async def process_feedback(
        self, items: Sequence[LearningItem], deps: Deps, *, batch_id: str | None = None
    ) -> LearnResult:
        """Learn from these items as if they were the answers that wait; those without a judgement are judged.

        Changes that follow are as real as any; judgements of given items are not stored. Raises DataUnavailable
        without items.
        """
        if not items:
            raise DataUnavailable("there is nothing to learn from: give at least one item")
        return await self._learn(LearnRequest(batch_id=batch_id), over(items, self._services), deps)

    def get_handoff(self) -> Handoff:
        """The last cycle of this agent in the words of others. Raises DataUnavailable before there was one."""
        if self._last is None:
            raise DataUnavailable("nothing was learnt yet: run a cycle first ('e2i improve --once')")
        return _handoff(self._last)

    async def _learn(self, request: LearnRequest, services: Services, deps: Deps) -> LearnResult:
        started, began = datetime.now(UTC), time.monotonic()
        if request.batch_id is None:
            cycle = await services.cycles.start(_trigger(request), at=services.clock())
            request = dataclasses.replace(request, batch_id=cycle.cycle_id)
        else:
            await self._still_open(request, services)
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: services})
        async with deps.tracer.trace_agent(self.agent_name, "learn", trace_id=deps.trace_id) as span:
            span.set_attribute("cycle_id", request.batch_id)
            state = await self._closed(request, services, own)
            result = self._result(state, request, deps.trace_id, started, time.monotonic() - began)
            span.set_attribute("status", result.meta.status)
            span.set_attribute("decisions", {name: str(one) for name, one in result.decisions.items()})
        self._last = result
        return result

    async def _still_open(self, request: LearnRequest, services: Services) -> None:
        """What has ended stays as it ended; only where its last step is not noted yet it is given once more."""
        cycle = await services.cycles.get(str(request.batch_id))
        if cycle.status == "running":
            return
        if self._checkpointer is None or not (await self._graph.aget_state(_thread(request))).values:
            raise ContractViolation(f"cycle {cycle.cycle_id} has ended ({cycle.status}): start another one")

    async def _closed(self, request: LearnRequest, services: Services, deps: Deps) -> LearnState:
        """The last state of the cycle, which is closed by then, and its checkpoints gone."""
        try:
            state = await self._state(request, deps)
        except Exception as error:
            await self._abandon(request, services, error)
            raise
        await self._forget(request)
        return state

    async def _state(self, request: LearnRequest, deps: Deps) -> LearnState:
        config = _thread(request)
        inputs: LearnState | None = {"request": request}
        if self._checkpointer is None:
            return await self._graph.ainvoke(inputs, config, context=deps)  # type: ignore[return-value]
        known = await self._graph.aget_state(config)
        if known.values.get("finished"):
            return known.values  # type: ignore[return-value]
        if known.next:
            inputs = None
        return await self._graph.ainvoke(inputs, config, context=deps, durability="sync")  # type: ignore[return-value]

    async def _abandon(self, request: LearnRequest, services: Services, error: Exception) -> None:
        """Close a cycle that broke, and give its answers back; one that cannot be closed is resumed later."""
        if isinstance(error, CycleLeftOpen) or request.batch_id is None:
            return
        summary = {"error": {"type": type(error).__name__, "message": str(error)[:500], "node": ""}}
        try:
            await services.items.give_back(request.batch_id)
            await services.cycles.finish(
                request.batch_id, status="failed", decision=None, items=0, summary=summary, at=services.clock()
            )
            await self._forget(request)
        except E2IError as unclosed:
            error.add_note(f"the cycle stays running, to be resumed: {unclosed}")

    async def _forget(self, request: LearnRequest) -> None:
        if self._checkpointer is not None and request.batch_id is not None:
            await asyncio.shield(self._checkpointer.adelete_thread(request.batch_id))

    def _result(
        self, state: LearnState, request: LearnRequest, trace_id: str, started: datetime, seconds: float
    ) -> LearnResult:
        error, collected, verdicts = state.get("error"), state.get("collected"), state.get("verdicts", ())
        steps = final_steps(state)
        meta = meta_of(
            PLACE, state, error, trace_id=trace_id, started=started, seconds=seconds, budget_s=self.sla_seconds
        )
        return LearnResult(
            batch_id=str(request.batch_id),
            items=() if collected is None else collected.interaction_ids,
            patterns=state.get("patterns", ()),
            decisions={one.component: one.decision for one in verdicts if one.decision is not None},
            waiting={one.component: one.reason for one in verdicts if one.decision is None},
            actions=tuple(one.action_id for one in steps if one.action_id is not None),
            knowledge=tuple(sorted({one for step in steps for one in step.knowledge_ids})),
            steps=steps,
            alerted=state.get("alerted", ()),
            training_signal=state.get("training_signal"),
            counts=counts_of(state),
            error=error,
            meta=meta,
        )


def _thread(request: LearnRequest) -> RunnableConfig:
    return {"configurable": {"thread_id": request.batch_id}}


def _trigger(request: LearnRequest) -> Any:
    """Checked when the request was read."""
    return request.trigger


def _handoff(result: LearnResult) -> Handoff:
    steps = [f"{one.component}: {one.reason}" for one in result.steps]
    told = [f"{one}: a person was told" for one in result.alerted]
    waits = [f"{component}: {reason}" for component, reason in result.waiting.items()]
    signal = result.training_signal
    return Handoff(
        agent=PLACE,
        batch_id=result.batch_id,
        status=result.meta.status,
        decisions={name: str(one) for name, one in result.decisions.items()},
        actions={one.action_id: str(one.status) for one in result.steps if one.action_id is not None},
        patterns=tuple(f"{one.component}: {one.kind} in {one.count} answers" for one in result.patterns),
        reward=None if signal is None else signal.reward,
        next_steps=(*told, *steps, *waits),
    )
