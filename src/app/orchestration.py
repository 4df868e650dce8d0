"""How do the agents answer together? Opened once, asked many times: the parts that every question shares."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from src.agents.auditing import seal_answer
from src.agents.explainer.agent import ExplainerAgent
from src.agents.explainer.services import Services as ExplainerServices
from src.agents.explainer.state import OutputFormat
from src.agents.ml_foundation.observability_connector.agent import ObservabilityConnectorAgent
from src.agents.orchestrator.agent import OrchestratorAgent, QueryResult
from src.agents.orchestrator.graph import OrchestratorGraph, build_graph
from src.agents.orchestrator.services import Services
from src.agents.orchestrator.state import QueryRequest
from src.agents.runtime import Deps
from src.agents.specialists import Specialist
from src.agents.tool_composer.agent import ToolComposer
from src.agents.tool_composer.frame_memory import FrameMemory
from src.agents.tool_composer.services import Services as ComposerServices
from src.app.agent_runs import run_deps, run_recorded
from src.app.effects import OUTAGES
from src.app.improving.inputs import GivenInputs
from src.app.improving.units import SessionParts, parts_of
from src.app.interactions import keep, of_query, without_persons
from src.app.passages import CorpusPassages
from src.app.prompts import open_prompts
from src.app.quality import observer_over
from src.app.session import Session, conversation
from src.app.specialists.agents import (
    CausalSpecialist,
    ComposerSpecialist,
    ExplainerSpecialist,
    ExplainerWriter,
    HealthSpecialist,
)
from src.causal_engine.serialise import from_json, to_json
from src.contracts.enums import UserExpertise
from src.domain.guards import Guards, SessionUse, load_guards
from src.domain.kpis import load_kpis
from src.domain.reading import check_readable
from src.domain.vocabulary import Term, load_vocabulary
from src.errors import (
    ContractViolation,
    DatasetNotFound,
    DataUnavailable,
    E2IError,
    GuardrailViolation,
    nearest_names,
)
from src.llm.budget import Budget
from src.llm.client import LLMClient
from src.llm.configuration import LLMSettings, load_llm_config
from src.llm.detection import detect_provider, open_client
from src.llm.none import NoModel
from src.mlops.tracing.ids import uuid7
from src.rag.answering.pipeline import RAGPipeline
from src.rag.configuration import load_rag_config
from src.rag.embeddings.selection import close_embeddings, open_embeddings
from src.rag.retrieval.opening import open_retriever
from src.rag.retrieval.retriever import HybridRetriever
from src.storage.audit_chain import AuditChain
from src.storage.compositions import CompositionRepository
from src.storage.conversations import ConversationRepository, Unfinished
from src.storage.prompt_versions import PromptStore
from src.storage.rag_chunks import ChunkRepository

Progress = Callable[[str], None]
AT_ONCE = 4
NOT_KEPT = "the answer could not be stored: it can neither be found again nor rated"
SMALLEST_AMOUNT = 0.000001
TOO_SLOW = "took too long; ask for less at a time"


@dataclass
class Assistant:
    """Answers questions of many sessions over one database. At most ``AT_ONCE`` are answered at the same time, and
    those of one session one after the other."""

    session: Session
    guards: Guards
    retriever: HybridRetriever
    observer: ObservabilityConnectorAgent
    prompts: PromptStore
    conversations: ConversationRepository
    has_documents: bool
    _graph: OrchestratorGraph
    _memory: FrameMemory
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _sessions: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def ask(
        self, request: QueryRequest, *, trace_id: str | None = None, on_progress: Progress | None = None
    ) -> QueryResult:
        """Answer one question of a session; ``trace_id`` of one that was interrupted goes on with it.

        What identifies a person is taken out of the question first: it reaches no model, trace or table.
        Raises GuardrailViolation where the session has asked or spent too much, DataUnavailable where another process
        answers a question of this session.
        """
        asked = _checked(request, self.guards)
        trace = trace_id or str(uuid7())
        async with self._turn(asked.session_id) as mine:
            if not mine:
                raise DataUnavailable("another process is answering a question of this session; wait for it")
            if trace_id is None:
                await self._admit(asked, trace)
            return await self._answer(asked, trace, on_progress or self.session.on_progress)

    async def resume(
        self, waiting: Sequence[Unfinished] | None = None, on_progress: Progress | None = None
    ) -> list[QueryResult]:
        """Finish the questions whose answers were interrupted (all of them, or those ``waiting``).

        One that another process is answering, or has finished meanwhile, is left alone; one whose stored request is no
        request any more is given up, which the progress says.
        """
        found, progress = [], on_progress or self.session.on_progress
        for one in waiting if waiting is not None else await self.conversations.unfinished():
            async with self._turn(one.session_id) as mine:
                if not mine or one.trace_id not in {left.trace_id for left in await self.conversations.unfinished()}:
                    continue
                try:
                    request = _checked(from_json(QueryRequest, one.request), self.guards)
                except E2IError as error:
                    await self.conversations.end(one.trace_id, status="failed")
                    progress(f"the question {one.trace_id} cannot be resumed and was given up: {error}")
                    continue
                found.append(await self._answer(request, one.trace_id, progress))
        return found

    @asynccontextmanager
    async def _turn(self, session_id: str) -> AsyncIterator[bool]:
        """Wait until it is a session's turn and there is room; False while another process answers in it."""
        turn = self._sessions.setdefault(session_id, asyncio.Lock())
        async with turn, self._slots, self.session.claim(conversation(session_id)) as mine:
            yield mine

    async def _admit(self, request: QueryRequest, trace_id: str) -> None:
        used = await self._used(request.session_id)
        asker = {"role": request.role, "expertise": request.user_expertise}
        if (refused := self.guards.limits.check(used)) is not None:
            await self.conversations.refuse(request.session_id, trace_id, rule=refused.rule, **asker)
            raise GuardrailViolation(refused.reason)
        await self.conversations.begin(request.session_id, trace_id, request=to_json(request), **asker)

    async def _answer(self, request: QueryRequest, trace_id: str, on_progress: Progress) -> QueryResult:
        budget = await self._budget(request.session_id)
        client = open_client(
            load_llm_config(), prices=self.session.tracer.config.prices, tracer=self.session.tracer, budget=budget
        )
        try:
            deps = run_deps(self.session.database, "orchestrator", on_progress, trace_id=trace_id)
            deps = dataclasses.replace(deps, audit=AuditChain(self.session.database, trace_id))
            parts = parts_of(request.session_id, self.session.database, self.prompts, self.retriever)
            result = await run_recorded(
                self._orchestrator(None if client.provider == NoModel.provider else client, parts, on_progress),
                request,
                deps,
                self.session.database,
                activity_type="query",
                workstream="WS3",
                records=lambda found: len(found.findings),
                too_slow=TOO_SLOW,
            )
        except OUTAGES:
            raise  # the question stays unfinished and its checkpoints stay, so that it can be resumed
        except Exception:
            await self.conversations.end(
                trace_id, status="failed", tokens=budget.spent.tokens, dollars=budget.spent.dollars
            )
            raise
        finally:
            await client.aclose()
        result = await self._kept(result, request, parts.given, deps)
        await self.conversations.end(
            trace_id,
            status=_status(result),
            rule=result.classification.rule if result.declined and result.classification else None,
            tokens=budget.spent.tokens,
            dollars=budget.spent.dollars,
        )
        return result

    async def _kept(self, result: QueryResult, request: QueryRequest, given: GivenInputs, deps: Deps) -> QueryResult:
        """The result, sealed and stored; one that cannot be stored says so."""
        interaction = of_query(result, request, given.retrieval_config_id)
        await seal_answer(OrchestratorAgent.agent_name, interaction.query, interaction.answer, deps)
        if await keep(self.session.database, interaction, given.documents):
            return result
        meta = dataclasses.replace(result.meta, degraded=(*result.meta.degraded, NOT_KEPT))
        return dataclasses.replace(result, meta=meta)

    async def _budget(self, session_id: str) -> Budget:
        """What this question may spend: the configured limit of a run, or what the session has left of its own."""
        run = load_llm_config().budget
        tokens, dollars = self.guards.remaining(await self._used(session_id))
        return Budget(max(1, min(run.max_tokens or tokens, tokens)), self._dollars(run.max_dollars, dollars))

    def _dollars(self, of_run: float | None, left: float) -> float | None:
        """The smaller limit; that of the session only where prices are known: a call without one would be refused."""
        config, prices = load_llm_config(), self.session.tracer.config.prices
        if not all(prices.cost(model, 1, 1) is not None for model in _models(config)):
            return of_run
        left = max(left, SMALLEST_AMOUNT)
        return left if of_run is None else min(of_run, left)

    async def _used(self, session_id: str) -> SessionUse:
        used = await self.conversations.usage(session_id)
        return SessionUse(used.questions_last_hour, used.tokens, used.dollars)

    def _orchestrator(self, llm: LLMClient | None, parts: SessionParts, on_progress: Progress) -> OrchestratorAgent:
        explainer = ExplainerAgent(ExplainerServices(parts.prompts, llm))
        passages = CorpusPassages(parts.retriever, parts.given.retrieved_with)
        return OrchestratorAgent(
            Services(
                specialists=self._specialists(llm, parts, on_progress),
                writer=ExplainerWriter(self.session, explainer, on_progress, parts.given),
                vocabulary=load_vocabulary(),
                guards=self.guards,
                contexts=passages if self.has_documents else None,
                llm=llm,
                prompts=parts.prompts,
            ),
            self.session.checkpointer,
            graph=self._graph,
        )

    def _specialists(
        self, llm: LLMClient | None, parts: SessionParts, on_progress: Progress
    ) -> Mapping[str, Specialist]:
        database = self.session.database
        compositions = CompositionRepository(database)
        composer = ToolComposer(
            ComposerServices(
                vocabulary=load_vocabulary(),
                kpis={one.id: one for one in load_kpis()},
                plans=compositions,
                knowledge=_Declared(self.session),
                llm=llm,
                prompts=parts.prompts,
                compositions=compositions,
                memory=self._memory,
            )
        )
        pipeline = RAGPipeline(
            parts.retriever, load_rag_config().answering, llm=llm, tracer=self.session.tracer, prompts=parts.prompts
        )
        agents: tuple[Specialist, ...] = (
            CausalSpecialist(dataclasses.replace(self.session, on_progress=on_progress), self.guards),
            ComposerSpecialist(self.session, composer, self.guards, on_progress),
            ExplainerSpecialist(pipeline if self.has_documents else None, parts.given),
            HealthSpecialist(self.session, self.observer, on_progress),
        )
        return {one.agent_name: one for one in agents}


@dataclass(frozen=True)
class _Declared:
    """What datasets of the catalogue declare about causes."""

    session: Session

    async def declared(self, dataset: str) -> Mapping[str, Any]:
        try:
            return (await self.session.datasets.record(dataset)).declared
        except DatasetNotFound:
            return {}


@asynccontextmanager
async def open_assistant(session: Session) -> AsyncIterator[Assistant]:
    """The agents over an open session's database."""
    config = load_rag_config()
    async with AsyncExitStack() as stack:
        embeddings = open_embeddings(config.embedding, tracer=session.tracer)
        stack.push_async_callback(close_embeddings, embeddings)
        yield Assistant(
            session=session,
            guards=load_guards(),
            retriever=open_retriever(session.database, config, embeddings=embeddings, tracer=session.tracer),
            observer=observer_over(session.database),
            prompts=await open_prompts(session.database),
            conversations=ConversationRepository(session.database),
            has_documents=not await ChunkRepository(session.database).is_empty(),
            _graph=build_graph(session.checkpointer),
            _memory=FrameMemory(session.datasets.version),
        )


def _checked(request: QueryRequest, guards: Guards) -> QueryRequest:
    """The request without persons in its question.

    Raises QuestionNotUnderstood for what cannot be a question, ContractViolation for an unknown reader, form, brand or
    region and for what is no session's id, ConfigError for an unknown role.
    """
    check_readable(request.query)
    for what, said, known in (
        ("reader", request.user_expertise, list(UserExpertise)),
        ("form of an answer", request.output_format, list(OutputFormat)),
    ):
        if said not in known:
            raise ContractViolation(f"there is no {what} '{said[:40]}'; use {', '.join(map(str, known))}")
    try:
        UUID(request.session_id)
    except ValueError:
        raise ContractViolation(f"'{request.session_id[:60]}' is no id of a session") from None
    guards.hidden_columns(request.role)
    vocabulary = load_vocabulary()
    return dataclasses.replace(
        request,
        query=without_persons(request.query),
        brand=_named("brand", request.brand, vocabulary.brands),
        region=_named("region", request.region, vocabulary.regions),
    )


def _models(config: LLMSettings) -> Collection[str]:
    """The models that may be asked."""
    provider = detect_provider(config)
    if provider in ("anthropic", "openai"):
        return (config.anthropic if provider == "anthropic" else config.openai).models.by_purpose().values()
    return () if provider == "none" else (provider,)


def _named(kind: str, name: str | None, known: Sequence[Term]) -> str | None:
    """A brand or a region as the data write it. Raises ContractViolation for one that there is none of."""
    if name is None:
        return None
    canonical = {one.canonical.casefold(): one.canonical for one in known}
    if (found := canonical.get(name.strip().casefold())) is None:
        raise ContractViolation(f"there is no {kind} '{name[:40]}'; {nearest_names(name[:40], canonical.values())}")
    return found


def _status(result: QueryResult) -> str:
    if result.declined:
        return "declined"
    if result.clarification:
        return "asked_back"
    return "failed" if result.meta.status == "failed" else "answered"
