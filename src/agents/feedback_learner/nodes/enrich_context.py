"""Recall what earlier cycles learnt and changed."""

from __future__ import annotations

from datetime import timedelta

from langgraph.runtime import Runtime

from src.agents.feedback_learner.services import services_of
from src.agents.feedback_learner.state import EarlierAction, KnownLesson, LearningContext, LearnState, LearnUpdate
from src.agents.runtime import Deps, traced_node

MOST_LESSONS, MOST_ACTIONS = 20, 50
FIRST_LOOK_BACK = timedelta(days=7)
OVERLAP = timedelta(days=1)
"""What is said of a trace may reach us late; read again it changes nothing."""


@traced_node("feedback_learner", "enrich")
async def enrich_context(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """Active lessons, the newest changes, and since when signals are new."""
    services = services_of(runtime.context)
    before = await services.cycles.last_ended()
    since = services.clock() - FIRST_LOOK_BACK if before is None else before.started_at - OVERLAP
    return {
        "context": LearningContext(
            since=since.isoformat(),
            lessons=tuple(
                KnownLesson(one.knowledge_id, one.lesson_type, one.component, one.title)
                for one in await services.lessons.active(limit=MOST_LESSONS)
            ),
            actions=tuple(
                EarlierAction(one.action_id, one.component, one.status, one.outcome_improved)
                for one in await services.earlier.list(limit=MOST_ACTIONS)
            ),
            last_cycle_id=None if before is None else before.cycle_id,
        )
    }
