"""Specialists and a writer of a few lines, and one question asked of the real graph."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from src.agents.orchestrator.agent import OrchestratorAgent, QueryResult, checkpoint_serializer
from src.agents.orchestrator.services import Services
from src.agents.orchestrator.state import ContextChunk, QueryRequest, Written
from src.agents.runtime import Deps
from src.agents.specialists import Task
from src.domain.findings import Evidence, Figure, Finding, FindingStatus, Statement, StatementKind
from src.domain.guards import load_guards
from src.domain.vocabulary import load_vocabulary
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from tests.traces import memory_connector
from tests.unit.test_agents.test_causal_impact.fakes import FrameDatasets

TODAY = date(2026, 1, 15)
AGENTS = ("causal_impact", "tool_composer", "observability_connector", "explainer")
EFFECT = "Do rep calls raise NRx of Kisqali?"
SEVERAL = "Do samples raise NRx of Remibrutinib, and is the system up?"


def finding(task: Task, headline: str = "", value: float = 0.54, confidence: float = 0.8) -> Finding:
    evidence = f"run:{task.agent}"
    text = headline or f"{task.agent} found {value:g}."
    return Finding(
        agent=task.agent,
        question=task.question,
        status=FindingStatus.COMPLETED,
        headline=text,
        statements=(
            Statement(StatementKind.FINDING, text, (evidence,)),
            Statement(StatementKind.RECOMMENDATION, "Confirm it with a hold-out.", (evidence,)),
            Statement(StatementKind.CAVEAT, "It rests on observed data.", (evidence,)),
        ),
        figures=(Figure("effect", value, "NRx", evidence),),
        evidence=(Evidence(evidence, f"the value is {value:g}"),),
        confidence=confidence,
        run_id=f"id-of-{task.agent}",
    )


@dataclass
class Expert:
    """Answers, or does what it was made to do; remembers its tasks."""

    agent_name: str
    does: Callable[[Task], Any] = finding
    tasks: list[Task] = field(default_factory=list)

    async def answer(self, task: Task) -> Finding:
        self.tasks.append(task)
        found = self.does(task)
        return await found if asyncio.iscoroutine(found) else found


@dataclass
class Scribe:
    """Writes the headlines, or what it was told to."""

    says: str | Exception | None = None
    requests: list[QueryRequest] = field(default_factory=list)

    async def write(
        self, request: QueryRequest, findings: Sequence[Finding], contexts: Sequence[ContextChunk], trace_id: str
    ) -> Written:
        self.requests.append(request)
        if isinstance(self.says, Exception):
            raise self.says
        text = " ".join(one.headline for one in findings if one.answered)
        citations = tuple(one.id for found in findings for one in found.evidence)
        return Written(self.says or text, "template", None, citations, (), ("And elsewhere?",))


def fail(error: BaseException) -> Callable[[Task], Finding]:
    def does(task: Task) -> Finding:
        raise error

    return does


@dataclass
class Desk:
    """An orchestrator with its experts; every question is asked of the compiled graph."""

    services: Services
    agent: OrchestratorAgent
    experts: Mapping[str, Expert]
    scribe: Scribe

    async def ask(self, query: str, session: str = "s1", trace_id: str | None = None, **fields: Any) -> QueryResult:
        result, _ = await self.traced(query, session, trace_id, **fields)
        return result

    async def traced(
        self,
        query: str,
        session: str = "s1",
        trace_id: str | None = None,
        timeouts: Mapping[str, float] | None = None,
        **fields: Any,
    ) -> tuple[QueryResult, MemorySink]:
        tracer, sink = memory_connector()
        trace = trace_id or str(uuid7())
        deps = Deps(FrameDatasets(), tracer, trace, trace, node_timeouts=timeouts or {})
        result = await self.agent.run(QueryRequest(query, session, **fields), deps)
        await tracer.flush()
        return result, sink


def desk(
    *,
    scribe: Scribe | None = None,
    agents: Sequence[str] = AGENTS,
    saver: Any = None,
    remembers: bool = True,
    does: Mapping[str, Callable[[Task], Any]] | None = None,
    **services: Any,
) -> Desk:
    experts = {name: Expert(name, (does or {}).get(name, finding)) for name in agents}
    writer = scribe or Scribe()
    made = Services(
        specialists=experts,
        writer=writer,
        vocabulary=load_vocabulary(),
        guards=services.pop("guards", None) or load_guards(),
        today=lambda: TODAY,
        **services,
    )
    kept = saver or (InMemorySaver(serde=checkpoint_serializer()) if remembers else None)
    return Desk(made, OrchestratorAgent(made, kept), experts, writer)
