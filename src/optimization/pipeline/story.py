"""What is there to say of a change: what, why, on which evidence, at which cost, by whom?"""

from __future__ import annotations

from src.domain.improvement import ActionStatus
from src.optimization.improver import Spend
from src.optimization.pipeline.evidence import difference, spend_of
from src.optimization.pipeline.guarding import paused_by
from src.optimization.pipeline.results import ActionStory, HopDone
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.trail import Trail, next_hop


async def story_of(services: PipelineServices, trail: Trail) -> ActionStory:
    """Everything that is known of a change, and whether its ledger is as it was written."""
    action = trail.action
    intact = await services.hops.verify(action.action_id)
    return ActionStory(
        action=action,
        diff=difference(action.before_config, action.after_config),
        hops=tuple(
            HopDone(one.hop, one.attempt, one.status, one.actor, one.happened_at, dict(one.evidence))
            for one in trail.hops
        ),
        spend=sum((spend_of(one.evidence["spend"]) for one in trail.hops if "spend" in one.evidence), Spend()),
        approved_by=action.approved_by,
        follows=await _follows(services, trail),
        intact=intact,
        problem="" if intact else "the ledger of this change was altered after it was written",
    )


async def _follows(services: PipelineServices, trail: Trail) -> str:
    if trail.action.status in (ActionStatus.QUEUED, ActionStatus.AWAITING_APPROVAL):
        return "a person decides"
    if (hop := next_hop(trail)) is None:
        return ""
    paused = await paused_by(services)
    return f"{hop.value}{f' ({paused})' if paused else ''}"
