"""Carry each proposed change as far as it goes now: guardrails, test, approval, canary."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.feedback_learner.services import services_of
from src.agents.feedback_learner.state import LearnState, LearnUpdate, Step
from src.agents.feedback_learner.steps import carried
from src.agents.runtime import Deps, traced_node
from src.domain.improvement import ActionStatus


@traced_node("feedback_learner", "update")
async def update_components(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """Where each change stands. One that a person has to agree to is put to a person, and holds up no other."""
    services, steps = services_of(runtime.context), list[Step]()
    for proposed in state["proposals"]:
        if proposed.action_id is None:
            continue
        step = carried(proposed, await services.pipeline.carry_on(proposed.action_id))
        if step.status is ActionStatus.AWAITING_APPROVAL and services.approvals is not None:
            await services.approvals.ask(proposed.action_id, step.reason)
        steps.append(step)
    return {"actions": tuple(steps)}
