"""How good are these answers? RAGAS with the judge that is configured, else the heuristic; always said which."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from src.domain.rubric import Rubric, RubricContext, RubricEvaluation
from src.llm.budget import Budget
from src.llm.client import LLMClient
from src.mlops.tracing.ids import uuid7
from src.rag.combined import CombinedEvaluationResult
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.evaluation_report import result_of, without_scores
from src.rag.judging.batch import OnProgress, in_parallel
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.declined import declined_scores, is_declined, is_judged, without_answer
from src.rag.judging.opening import Choice, Heuristic, JudgeChoice, Scored, Scoring, open_scoring
from src.rag.judging.scorer import described
from src.rag.opik_integration import (
    EvaluationTraceContext,
    OpikEvaluationTracer,
    log_ragas_scores_to_opik,
    log_rubric_scores_to_opik,
)
from src.rag.samples import EvaluationSample
from src.rag.scores import EvaluationResult

TRACE_ID = "trace_id"
"""Metadata of a sample: the trace its answer was given in, which takes the scores."""


class RAGASEvaluator:
    """Scores samples. ``llm_provider``: ``auto`` takes the configured provider, else the one a key is there for.

    With ``openai`` or ``anthropic`` that judge is used or ConfigError raised; ``none``, and ``auto`` without a model,
    score by the heuristic. A metric that the judge could not measure is not filled in by the heuristic. ``llm``,
    ``embeddings`` and ``heuristic`` go before those of the configuration; a given client keeps its own budget and is
    not closed here. A given ``budget`` stands for that of each batch, so that other calls can share it.
    """

    def __init__(
        self,
        config: EvaluationConfig | None = None,
        llm_provider: JudgeChoice = "auto",
        enable_opik_tracing: bool = True,
        *,
        llm: LLMClient | None = None,
        embeddings: EmbeddingProvider | None = None,
        heuristic: Heuristic | None = None,
        tracer: OpikEvaluationTracer | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        budget: Budget | None = None,
    ) -> None:
        self.config = config if config is not None else EvaluationConfig()
        self.tracer = tracer if tracer is not None else OpikEvaluationTracer(enabled=enable_opik_tracing)
        self._choice = Choice(llm_provider, llm, embeddings, heuristic, self.tracer.enabled, sleep, budget)

    async def evaluate_sample(self, sample: EvaluationSample, run_id: str | None = None) -> EvaluationResult:
        """Score one sample, in a trace of its own or below the span that is open.

        Raises ConfigError; whatever the judge does is in the result.
        """
        async with self.opened() as scoring:
            return await self.scored(sample, scoring)

    async def evaluate_batch(
        self, samples: Sequence[EvaluationSample], batch_run_id: str, on_progress: OnProgress | None = None
    ) -> list[EvaluationResult]:
        """Score samples in their order, ``max_concurrent`` at a time, within one budget. Raises as above."""
        async with self.opened() as scoring, self.tracer.trace_evaluation(batch_run_id) as trace:
            trace.set_sample_count(len(samples))
            return await in_parallel(
                samples,
                lambda sample: self.scored(sample, scoring, trace),
                max_concurrent=self.config.max_concurrent,
                on_progress=on_progress,
            )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Scoring]:
        """The judge or the heuristic, for one batch."""
        async with open_scoring(self._choice, self.config) as scoring:
            yield scoring

    async def scored(
        self, sample: EvaluationSample, scoring: Scoring, parent: EvaluationTraceContext | None = None
    ) -> EvaluationResult:
        """Score one sample with an open scoring; its scores go to the trace of its answer."""
        async with self.tracer.trace_sample_evaluation(sample.sample_id, parent, sample.query) as trace:
            began = time.perf_counter()
            try:
                found = await _scored(sample, scoring)
            except Exception as error:  # noqa: BLE001 - recorded as this sample's error; the batch goes on
                return without_scores(sample, described(error), scoring.method, self.config.thresholds)
            duration_ms = (time.perf_counter() - began) * 1000
            result = result_of(sample, found, scoring.method, self.config.thresholds, duration_ms=duration_ms)
            trace.log_ragas_scores(result, answer_trace_id=sample.metadata.get(TRACE_ID))
            return result

    async def evaluate_with_rubric(
        self, sample: EvaluationSample, rubric: Rubric, run_id: str | None = None
    ) -> CombinedEvaluationResult:
        """Score a sample both ways and join the scores; both go to the trace of its answer.

        Without an answer there is nothing to judge by the rubric. Raises ConfigError, and what the rubric raises.
        """
        began = time.perf_counter()
        result = await self.evaluate_sample(sample, run_id)
        evaluation = await rubric.evaluate(_rubric_context(sample, sample.answer)) if sample.answer else None
        trace_id = sample.metadata.get(TRACE_ID)
        if evaluation is not None and trace_id is not None:
            self.log_rubric_scores(evaluation, trace_id)
        return CombinedEvaluationResult.of(
            result,
            evaluation,
            run_id=run_id or str(uuid7()),
            timestamp=datetime.now(UTC),
            evaluation_time_seconds=time.perf_counter() - began,
        )

    def log_ragas_scores(self, result: EvaluationResult, trace_id: str) -> list[str]:
        """Give a trace the measured scores; returns their names, none while tracing is off."""
        if not self.tracer.enabled:
            return []
        return log_ragas_scores_to_opik(trace_id, result, connector=self.tracer.connector)

    def log_rubric_scores(self, evaluation: RubricEvaluation, trace_id: str) -> list[str]:
        """Give a trace the scores of the rubric; returns their names, none while tracing is off."""
        if not self.tracer.enabled:
            return []
        return log_rubric_scores_to_opik(trace_id, evaluation, connector=self.tracer.connector)


async def _scored(sample: EvaluationSample, scoring: Scoring) -> Scored:
    if not is_declined(sample):
        return await scoring.score(sample)
    found = await scoring.score(without_answer(sample))
    return Scored(declined_scores(found.scores, judged=is_judged(sample)), found.cost, found.model, found.error)


def _rubric_context(sample: EvaluationSample, answer: str) -> RubricContext:
    """What a judge by the rubric sees; component, expertise and evidence ids stand in the sample's metadata."""
    known = {
        name: sample.metadata[name] for name in ("component", "expertise", "user_rating") if name in sample.metadata
    }
    evidence = tuple(sample.metadata.get("evidence", ()))
    declined = is_declined(sample)
    return RubricContext(sample.query, answer, sample.scored_contexts, evidence, declined=declined, **known)
