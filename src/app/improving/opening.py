"""What does the improvement loop consist of on this machine? The one place where its parts are opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import MappingProxyType

from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig, load_self_improvement
from src.agents.runtime import Deps
from src.app.agent_runs import run_deps
from src.app.improving.hard_questions import hard_questions
from src.app.improving.models import LoopModels, gate_judge, loop_models, optimising_tools
from src.app.improving.replays import PromptReplay
from src.app.improving.runners import CANNOT_BE_TRIED, TRIED_PROMPTS, runner_of
from src.app.prompts import open_prompts
from src.domain.guards import load_guards
from src.domain.improvement import ChangeKind, Replay
from src.domain.vocabulary import load_vocabulary
from src.errors import HPOError
from src.llm.configuration import load_llm_config
from src.mlops.mlflow_connector import get_mlflow_connector
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.mlops.quality.alerts import DataQualityAlerter, LogAlertHandler, WebhookAlertHandler
from src.optimization.gepa.configuration import GepaConfig, load_gepa_config
from src.optimization.gepa.improver import PromptImprover
from src.optimization.improver import Candidate, ImprovementTask, Improver
from src.optimization.pipeline.improvement import ImprovementPipeline
from src.optimization.pipeline.services import PipelineServices, now
from src.optimization.retrieval.improver import RetrievalImprover
from src.optimization.retrieval.items import LabelledItems
from src.optimization.retrieval.replay import RetrievalReplay
from src.optimization.text.injection import injected
from src.optimization.text.north_stars import protected_sentences
from src.optimization.text.sentences import sentences
from src.rag.configuration import load_rag_config
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.embeddings.selection import close_embeddings, open_embeddings
from src.resilience.outcomes import Unavailable
from src.storage.canaries import CanaryRepository
from src.storage.cycles import CycleRepository
from src.storage.database import Database
from src.storage.improvement_actions import ActionRepository
from src.storage.improvement_hops import HopLedger
from src.storage.improvement_switch import ImprovementSwitch
from src.storage.knowledge import KnowledgeRepository
from src.storage.learning_items import LearningItemRepository
from src.storage.prompt_versions import PromptRepository, PromptStore
from src.storage.retrieval_configurations import RetrievalConfigRepository

Clock = Callable[[], datetime]
Progress = Callable[[str, float], None]
ACTOR = "improvement loop"


def quiet(step: str, share: float) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class LoopOptions:
    """What may differ from the configuration: settings, the optimiser's, the time, and who watches."""

    config: SelfImprovementConfig = field(default_factory=load_self_improvement)
    gepa: GepaConfig = field(default_factory=load_gepa_config)
    clock: Clock = now
    actor: str = ACTOR
    on_progress: Progress = quiet


@dataclass(frozen=True)
class Improvement:
    """The open loop. ``models`` is None where no model is configured: then only retrieval is changed."""

    database: Database
    pipeline: ImprovementPipeline
    services: PipelineServices
    cycles: CycleRepository
    prompts: PromptStore
    options: LoopOptions
    tracer: OpikConnector
    models: LoopModels | None


@asynccontextmanager
async def open_improvement(database: Database, options: LoopOptions | None = None) -> AsyncIterator[Improvement]:
    """The loop over a database. Raises ConfigError for a model that would judge its own candidates."""
    chosen = options or LoopOptions()
    tracer = get_opik_connector()
    models = loop_models(load_llm_config(), chosen.config)
    async with AsyncExitStack() as stack:
        embeddings = open_embeddings(load_rag_config().embedding, tracer=tracer)
        stack.push_async_callback(close_embeddings, embeddings)
        prompts = await open_prompts(database)
        improvers, replays = _retrieval(database, chosen, embeddings)
        if models is not None:
            parts = _Parts(database, chosen, tracer, prompts, models)
            improvers[ChangeKind.PROMPT] = OrWhyNot(parts.improver())
            replays[ChangeKind.PROMPT] = await stack.enter_async_context(parts.replay())
        services = pipeline_services(database, chosen, improvers, replays, embeddings)
        yield Improvement(
            database=database,
            pipeline=ImprovementPipeline(services),
            services=services,
            cycles=CycleRepository(database),
            prompts=prompts,
            options=chosen,
            tracer=tracer,
            models=models,
        )


def pipeline_services(
    database: Database,
    options: LoopOptions,
    improvers: Mapping[ChangeKind, Improver] = MappingProxyType({}),
    replays: Mapping[ChangeKind, Replay] = MappingProxyType({}),
    embeddings: EmbeddingProvider | Unavailable | None = None,
) -> PipelineServices:
    """What the pipeline works with. Without improvers and replays nothing is made or tested, and everything else can
    be done: a person's decisions need no model."""
    return PipelineServices(
        database=database,
        actions=ActionRepository(database),
        hops=HopLedger(database),
        knowledge=KnowledgeRepository(database),
        canaries=CanaryRepository(database),
        prompts=PromptRepository(database),
        retrieval=RetrievalConfigRepository(database),
        items=LearningItemRepository(database),
        switch=ImprovementSwitch(database),
        improvers=improvers,
        gate_replays=replays,
        settings=options.config,
        item_sources={ChangeKind.RETRIEVAL: LabelledItems(database, load_vocabulary())},
        hard_questions=hard_questions,
        embeddings=None if isinstance(embeddings, Unavailable) else embeddings,
        alerts=alerter(options.config),
        clock=options.clock,
        actor=options.actor,
        on_progress=options.on_progress,
    )


@dataclass(frozen=True)
class OrWhyNot:
    """An improver whose refusal of a task is a reason and no error: the cycle goes on with other components."""

    improver: Improver

    @property
    def kind(self) -> ChangeKind:
        """What it changes."""
        return self.improver.kind

    async def improve(self, task: ImprovementTask) -> Candidate:
        """See ``Improver``; too few items, and a component that cannot be tried on earlier questions, give none."""
        component = task.current.component
        if self.kind is ChangeKind.PROMPT and component not in TRIED_PROMPTS:
            return Candidate(None, CANNOT_BE_TRIED.format(component=component))
        try:
            return await self.improver.improve(task)
        except HPOError as error:
            return Candidate(None, str(error))


def alerter(config: SelfImprovementConfig) -> DataQualityAlerter:
    """Who is told of roll-backs and escalations: the log, and the webhook of ``safety.alert_to``."""
    address = config.safety.alert_to
    return DataQualityAlerter(None, LogAlertHandler(), *([WebhookAlertHandler(address)] if address else []))


def _retrieval(
    database: Database, options: LoopOptions, embeddings: EmbeddingProvider | Unavailable
) -> tuple[dict[ChangeKind, Improver], dict[ChangeKind, Replay]]:
    """What makes and tests retrieval settings; no model is needed."""
    rag, vocabulary = load_rag_config(), load_vocabulary()
    improver = RetrievalImprover(
        database, rag, options.config, embeddings=embeddings, vocabulary=vocabulary, mlflow=get_mlflow_connector()
    )
    replay = RetrievalReplay.open(database, rag, embeddings=embeddings, vocabulary=vocabulary)
    return {ChangeKind.RETRIEVAL: OrWhyNot(improver)}, {ChangeKind.RETRIEVAL: replay}


@dataclass(frozen=True)
class _Parts:
    """What makes and tests prompts."""

    database: Database
    options: LoopOptions
    tracer: OpikConnector
    prompts: PromptStore
    models: LoopModels

    def improver(self) -> PromptImprover:
        config = self.options.config
        return PromptImprover(
            config.improvement,
            self.options.gepa,
            optimising_tools(self.models, config, self.prompts, self.tracer, self._deps),
            max_dollars=self.models.dollars(self.tracer, config.improvement.max_run_dollars),
            length_margin=config.gate.length_margin,
            longest_copy=config.gate.longest_copy,
            keep=self._kept,
            refusal=_refusal,
            mlflow=get_mlflow_connector(),
            opik=self.tracer,
        )

    @asynccontextmanager
    async def replay(self) -> AsyncIterator[PromptReplay]:
        """Answers with the clients of the gate, judged by its model."""
        async with gate_judge(self.models, self.options.config, self.prompts, self.tracer) as (judge, client):
            runner = partial(runner_of, client=client, tracer=self.tracer, deps=self._deps)
            yield PromptReplay(runner, judge, max_concurrent=load_rag_config().evaluation.max_concurrent)

    def _deps(self, agent: str) -> Deps:
        return run_deps(self.database, agent, lambda step: None)

    def _kept(self, text: str) -> Sequence[str]:
        return protected_sentences(text, self.options.config)


def _refusal(text: str) -> str | None:
    """Why a wording may not even be tried: it carries what an attacker would write."""
    found = injected([one.text for one in sentences(text)], load_guards())
    return found[0] if found else None
