"""Who scores: a judge model with embeddings, or the heuristic? Chosen once, opened for one batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from src.errors import ConfigError
from src.llm.budget import Budget
from src.llm.client import LLMClient
from src.llm.configuration import LLMSettings, RetrySettings, load_llm_config
from src.llm.detection import detect_provider, open_client
from src.llm.none import NoModel
from src.mlops.opik_connector import get_opik_connector
from src.rag.configuration import load_rag_config
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.embeddings.selection import close_embeddings, open_embeddings
from src.rag.judging.calls import Judge, JudgeLimits
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.metering import MeteringTracer, tallied
from src.rag.judging.ragas_adapter import Ragas, available
from src.rag.judging.scorer import RagasScorer
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS, Cost, Method, Metric, MetricScore, unmeasured
from src.resilience.outcomes import Unavailable

JudgeChoice = Literal["auto", "openai", "anthropic", "none"]
Heuristic = Callable[[EvaluationSample], Mapping[Metric, MetricScore]]
MAX_COMPARISONS = 10_000
"""Of a claim with a sentence of the contexts, each about half a millisecond."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a scoring says of one sample."""

    scores: Mapping[Metric, MetricScore]
    cost: Cost = Cost()
    model: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Scoring:
    """An open way of scoring. ``notes`` say what a reader should know of the choice."""

    method: Method
    score: Callable[[EvaluationSample], Awaitable[Scored]]
    notes: tuple[str, ...] = ()
    judge: str | None = None
    """Provider and model as they are configured, None for the heuristic."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What an evaluator was given. ``llm``, ``embeddings`` and ``budget`` go before those of the configuration."""

    provider: JudgeChoice
    llm: LLMClient | None = None
    embeddings: EmbeddingProvider | None = None
    heuristic: Heuristic | None = None
    traced: bool = True
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    budget: Budget | None = None


@asynccontextmanager
async def open_scoring(choice: Choice, config: EvaluationConfig) -> AsyncIterator[Scoring]:
    """The judge that is configured, else the heuristic; closed at the end.

    Raises ConfigError when a judge was asked for by name and cannot be had.
    """
    unused = choice.provider == "none" or choice.llm is None or choice.llm.provider == NoModel.provider
    given = None if unused else choice.llm
    if (settings := _judge_settings(choice)) is None and given is None:
        yield heuristic_scoring(choice.heuristic, timeout_s=config.timeout_seconds)
        return
    ragas = await available()
    if isinstance(ragas, Unavailable):
        if choice.provider != "auto":
            raise ConfigError(f"the judge {choice.provider} cannot be used: {ragas.reason}")
        note = f"scored by the heuristic: {ragas.reason}"
        yield heuristic_scoring(choice.heuristic, note, timeout_s=config.timeout_seconds)
        return
    async with AsyncExitStack() as stack:
        if given is not None:
            judge = Judge(given, _limits(config), sleep=choice.sleep)
            embeddings = await _embeddings(stack, choice, "", None, None)
            name = given.provider
        else:
            assert settings is not None
            tracer, budget = _tracer(choice), choice.budget or batch_budget(settings, config)
            client = _client(settings, config, tracer, budget)
            stack.push_async_callback(client.aclose)
            judge = Judge(client, _limits(config), metered=True, sleep=choice.sleep)
            embeddings = await _embeddings(stack, choice, client.provider, tracer, budget)
            name = _judge_name(settings)
        yield replace(_judge_scoring(ragas, judge, embeddings, config), judge=name)


def heuristic_scoring(
    heuristic: Heuristic | None, note: str | None = None, *, timeout_s: float | None = None
) -> Scoring:
    """Scores without a model, computed in a thread; after ``timeout_s`` nothing is measured."""
    scores_of = own_heuristic if heuristic is None else heuristic

    async def score(sample: EvaluationSample) -> Scored:
        try:
            async with asyncio.timeout(timeout_s):
                return Scored(await asyncio.to_thread(scores_of, sample))
        except TimeoutError:
            late = unmeasured(f"not scored within {timeout_s:g} s", transient=True)
            return Scored(dict.fromkeys(METRICS, late))

    return Scoring("heuristic", score, (note,) if note else ())


def own_heuristic(sample: EvaluationSample) -> Mapping[Metric, MetricScore]:
    """The heuristic, for texts that it compares in seconds: a thread cannot be stopped, so larger ones stay out."""
    from src.rag.heuristics.claims import claims, sentence_tokens  # with the scoring, these load its tables
    from src.rag.heuristics.scoring import MAX_CHARACTERS, heuristic_scores

    texts = [sample.answer or "", *sample.scored_contexts]
    if all(isinstance(text, str) for text in texts) and sum(map(len, texts)) <= MAX_CHARACTERS:
        made, among = len(claims(texts[0])), sum(len(sentence_tokens(text)) for text in texts[1:])
        if made * among > MAX_COMPARISONS:
            reason = f"{made:,} claims among {among:,} sentences are more than {MAX_COMPARISONS:,} comparisons"
            return dict.fromkeys(METRICS, unmeasured(reason))
    return heuristic_scores(sample)


def _judge_settings(choice: Choice) -> LLMSettings | None:
    """The model settings to open a client with; None when none is to be opened. Raises ConfigError."""
    if choice.provider == "none" or choice.llm is not None:
        return None
    settings = load_llm_config()
    if choice.provider != "auto":
        settings = settings.model_copy(update={"provider": choice.provider})
    provider = detect_provider(settings)
    return None if provider == "none" else settings.model_copy(update={"provider": provider})


def _judge_name(settings: LLMSettings) -> str:
    name = str(settings.provider)
    own = {"anthropic": settings.anthropic, "openai": settings.openai}.get(name)
    return name if own is None else f"{name}:{own.models.judge}"


def _limits(config: EvaluationConfig) -> JudgeLimits:
    return JudgeLimits(config.retry_count, config.judge_max_tokens, config.max_concurrent)


def _tracer(choice: Choice) -> MeteringTracer:
    return MeteringTracer(get_opik_connector() if choice.traced else None)


def batch_budget(settings: LLMSettings, config: EvaluationConfig) -> Budget:
    """Of one batch: the lower of the evaluation's limit and that of every run."""
    limits = [one for one in (settings.budget.max_dollars, config.max_dollars) if one is not None]
    return Budget(settings.budget.max_tokens, min(limits) if limits else None)


def _client(settings: LLMSettings, config: EvaluationConfig, tracer: MeteringTracer, budget: Budget) -> LLMClient:
    """A metered client; trying again is left to the judge, which knows how much time a sample has left."""
    single = RetrySettings(**{**settings.retries.model_dump(), "attempts": 1})
    return open_client(
        settings.model_copy(update={"concurrency": config.max_concurrent, "retries": single}),
        prices=get_opik_connector().config.prices,
        tracer=tracer,
        budget=budget,
    )


async def _embeddings(
    stack: AsyncExitStack, choice: Choice, provider: str, tracer: MeteringTracer | None, budget: Budget | None
) -> EmbeddingProvider | Unavailable:
    """Those given; else OpenAI's beside a judge of OpenAI's, unless the configuration names others; else those."""
    if choice.embeddings is not None:
        return choice.embeddings
    settings = load_rag_config().embedding
    if settings.provider == "auto" and provider == "openai":
        settings = settings.model_copy(update={"provider": "openai"})
    opened = open_embeddings(settings, tracer=tracer, budget=budget)
    stack.push_async_callback(close_embeddings, opened)
    return opened


def _judge_scoring(
    ragas: Ragas, judge: Judge, embeddings: EmbeddingProvider | Unavailable, config: EvaluationConfig
) -> Scoring:
    scorer = RagasScorer(ragas, judge, embeddings, timeout_s=config.timeout_seconds)

    async def score(sample: EvaluationSample) -> Scored:
        with tallied() as tally:
            found = await scorer.score(sample, tally)
        return Scored(found.scores, tally.cost, scorer.model, found.error)

    return Scoring("ragas", score)
