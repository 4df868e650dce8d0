"""What does feedback_learner work with here?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from src.agents.configuration import load_agents_config
from src.agents.feedback_learner.agent import FeedbackLearnerAgent
from src.agents.feedback_learner.approval import ApprovalDesk
from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.agents.feedback_learner.services import Scored, Services
from src.agents.feedback_learner.trace_scores import TraceFeedback
from src.app.answer_evaluation import evaluate_pending
from src.app.improving.opening import Improvement, alerter
from src.llm.client import LLMClient
from src.llm.configuration import load_llm_config
from src.llm.detection import open_client
from src.llm.none import NoModel
from src.mlops.mlflow_connector import get_mlflow_connector
from src.storage.evaluation_results import EvaluationRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.quality_signals import QualitySignalRepository
from src.storage.traces import TraceRepository


class WaitingAnswers:
    """Scores the answers that wait, as ``e2i evaluate pending`` does."""

    async def score_waiting(self, limit: int) -> Scored:
        """See ``Scorer``. Raises ConfigError for a judge that cannot be had."""
        report = await evaluate_pending(limit=limit)
        return Scored(len(report.scored), len(report.failed))


@dataclass(frozen=True)
class Learner:
    """The agent of one process, and the desk where people answer."""

    agent: FeedbackLearnerAgent
    desk: ApprovalDesk


@asynccontextmanager
async def open_learner(improvement: Improvement, checkpointer: BaseCheckpointSaver[Any]) -> AsyncIterator[Learner]:
    """feedback_learner over the open loop; its model, where one is configured, is closed at the end."""
    tracer = improvement.tracer
    client = open_client(load_llm_config(), prices=tracer.config.prices, tracer=tracer)
    try:
        desk = ApprovalDesk(checkpointer, improvement.pipeline)
        llm = None if client.provider == NoModel.provider else client
        yield Learner(FeedbackLearnerAgent(_services(improvement, desk, llm), checkpointer), desk)
    finally:
        await client.aclose()


def _services(improvement: Improvement, desk: ApprovalDesk, llm: LLMClient | None) -> Services:
    database, parts, options = improvement.database, improvement.services, improvement.options
    opik = improvement.tracer if improvement.tracer.config.opik.enabled else None
    return Services(
        settings=options.config,
        items=parts.items,
        rubric=RubricEvaluator(options.config, llm, prompts=improvement.prompts),
        evaluations=EvaluationRepository(PostgresGateway(database)),
        signals=QualitySignalRepository(database),
        lessons=parts.knowledge,
        earlier=parts.actions,
        cycles=improvement.cycles,
        pipeline=improvement.pipeline,
        alerts=parts.alerts or alerter(options.config),
        approvals=desk,
        scorer=WaitingAnswers(),
        feedback=TraceFeedback(opik, TraceRepository(database)),
        mlflow=get_mlflow_connector(),
        llm=llm,
        prompts=improvement.prompts,
        budgets={name: one.timeout_seconds for name, one in load_agents_config().agents.items()},
        clock=options.clock,
    )
