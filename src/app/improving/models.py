"""Which models answer, reflect and judge in the loop, and is who optimises another than who decides?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig
from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.agents.runtime import Deps
from src.app.improving.replays import ModelJudge
from src.app.improving.runners import runner_of
from src.domain.prompts import PromptSource
from src.errors import ConfigError
from src.llm.budget import Budget
from src.llm.client import LLMClient, LLMReply, Message, ReplyStream
from src.llm.configuration import LLMSettings
from src.llm.detection import detect_provider, open_client
from src.mlops.opik_connector import OpikConnector
from src.optimization.gepa.component import OpenTools, RunTools
from src.optimization.gepa.integration.ragas_feedback import RAGASFeedbackProvider
from src.optimization.gepa.judging import RubricRagasJudge
from src.rag.evaluator import RAGASEvaluator
from src.rag.judging.configuration import EvaluationConfig
from src.rag.opik_integration import OpikEvaluationTracer
from src.resilience.outcomes import Unavailable


@dataclass(frozen=True, slots=True)
class LoopModels:
    """The provider, the model that decides and the one that judges while a prompt is made."""

    settings: LLMSettings
    provider: str
    gate: str
    optimising: str

    def dollars(self, tracer: OpikConnector, limit: float) -> float | None:
        """``limit`` where every model has a price: a call without one would be refused. None is no limit."""
        own = self.settings.anthropic if self.provider == "anthropic" else self.settings.openai
        used = {*own.models.by_purpose().values(), self.gate, self.optimising}
        prices = tracer.config.prices
        return limit if all(prices.cost(model, 1, 1) is not None for model in used) else None


def loop_models(settings: LLMSettings, config: SelfImprovementConfig) -> LoopModels | None:
    """The models of a provider, None where no model is configured, or none to judge candidates while they are made.

    Raises ConfigError where one model would do both, and for a provider whose models are not told apart.
    """
    provider = detect_provider(settings)
    if provider == "none" or config.evaluation.provider == "none":
        return None
    if provider not in ("anthropic", "openai"):
        return None
    own = settings.anthropic if provider == "anthropic" else settings.openai
    gate, optimising = config.evaluation.model or own.models.judge, own.models.optimising_judge
    if not optimising:
        return None
    if gate == optimising:
        raise ConfigError(
            f"{gate} would judge prompts both while they are made and when it is decided whether they are used: set "
            f"{provider}.models.optimising_judge in config/llm.yaml"
            f"{' (E2I_OPENAI_OPTIMISING_JUDGE)' if provider == 'openai' else ''} to another model"
        )
    return LoopModels(settings, provider, gate, optimising)


class OneModelClient:
    """A client whose every call goes to one model."""

    def __init__(self, client: LLMClient, model: str) -> None:
        self._client, self._model = client, model

    @property
    def provider(self) -> str:
        """That of the client."""
        return self._client.provider

    async def complete(self, messages: Sequence[Message], **options: Any) -> LLMReply | Unavailable:
        """See ``LLMClient``; another ``model`` is left out of account."""
        return await self._client.complete(messages, **{**options, "model": self._model})

    def stream(self, messages: Sequence[Message], **options: Any) -> AbstractAsyncContextManager[ReplyStream]:
        """See ``LLMClient``."""
        return self._client.stream(messages, **{**options, "model": self._model})

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


def optimising_tools(
    models: LoopModels,
    config: SelfImprovementConfig,
    prompts: PromptSource,
    tracer: OpikConnector,
    deps: Callable[[str], Deps],
) -> OpenTools:
    """What a run that improves a prompt works with: the component itself, a judge of its own and one budget."""

    @asynccontextmanager
    async def opened(component: str, budget: Budget) -> AsyncIterator[RunTools]:
        client = open_client(models.settings, prices=tracer.config.prices, tracer=tracer, budget=budget)
        try:
            judging = OneModelClient(client, models.optimising)
            rubric = RubricEvaluator(config, judging, prompts=prompts)
            await rubric.check()
            evaluator = RAGASEvaluator(
                EvaluationConfig(), llm=judging, budget=budget, tracer=OpikEvaluationTracer(connector=tracer)
            )
            async with evaluator.opened() as scoring:
                ragas = RAGASFeedbackProvider(evaluator) if scoring.method == "ragas" else None
            judge = RubricRagasJudge(f"{models.provider}:{models.optimising}", rubric, ragas)
            yield RunTools(runner_of(component, client, tracer, deps), judge, client)
        finally:
            await client.aclose()

    return opened


@asynccontextmanager
async def gate_judge(
    models: LoopModels, config: SelfImprovementConfig, prompts: PromptSource, tracer: OpikConnector
) -> AsyncIterator[tuple[ModelJudge, LLMClient]]:
    """The judge that decides, and the client that answers what it judges."""
    limits = EvaluationConfig()
    budget = Budget(models.settings.budget.max_tokens, models.settings.budget.max_dollars)
    client = open_client(models.settings, prices=tracer.config.prices, tracer=tracer, budget=budget)
    try:
        judging = OneModelClient(client, models.gate)
        evaluator = RAGASEvaluator(limits, llm=judging, budget=budget, tracer=OpikEvaluationTracer(connector=tracer))
        async with evaluator.opened() as scoring:
            measured = scoring if scoring.method == "ragas" else None
            yield ModelJudge(f"{models.provider}:{models.gate}", judging, config, prompts, evaluator, measured), client
    finally:
        await client.aclose()
