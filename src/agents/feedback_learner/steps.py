"""What does a verdict rest on, and what became of it, in the words of this agent?"""

from __future__ import annotations

from collections.abc import Sequence

from src.agents.feedback_learner.state import ComponentVerdict, LearnState, Step
from src.domain.improvement import DetectedPattern, LearningItem
from src.optimization.pipeline.results import CarriedOn, Proposed


def items_of(verdict: ComponentVerdict, items: Sequence[LearningItem]) -> tuple[LearningItem, ...]:
    """The answers a verdict is about."""
    wanted = set(verdict.interaction_ids)
    return tuple(item for item in items if item.interaction_id in wanted)


def patterns_of(verdict: ComponentVerdict, state: LearnState) -> tuple[DetectedPattern, ...]:
    """The patterns seen in them."""
    wanted = set(verdict.interaction_ids)
    return tuple(
        one
        for one in state.get("patterns", ())
        if one.component == verdict.component or wanted.issuperset(one.evidence_ids)
    )


def step_of(component: str, found: Proposed) -> Step:
    """What came of a wish for a change."""
    action = found.action
    if action is None:
        return Step(component, None, None, found.reason)
    return Step(component, action.action_id, action.status, found.reason, tuple(action.knowledge_ids))


def carried(step: Step, found: CarriedOn) -> Step:
    """Where a change stands now."""
    hops = ", ".join(found.done) or "nothing to do now"
    reason = f"{hops}; waits for {found.waits_for}" if found.waits_for else hops
    return Step(step.component, found.action_id, found.status, reason, step.knowledge_ids)
