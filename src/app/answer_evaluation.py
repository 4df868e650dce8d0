"""How is every answer that was given scored afterwards, once, without holding up the answer?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from src.agents.feedback_learner.evaluation.applicability import speaks_of_effects
from src.agents.feedback_learner.evaluation.drift import DriftReport, watch_drift
from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.app.interactions import in_sample
from src.app.prompts import open_prompts
from src.app.tracing import traced_database
from src.domain.rubric import RubricContext
from src.errors import DataUnavailable, E2IError, ServiceOutage
from src.llm.configuration import load_llm_config
from src.llm.detection import open_client
from src.mlops.opik_connector import get_opik_connector
from src.mlops.quality.alerts import DataQualityAlerter
from src.mlops.tracing.ids import uuid7
from src.rag.combined import CombinedEvaluationResult, EvaluatedAnswer
from src.rag.configuration import load_rag_config
from src.rag.evaluator import RAGASEvaluator
from src.rag.judging.batch import in_parallel
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.declined import DECLINED
from src.rag.judging.opening import JudgeChoice, Scoring, batch_budget
from src.rag.opik_integration import EvaluationTraceContext, OpikEvaluationTracer
from src.rag.samples import EvaluationSample
from src.storage.database import Database
from src.storage.evaluation_results import EvaluationRepository, StoredEvaluation
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.user_signals import UserSignalRepository

_log = logging.getLogger(__name__)
Progress = Callable[[str, float], None]
EXPERTISE = "analyst"


@dataclass(frozen=True, slots=True)
class PendingReport:
    """What a worker did: answers scored, those that could not be (id, reason), and how many wait."""

    scored: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer with its scores, None before it was scored, and what somebody rated it (1–5)."""

    interaction: Interaction
    evaluation: StoredEvaluation | None
    rating: int | None


class AnswerScorer:
    """Scores answers by RAGAS or its heuristic and by the rubric, and stores what came out."""

    def __init__(
        self, database: Database, evaluator: RAGASEvaluator, rubric: RubricEvaluator, scoring: Scoring
    ) -> None:
        gateway = PostgresGateway(database)
        self._interactions = InteractionRepository(database)
        self._evaluations = EvaluationRepository(gateway)
        self._signals = UserSignalRepository(database)
        self._evaluator, self._rubric, self._scoring = evaluator, rubric, scoring

    async def score(self, interaction: Interaction, trace: EvaluationTraceContext | None = None) -> str | None:
        """Score one claimed answer and return the id of its signal.

        None when it was rated or taken over meanwhile: these scores do not know that, and it waits to be scored again.
        Raises DataUnavailable when nothing could be measured: the answer then stays to be scored.
        """
        began = time.perf_counter()
        contexts = tuple(str(one["text"]) for one in interaction.contexts if one.get("text"))
        sample = EvaluationSample(
            query=interaction.query,
            answer=interaction.answer,
            retrieved_contexts=contexts,
            # Without the answer's trace: it is given its scores once it is known that they are kept.
            metadata={"brand": interaction.brand, DECLINED: interaction.declined},
            sample_id=interaction.interaction_id,
        )
        result = await self._evaluator.scored(sample, self._scoring, trace)
        if result.error is not None and result.overall_score is None:
            raise DataUnavailable(f"no metric could be measured: {result.error}")
        rubric = await self._rubric.evaluate(await self._rubric_context(interaction))
        combined = CombinedEvaluationResult.of(
            result,
            rubric,
            run_id=trace.run_id if trace is not None else str(uuid7()),
            timestamp=datetime.now(UTC),
            evaluation_time_seconds=time.perf_counter() - began,
        )
        if not await self._interactions.holds(interaction):
            return None
        signal_id = await self._evaluations.store(combined.to_rows(_answer(interaction)))
        if self._evaluator.tracer.enabled:
            combined.log_to_opik(self._evaluator.tracer.connector, interaction.trace_id)
        await self._interactions.evaluated(interaction)
        return signal_id

    async def watch(self) -> DriftReport:
        """Whether judge and rules differ as they used to; alerts where they do not."""
        return await watch_drift(self._evaluations, self._rubric.config, DataQualityAlerter())

    async def _rubric_context(self, interaction: Interaction) -> RubricContext:
        evidence = _cited(interaction)
        return RubricContext(
            query=interaction.query,
            answer=interaction.answer,
            contexts=[text for _, text in evidence],
            evidence=[name for name, _ in evidence],
            expertise=interaction.user_expertise or EXPERTISE,
            component=interaction.component,
            declined=bool(interaction.declined),
            causal=speaks_of_effects(interaction.query, interaction.answer),
            user_rating=await self._signals.rating_of(interaction.interaction_id),
            recent_weaknesses=await self._evaluations.recent_weaknesses(
                interaction.component, other_than=interaction.interaction_id
            ),
        )


def _cited(interaction: Interaction) -> list[tuple[str, str]]:
    """Id and text of what the answer rests on: the cited chunk of each marker in turn, or all contexts."""
    texts = {str(one.get("chunk_id")): str(one["text"]) for one in interaction.contexts if one.get("text")}
    cited = [str(one["chunk_id"]) for one in interaction.citations if one.get("chunk_id") in texts]
    return [(name, texts[name]) for name in cited] or list(texts.items())


def _answer(interaction: Interaction) -> EvaluatedAnswer:
    return EvaluatedAnswer(
        query=interaction.query,
        answer=interaction.answer,
        contexts=interaction.contexts,
        component=interaction.component,
        interaction_id=interaction.interaction_id,
        trace_id=interaction.trace_id,
        session_id=interaction.session_id,
        prompt_version=next(iter(interaction.prompt_versions.values()), None),
        brand=interaction.brand,
    )


@asynccontextmanager
async def open_scorer(database: Database, provider: JudgeChoice = "auto") -> AsyncIterator[AnswerScorer]:
    """The configured judge, or without one the heuristics; metrics and rubric spend from one budget.

    Raises ConfigError for a judge that cannot be had.
    """
    connector = get_opik_connector()
    settings = load_llm_config()
    if provider not in ("auto", "none"):
        settings = settings.model_copy(update={"provider": provider})
    limits = EvaluationConfig()
    budget = batch_budget(settings, limits)
    evaluator = RAGASEvaluator(limits, provider, tracer=OpikEvaluationTracer(connector=connector), budget=budget)
    client = None
    if provider != "none":
        client = open_client(settings, prices=connector.config.prices, tracer=connector, budget=budget)
    try:
        async with evaluator.opened() as scoring:
            rubric = RubricEvaluator(llm=client, prompts=await open_prompts(database))
            await rubric.check()
            yield AnswerScorer(database, evaluator, rubric, scoring)
    finally:
        if client is not None:
            await client.aclose()


async def evaluate_pending(
    *,
    limit: int = 100,
    provider: JudgeChoice = "auto",
    only: Sequence[str] | None = None,
    unsampled: bool = False,
    on_progress: Progress = lambda step, share: None,
) -> PendingReport:
    """Score up to ``limit`` answers that wait, oldest first; several workers share them without doubling any.

    Answers outside the sample are scored only with ``unsampled``. Raises ConfigError for a judge that cannot be had,
    before any answer is claimed.
    """
    async with traced_database() as database:
        interactions = InteractionRepository(database)
        wanted = _Wanted(only, unsampled, min(limit, await interactions.waiting(only=only, unsampled=unsampled)))
        done = _Done()
        if wanted.limit:
            async with open_scorer(database, provider) as scorer, _traced() as trace:
                await _score_all(scorer, interactions, trace, wanted, done, on_progress)
                trace.set_sample_count(len(done.tried))
                await scorer.watch()
        waiting = await interactions.waiting(unsampled=unsampled)
        return PendingReport(tuple(done.scored), tuple(done.failed.items()), waiting)


@dataclass(frozen=True, slots=True)
class _Wanted:
    only: Sequence[str] | None
    unsampled: bool
    limit: int


@dataclass(slots=True)
class _Done:
    """What became of the answers, by id. Each is tried once."""

    tried: list[str] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


async def _score_all(
    scorer: AnswerScorer,
    interactions: InteractionRepository,
    trace: EvaluationTraceContext,
    wanted: _Wanted,
    done: _Done,
    on_progress: Progress,
) -> None:
    """Claim as many as are scored at a time, again and again: no claim is held while others are scored."""
    settings = load_rag_config().evaluation

    async def score(interaction: Interaction) -> None:
        await _score_one(scorer, interaction, trace, done)
        count = len(done.scored) + len(done.failed)
        on_progress(f"{count} of {wanted.limit}", min(1.0, count / wanted.limit))

    while (room := wanted.limit - len(done.tried)) > 0:
        claimed = await _claimed(interactions, min(room, settings.max_concurrent), wanted, done.tried)
        if not claimed:
            return
        done.tried += [one.interaction_id for one in claimed]
        try:
            await in_parallel(claimed, score, max_concurrent=settings.max_concurrent)
        finally:
            await asyncio.shield(
                interactions.release([one for one in claimed if one.interaction_id not in done.scored])
            )


async def _claimed(
    interactions: InteractionRepository, limit: int, wanted: _Wanted, tried: Sequence[str]
) -> list[Interaction]:
    """Claim answers; whoever is stopped in the middle of it gives them back."""
    claiming = asyncio.ensure_future(
        interactions.claim(limit, only=wanted.only, but_not=tried, unsampled=wanted.unsampled)
    )
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        await interactions.release(await claiming)
        raise


async def _score_one(
    scorer: AnswerScorer, interaction: Interaction, trace: EvaluationTraceContext, done: _Done
) -> None:
    """Score an answer, or note why it could not be."""
    try:
        if await scorer.score(interaction, trace) is not None:
            done.scored.append(interaction.interaction_id)
    except (E2IError, ServiceOutage, psycopg.Error) as error:
        done.failed[interaction.interaction_id] = f"{type(error).__name__}: {error}"


@asynccontextmanager
async def _traced() -> AsyncIterator[EvaluationTraceContext]:
    tracer = OpikEvaluationTracer(connector=get_opik_connector())
    async with tracer.trace_evaluation(str(uuid7()), {"what": "answers given"}) as trace:
        yield trace


async def evaluate_soon(trace_id: str) -> bool:
    """Score an answer that has just been given, if it is in the sample and done in time; True when it was.

    Never raises for what goes wrong: the answer is given, and stays to be scored by ``evaluate_pending``.
    """
    settings = load_rag_config().evaluation
    if not settings.drain_seconds or not in_sample(trace_id):
        return False
    try:
        async with asyncio.timeout(settings.drain_seconds), traced_database() as database:
            found = await InteractionRepository(database).find(trace_id)
            report = await evaluate_pending(limit=1, only=[found.interaction_id])
    except (E2IError, psycopg.Error, TimeoutError) as error:
        _log.warning("the answer of trace %s waits to be scored (%s)", trace_id, type(error).__name__)
        return False
    for _, problem in report.failed:
        _log.warning("the answer of trace %s waits to be scored (%s)", trace_id, problem)
    return bool(report.scored)


async def scored_answer(reference: str) -> ScoredAnswer:
    """An answer by its run, trace or own id, with its scores. Raises RunNotFound."""
    async with traced_database() as database:
        interaction = await InteractionRepository(database).find(reference)
        return ScoredAnswer(
            interaction,
            await EvaluationRepository(PostgresGateway(database)).of_interaction(interaction.interaction_id),
            await UserSignalRepository(database).rating_of(interaction.interaction_id),
        )
