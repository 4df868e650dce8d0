"""How is a hop done once, with the time of the loop's clock and its effect?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.domain.improvement import ActionStatus, Hop
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.trail import Trail
from src.storage.database import Session
from src.storage.improvement_hops import Effect


async def trail_of(services: PipelineServices, action_id: str) -> Trail:
    """An action and its ledger as they are now. Raises RunNotFound."""
    # The ledger first: a hop that is done in between is then in the action at most, and the ledger refuses it.
    hops = await services.hops.hops(action_id)
    return Trail(await services.actions.get(action_id), hops)


async def record(
    services: PipelineServices,
    trail: Trail,
    hop: Hop,
    *,
    evidence: Mapping[str, Any],
    status: ActionStatus | None = None,
    changes: Mapping[str, Any] | None = None,
    attempt: int = 1,
    within: Effect | None = None,
    actor: str | None = None,
) -> bool:
    """Do a hop, unless the ledger has it or the action is not any more where it was: then False and no effect."""

    async def effect(session: Session) -> None:
        now = await services.actions.get(trail.action.action_id, session=session)
        if now.status is not trail.action.status:
            raise _MovedOn
        if within is not None:
            await within(session)

    try:
        return await services.hops.record(
            trail.action.action_id,
            hop,
            status=status,
            changes=changes if changes is not None else {},
            evidence=evidence,
            actor=actor or services.actor,
            attempt=attempt,
            within=effect,
            at=services.clock(),
        )
    except _MovedOn:
        return False


class _MovedOn(Exception):
    """Another process did a hop since the trail was read."""
