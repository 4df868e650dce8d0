"""Which agents answer a question, and what do they say together? The agent that runs a session's questions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from src.agents.checkpoints import ResultSerializer
from src.agents.configuration import load_agents_config
from src.agents.orchestrator.graph import OrchestratorGraph, build_graph
from src.agents.orchestrator.services import PLACE, Services
from src.agents.orchestrator.state import (
    Classification,
    ContextChunk,
    Dispatch,
    Pattern,
    QueryRequest,
    Turn,
    Written,
    fresh,
)
from src.agents.requests import check_keys, require_name, require_text
from src.agents.results import AgentMeta, meta_of
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.domain.findings import Finding, Insight

TRACE = "e2i_trace_id"
"""Which question of a session a checkpoint belongs to."""
CHECKPOINTED = (QueryRequest, Classification, ContextChunk, Dispatch, Finding, Written, Turn, NodeError)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer with what it rests on, or the question back (``clarification``) or why there is none (``declined``).

    ``citations`` are evidence ids (``run:``, ``chunk:``, ``path:``, ``step:``); ``confidence`` in 0–1. ``contexts`` are
    the passages that were retrieved for it.
    """

    answer: str
    confidence: float | None
    citations: tuple[str, ...]
    recommendations: tuple[str, ...]
    follow_ups: tuple[str, ...]
    insights: tuple[Insight, ...]
    dispatches: tuple[Dispatch, ...]
    findings: tuple[Finding, ...]
    classification: Classification | None
    clarification: str | None
    options: tuple[str, ...]
    declined: str | None
    source: str
    prompt_versions: Mapping[str, int]
    session_id: str
    error: NodeError | None
    meta: AgentMeta
    contexts: tuple[ContextChunk, ...] = ()

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The analyses that the answer rests on, each once."""
        return tuple(dict.fromkeys(one.run_id for one in self.findings if one.run_id))


def request_from(raw: QueryRequest | Mapping[str, Any]) -> QueryRequest:
    """Accept a request or its JSON form. Raises ContractViolation: unknown key, no question, no session."""
    if isinstance(raw, QueryRequest):
        request = raw
    else:
        check_keys(raw, QueryRequest, "request")
        request = QueryRequest(**raw)
    require_text(request.query, "query")
    require_name(request.session_id, "session_id")
    return request


def checkpoint_serializer() -> ResultSerializer:
    """The serializer a checkpointer of this agent needs."""
    return ResultSerializer(CHECKPOINTED)


class OrchestratorAgent:
    """Runs the orchestrator graph; a session is one thread of the checkpointer.

    Whoever runs it lets the questions of one session come one after the other.
    """

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(
        self,
        services: Services,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        *,
        sla_seconds: float | None = None,
        graph: OrchestratorGraph | None = None,
    ) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning.

        ``graph`` is one compiled with this checkpointer, for an agent that is made for every question.
        """
        self.sla_seconds = sla_seconds or load_agents_config().agents[PLACE].timeout_seconds
        self._services = services
        self._checkpointer = checkpointer
        self._graph = graph or build_graph(checkpointer)

    async def run(self, request: QueryRequest | Mapping[str, Any], deps: Deps) -> QueryResult:
        """Answer one question; a run of the session that was interrupted at this trace goes on where it stopped.

        What cannot be done is ``error`` in the result, and its answer says why. Raises ContractViolation for a request
        that is not valid. Exceptions other than E2IError leave unchanged, and the run can be resumed.
        """
        asked = request_from(request)
        started, began = datetime.now(UTC), time.monotonic()
        config: RunnableConfig = {
            "configurable": {"thread_id": asked.session_id},
            "metadata": {TRACE: deps.trace_id},
        }
        own = dataclasses.replace(deps, workspace={**deps.workspace, PLACE: self._services})
        async with deps.tracer.trace_agent(self.agent_name, "run", trace_id=deps.trace_id) as span:
            state = await self._state(asked, own, config)
            result = self._result(state, deps.trace_id, started, time.monotonic() - began)
            span.set_attribute("status", result.meta.status)
            if result.classification is not None:
                span.set_attribute("pattern", str(result.classification.pattern))
                span.set_attribute("intent", result.classification.intent)
            return result

    async def _state(self, asked: QueryRequest, deps: Deps, config: RunnableConfig) -> Any:
        """A new question begins with nothing but the session's turns. This very question goes on where it stopped;
        once all its nodes have ended it is told as it was, and nobody is asked again."""
        if self._checkpointer is None:
            return await self._graph.ainvoke(fresh(asked, deps.trace_id), config, context=deps)
        latest = await self._graph.aget_state(config)
        own = latest if latest.values.get("trace_id") == deps.trace_id else await self._earlier(config, deps.trace_id)
        if own is None:
            return await self._graph.ainvoke(fresh(asked, deps.trace_id), config, context=deps, durability="sync")
        if not own.next:
            return own.values
        if own is latest:
            return await self._graph.ainvoke(None, config, context=deps, durability="sync")
        there: RunnableConfig = {**config, "configurable": own.config["configurable"]}
        state = await self._graph.ainvoke(None, there, context=deps, durability="sync")
        # What was asked since then stays later than it.
        await self._graph.aupdate_state(config, {"turns": latest.values.get("turns", ())}, as_node="synthesize")
        return state

    async def _earlier(self, config: RunnableConfig, trace_id: str) -> StateSnapshot | None:
        """Where a question stopped before others were asked in its session."""
        found = self._graph.aget_state_history(config, filter={TRACE: trace_id}, limit=1)
        return await anext(aiter(found), None)

    def _result(self, state: Any, trace_id: str, started: datetime, seconds: float) -> QueryResult:
        classified: Classification | None = state.get("classification")
        written: Written | None = state.get("written")
        findings: tuple[Finding, ...] = state.get("findings", ())
        error: NodeError | None = state.get("error")
        asks = classified is not None and classified.pattern is Pattern.CLARIFICATION_NEEDED
        return QueryResult(
            answer=written.answer if written else f"No answer can be given: {error.message}" if error else "",
            confidence=written.confidence if written else None,
            citations=written.citations if written else (),
            recommendations=written.recommendations if written else (),
            follow_ups=written.follow_ups if written else (),
            insights=written.insights if written else (),
            dispatches=state.get("dispatches", ()),
            findings=findings,
            classification=classified,
            clarification=classified.question_back if classified and asks else None,
            options=classified.options if classified and asks else (),
            declined=(classified.declined or None) if classified else None,
            source=written.source if written else "template",
            prompt_versions=_prompt_versions(classified, findings, written),
            session_id=state["request"].session_id,
            error=error,
            meta=meta_of(
                PLACE,
                state,
                error,
                trace_id=trace_id,
                started=started,
                seconds=seconds,
                budget_s=self.sla_seconds,
                status=None if error is not None else _status(findings),
            ),
            contexts=state.get("contexts", ()),
        )


def _status(findings: tuple[Finding, ...]) -> str | None:
    """Failed where agents were asked and none answered."""
    return "failed" if findings and not any(finding.answered for finding in findings) else None


def _prompt_versions(
    classified: Classification | None, findings: tuple[Finding, ...], written: Written | None
) -> dict[str, int]:
    used = dict(classified.prompt_versions) if classified else {}
    for finding in findings:
        used |= dict(finding.prompt_versions)
    return used | (dict(written.prompt_versions) if written else {})
