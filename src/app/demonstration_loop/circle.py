"""How does a poor answer make later ones better? Each step of the circle on real parts, and what stands in the tables.

The clock of the loop is moved on where the loop waits for hours to pass; everything else happens as it does every day.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig, load_self_improvement
from src.agents.orchestrator.agent import QueryResult
from src.agents.orchestrator.state import QueryRequest
from src.app.answer_evaluation import evaluate_pending
from src.app.corpus import add_insights
from src.app.demonstration_loop.model import ObedientModel
from src.app.demonstration_loop.questions import effect_questions
from src.app.demonstration_loop.world import ServedModel
from src.app.generated_data import register_panel
from src.app.improving.opening import LoopOptions
from src.app.improving.schedule import RoundReport, Rounds, open_rounds
from src.app.orchestration import open_assistant
from src.app.session import Session, open_session
from src.domain.prompts import load_prompt
from src.errors import DataUnavailable
from src.mlops.scoring import RAGAS_WEIGHTS, weighted_mean_of_present
from src.optimization.gepa.configuration import GepaConfig, load_gepa_config
from src.optimization.pipeline.results import CarriedOn
from src.storage.canaries import CanaryRepository
from src.storage.improvement_actions import ImprovementAction
from src.storage.learning_items import LearningItemRepository
from src.storage.prompt_versions import PromptRepository
from src.storage.retrieval_configurations import RetrievalConfig, RetrievalConfigRepository

EXPLAINER, RETRIEVAL = "explainer", "retrieval"
HCPS, RANDOM_STATE = 100, 42
ASKED_AT_ONCE = 40
SERVED_BUDGET = 12
IMPROVE_EVERYTHING = {"acceptable": 5.0, "suggestion": 4.99, "auto_update": 1.0}
DEMONSTRATOR = "demonstration"
WEAK_SUMMARY = "- `summary`: one short sentence."
_WEAKENED = ("- `summary`:", "- `points`:")
POOR = {"k": 1, "dense_weight": 0.0, "text_weight": 0.0, "graph_weight": 1.0, "rerank": False}


def small_settings() -> SelfImprovementConfig:
    """The configuration with the numbers of answers that a demonstration can give.

    Levels of error, gains and margins are the configured ones but two: a scripted model answers in milliseconds, which
    are the machine's, and a dozen sessions show no smaller difference of the RAGAS mean.
    """
    config = load_self_improvement()
    canary = config.canary.model_copy(
        update={"share": 0.5, "target_items": 12, "min_items_per_arm": 6, "retrieval_margin": 0.15}
    )
    return config.model_copy(
        update={
            "gate": config.gate.model_copy(update={"min_items": 8, "latency_margin": 10.0}),
            "canary": canary,
            "safety": config.safety.model_copy(update={"min_measure_samples": 10}),
            "improvement": config.improvement.model_copy(update={"retrieval_trials": 20}),
        }
    )


def least_settings() -> SelfImprovementConfig:
    """Numbers of answers that a small model on this machine gives in minutes; nothing can be shown with so few.

    Whatever the model thinks of its answers, they are to be improved.
    """
    config = small_settings()
    everything = config.rubric.thresholds.model_copy(update=IMPROVE_EVERYTHING)
    return config.model_copy(
        update={
            "rubric": config.rubric.model_copy(update={"thresholds": everything}),
            "gate": config.gate.model_copy(update={"min_items": 3}),
            "canary": config.canary.model_copy(update={"target_items": 4, "min_items_per_arm": 2}),
            "safety": config.safety.model_copy(update={"min_measure_samples": 2}),
        }
    )


def small_budget(judged: int = 60) -> GepaConfig:
    """GEPA with a few dozen judged answers instead of two thousand."""
    config = load_gepa_config()
    agents = {name: one.model_copy(update={"budget": "light"}) for name, one in config.agents.items()}
    return config.model_copy(update={"agents": agents, "budgets": config.budgets.model_copy(update={"light": judged})})


def weak_prompt() -> str:
    """The shipped prompt without what makes an explanation useful: how sure it is, and what follows from it."""
    kept = [line for line in load_prompt(EXPLAINER).text.splitlines() if not line.startswith(_WEAKENED)]
    return "\n".join([*kept, WEAK_SUMMARY, "- `points`: none are needed."])


@dataclass
class MovedClock:
    """The time in UTC, moved on by hand."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, hours: float) -> None:
        """Let that much time pass."""
        self.ahead += timedelta(hours=hours)


@dataclass
class Circle:
    """The steps; each can be looked at from outside before the next one.

    ``with_prompts``: there is a model, scripted or not, so that prompts can be improved. ``at_once`` questions are
    asked at the same time.
    """

    session: Session
    rounds: Rounds
    clock: MovedClock
    model: ObedientModel | None
    on_step: Callable[[str], None]
    with_prompts: bool = True
    at_once: int = ASKED_AT_ONCE
    questions: Iterator[str] = field(default_factory=lambda: iter(effect_questions()))

    async def spoil(self) -> None:
        """Put the weak prompt and the poor retrieval settings in use, two days ago."""
        database = self.session.database
        if self.with_prompts:
            prompts = PromptRepository(database)
            text = weak_prompt()
            weak = await prompts.add_candidate(
                EXPLAINER, text, action_id=None, origin="improvement", created_by=DEMONSTRATOR
            )
            await prompts.activate(EXPLAINER, weak.version, DEMONSTRATOR)
        settings = RetrievalConfigRepository(database)
        active = await settings.active()
        kept = {"chunk_size": active.chunk_size, "chunk_overlap": active.chunk_overlap}
        poor = await settings.add_candidate(POOR | kept, action_id=str(uuid4()))
        await settings.activate(poor.config.version, DEMONSTRATOR)
        self.clock.forward(48)

    async def ask(self, sessions: int | Sequence[str]) -> list[QueryResult]:
        """Ask as many new questions, each in a session of its own, and have the answers scored."""
        ids = [str(uuid4()) for _ in range(sessions)] if isinstance(sessions, int) else sessions
        asked = [QueryRequest(next(self.questions), one) for one in ids]
        turns = asyncio.Semaphore(self.at_once)
        done = 0
        async with open_assistant(self.session) as assistant:

            async def answered(request: QueryRequest) -> QueryResult:
                nonlocal done
                async with turns:
                    result = await assistant.ask(request, on_progress=lambda step: None)
                done += 1
                self.on_step(f"asking: {done} of {len(asked)}")
                return result

            results = await asyncio.gather(*map(answered, asked))
        self.on_step("scoring the answers")
        await evaluate_pending(limit=len(asked))
        return results

    async def ask_both_arms(self, least: int) -> int:
        """Ask in new sessions until each arm of every running canary has ``least`` of them; returns how many.

        A session is in an arm by a hash of its id, as always: those beyond what an arm needs are not asked.
        """
        running = [one for name in (EXPLAINER, RETRIEVAL) if (one := await self.canaries.running(name)) is not None]
        missing = {(one.canary_id, arm): least for one in running for arm in ("control", "treatment")}
        chosen: list[str] = []
        while any(count > 0 for count in missing.values()):
            session = str(uuid4())
            arms = [(one.canary_id, one.variant_of(session)) for one in running]
            if any(missing[arm] > 0 for arm in arms):
                chosen.append(session)
                for arm in arms:
                    missing[arm] -= 1
        await self.ask(chosen)
        return len(chosen)

    async def learn(self) -> RoundReport:
        """One round that learns from whatever waits."""
        return await self.rounds.round(at_once=True)

    async def measure(self) -> Sequence[CarriedOn]:
        """Carry on what is under way, as every round does first."""
        return await self.rounds.improvement.pipeline.measure()

    async def latest(self, component: str) -> ImprovementAction:
        """The newest change of a component. Raises DataUnavailable where there is none."""
        found = [
            one
            for one in await self.rounds.improvement.services.actions.list(component=component, limit=20)
            if one.status != "queued"
        ]
        if not found:
            raise DataUnavailable(f"no change of {component} was proposed")
        return found[0]

    async def scores(self, component: str, version: int | str) -> list[float]:
        """Scores of all answers that a prompt version (rubric points) or retrieval settings (RAGAS mean) gave."""
        items = LearningItemRepository(self.session.database)
        if isinstance(version, int):
            found = await items.evaluated(component, prompt_version=version)
            return [one.rubric_weighted for one in found if one.rubric_weighted is not None]
        means = [
            weighted_mean_of_present(one.ragas, RAGAS_WEIGHTS)
            for one in await items.evaluated(component, retrieval_config=version)
        ]
        return [one for one in means if one is not None]

    async def prompt_in_use(self) -> int:
        """Version of the explainer's prompt."""
        active = await PromptRepository(self.session.database).active(EXPLAINER)
        assert active is not None
        return active.version

    async def settings_in_use(self) -> RetrievalConfig:
        """Settings of retrieval."""
        return await RetrievalConfigRepository(self.session.database).active()

    @property
    def canaries(self) -> CanaryRepository:
        """The comparisons on a share of the sessions."""
        return self.rounds.improvement.services.canaries


@asynccontextmanager
async def open_circle(
    model: ObedientModel | None,
    on_step: Callable[[str], None] = lambda step: None,
    *,
    served: ServedModel | None = None,
) -> AsyncIterator[Circle]:
    """The circle on the configured database, with a small panel and its corpus.

    A ``served`` model is asked one thing at a time, and a dozen answers of GEPA's are judged.
    """
    clock = MovedClock()
    settings, budget = (
        (small_settings(), small_budget()) if served is None else (least_settings(), small_budget(SERVED_BUDGET))
    )
    options = LoopOptions(settings, budget, clock, on_progress=lambda step, share: on_step(step))
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(on_step))
        on_step("generating a small panel")
        await register_panel(session.catalogue, session.database, HCPS, RANDOM_STATE)
        await add_insights()
        rounds = await stack.enter_async_context(open_rounds(options, on_step))
        with_prompts = model is not None or served is not None
        yield Circle(session, rounds, clock, model, on_step, with_prompts, 1 if served is not None else ASKED_AT_ONCE)
