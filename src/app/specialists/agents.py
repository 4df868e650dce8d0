"""How does the orchestrator reach the other agents? One small adapter each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from src.agents.explainer.agent import ExplainerAgent
from src.agents.explainer.state import ExplainRequest, OutputFormat, Passage
from src.agents.ml_foundation.observability_connector.agent import ObservabilityConnectorAgent
from src.agents.ml_foundation.observability_connector.state import ObserveRequest
from src.agents.orchestrator.state import ContextChunk, QueryRequest, Written
from src.agents.orchestrator.wording import citations, recommendations
from src.agents.runtime import Deps
from src.agents.specialists import Task
from src.agents.tool_composer.agent import ToolComposer
from src.agents.tool_composer.state import ComposeContext, ComposeRequest
from src.app.agent_runs import run_deps, run_recorded
from src.app.asking import answer_question
from src.app.improving.inputs import GivenInputs
from src.app.session import Session
from src.app.specialists.findings import failed, of_analysis, of_composition, of_documents, of_health, together
from src.app.specialists.premises import with_premise
from src.domain.findings import Finding, FindingStatus
from src.domain.guards import Guards
from src.errors import DataUnavailable
from src.rag.answering.pipeline import RAGPipeline
from src.rag.retrieval_results import RetrievalFilters
from src.storage.audit_chain import AuditChain
from src.storage.trace_records import Window

Progress = Callable[[str], None]


@dataclass(frozen=True)
class CausalSpecialist:
    """causal_impact, with its run recorded and its finding told."""

    session: Session
    guards: Guards
    agent_name: str = "causal_impact"

    async def answer(self, task: Task) -> Finding:
        """The effect that ``task.understood`` asks for. Raises as the analysis does: the orchestrator tells of it."""
        if task.understood is None or task.understood.treatment is None:
            return failed(task, "the question names no effect to estimate")
        answer = await answer_question(
            self.session,
            task.question,
            task.understood,
            dataset=task.dataset,
            trace_id=task.trace_id,
            guards=self.guards,
            role=task.role,
            keep_answer=False,
        )
        if answer.analysis is None:
            return failed(task, answer.run.error_message or f"the run is {answer.run.status}")
        return await with_premise(of_analysis(task, answer.run, answer.analysis), task, self.session)


@dataclass(frozen=True)
class ComposerSpecialist:
    """tool_composer on the panel and the KPI values."""

    session: Session
    agent: ToolComposer
    guards: Guards
    on_progress: Progress
    agent_name: str = "tool_composer"

    async def answer(self, task: Task) -> Finding:
        """What the tools compute together; of brand and region they decide after what is hidden on all rows."""
        context = ComposeContext(
            dataset=task.dataset,
            brand=task.brand,
            region=task.region,
            hidden_columns=tuple(sorted(self.guards.withheld_columns(task.role))),
        )
        deps = _deps(self.session, self.agent_name, task.trace_id, self.on_progress, task.question)
        result = await run_recorded(
            self.agent,
            ComposeRequest(task.question, context),
            deps,
            self.session.database,
            activity_type="composition",
            workstream="WS3",
            records=lambda found: sum(one.output.n_rows for one in found.steps if one.output is not None),
            too_slow="took too long to compute; ask one thing at a time",
        )
        return of_composition(task, result)


@dataclass(frozen=True)
class ExplainerSpecialist:
    """Answers from documents; what a session found before is explained from the findings themselves.

    ``given`` takes down what an answer was written from.
    """

    pipeline: RAGPipeline | None
    given: GivenInputs | None = None
    agent_name: str = "explainer"

    async def answer(self, task: Task) -> Finding:
        """From ``task.prior`` where there is any, else from the corpus."""
        told = tuple(one for one in task.prior if one.answered)
        if told:
            return together(task, told)
        if self.pipeline is None:
            return failed(task, "there are no documents; add some with: e2i corpus add", FindingStatus.UNAVAILABLE)
        filters = RetrievalFilters(brand=task.brand, region=task.region)
        answer = await self.pipeline.answer(task.question, filters=filters, trace_id=task.trace_id)
        if self.given is not None:
            self.given.answered(task.question, answer)
        return of_documents(task, answer, agent=self.agent_name)


@dataclass(frozen=True)
class HealthSpecialist:
    """observability_connector over the window a question names, the last day by default."""

    session: Session
    agent: ObservabilityConnectorAgent
    on_progress: Progress
    agent_name: str = "observability_connector"

    async def answer(self, task: Task) -> Finding:
        """How the platform does."""
        deps = _deps(self.session, self.agent_name, task.trace_id, self.on_progress, task.question)
        result = await run_recorded(
            self.agent,
            ObserveRequest(window=_window(task.question)),
            deps,
            self.session.database,
            activity_type="health",
            workstream="WS1",
            records=lambda found: 0 if found.metrics is None else found.metrics.sample_size,
            too_slow="took too long to read the spans",
        )
        return of_health(task, result)


@dataclass(frozen=True)
class ExplainerWriter:
    """explainer, as the orchestrator's writer. ``given`` takes down what it was to put into words."""

    session: Session
    agent: ExplainerAgent
    on_progress: Progress
    given: GivenInputs | None = None

    async def write(
        self, request: QueryRequest, findings: Sequence[Finding], contexts: Sequence[ContextChunk], trace_id: str
    ) -> Written:
        """The findings in words for the reader of ``request``; how sure they are together is the orchestrator's to say.

        Raises DataUnavailable where they could not be written.
        """
        asked = ExplainRequest(
            query=request.query,
            results=tuple(findings),
            user_expertise=request.user_expertise,
            output_format=OutputFormat(request.output_format),
            passages=tuple(Passage(one.chunk_id, one.title, one.text) for one in contexts),
        )
        result = await run_recorded(
            self.agent,
            asked,
            self._deps(trace_id),
            self.session.database,
            activity_type="explanation",
            workstream="WS3",
            records=lambda found: len(found.insights),
            too_slow="took too long to write",
        )
        if result.error is not None:
            raise DataUnavailable(f"the explanation was not written: {result.error.message}")
        if self.given is not None:
            self.given.explained(asked, result.prompt_versions)
        told = [one for one in findings if one.answered]
        return Written(
            answer=result.detail,
            source=result.source,
            confidence=None,
            citations=citations(told),
            recommendations=recommendations(findings),
            follow_ups=result.follow_ups,
            insights=result.insights,
            degraded=result.meta.degraded,
            prompt_versions=tuple(result.prompt_versions.items()),
        )

    def _deps(self, trace_id: str) -> Deps:
        """Its nodes leave their entries in the chain of the question."""
        deps = _deps(self.session, "explainer", trace_id, self.on_progress)
        return dataclasses.replace(deps, audit=AuditChain(self.session.database, trace_id))


def _deps(session: Session, agent: str, trace_id: str, on_progress: Progress, part: str = "") -> Deps:
    return run_deps(session.database, agent, on_progress, trace_id=trace_id, part=part)


def _window(question: str) -> Window:
    if re.search(r"\b(?:hour|60 min\w*)\b", question, re.IGNORECASE):
        return Window.HOUR
    return Window.WEEK if re.search(r"\b(?:week|7 days|seven days)\b", question, re.IGNORECASE) else Window.DAY
