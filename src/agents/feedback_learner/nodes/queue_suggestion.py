"""Leave to a person what is not bad enough to be changed without one."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.feedback_learner.batches import batch_of, cycle_of
from src.agents.feedback_learner.services import services_of
from src.agents.feedback_learner.state import LearnState, LearnUpdate, Step
from src.agents.feedback_learner.steps import items_of, patterns_of, step_of
from src.agents.runtime import Deps, traced_node
from src.domain.rubric import RubricDecision


@traced_node("feedback_learner", "queue_suggestion")
async def queue_suggestion(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """One queued action for each component whose decision is SUGGESTION."""
    pipeline = services_of(runtime.context).pipeline
    items, steps = await batch_of(state, runtime.context), list[Step]()
    for verdict in state["verdicts"]:
        if verdict.decision is RubricDecision.SUGGESTION:
            those, patterns = items_of(verdict, items), patterns_of(verdict, state)
            found = await pipeline.suggest(verdict.component, verdict.decision, those, patterns, cycle_of(state))
            steps.append(step_of(verdict.component, found))
    return {"suggestions": tuple(steps)}
