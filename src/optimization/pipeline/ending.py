"""How does a change end: taken back, overtaken by another, or closed with what was learnt from it?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from src.domain.alerts import Alert, AlertSeverity
from src.domain.improvement import ActionStatus, Hop
from src.optimization.pipeline.lessons import Learnt, lesson_of, outcome_of
from src.optimization.pipeline.recording import record
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.trail import Trail
from src.optimization.pipeline.versions import Stale, versions_of
from src.storage.database import Session


async def take_back(
    services: PipelineServices,
    trail: Trail,
    *,
    reason: str,
    evidence: Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    by: str | None = None,
) -> bool:
    """Give everybody the version before, because of what was measured or ``by`` a person. Where the candidate is not in
    use any more, only that is noted.

    False where another process was faster. Raises ContractViolation where the version before is not kept any longer.
    """
    action = trail.action
    versions = versions_of(services, action.improvement_type)
    in_use = (await versions.pair(action)).active
    canary = await services.canaries.of_action(action.action_id)
    # Of a change that is closed nothing would be learnt later.
    learnt = await lesson_of(services, trail, taken_back=reason) if Hop.CLOSED in trail else None
    found = dict(evidence) | {"reason": reason, "superseded": False}

    async def undivide(session: Session) -> None:
        if canary is not None:
            await services.canaries.end(canary.canary_id, winner="control", at=services.clock(), session=session)

    async def restore(session: Session) -> None:
        if in_use or action.status is not ActionStatus.MEASURING:
            found["restored"] = await versions.roll_back(action, reason, session)
        else:
            await versions.reject(action, session)
        await undivide(session)
        if learnt is not None:
            await learnt.keep(services, session)

    said = f"{by}: {reason}" if by else reason
    at_once = {"rolled_back_at": services.clock(), "rollback_reason": said, **(changes or {})}
    note = partial(
        record,
        services,
        trail,
        Hop.ROLLED_BACK,
        evidence=found,
        status=ActionStatus.ROLLED_BACK,
        changes=at_once,
        actor=by,
    )
    try:
        # ``found`` is filled by the effect, before the entry is written.
        return await note(within=restore)
    except Stale as stale:
        found |= {"superseded": True, "reason": str(stale)}
        return await note(within=undivide)


async def close_as_stale(services: PipelineServices, trail: Trail, reason: str) -> bool:
    """End a change that somebody overtook: it is not put over what they chose, and nothing is learnt from it."""
    return await _close_unused(services, trail, reason, {"stale": True, "reason": reason}, learnt=None, actor=None)


async def give_up(services: PipelineServices, trail: Trail, reason: str) -> bool:
    """End a change that could not be tested; nothing is learnt from it, and the same may be proposed again."""
    return await _close_unused(services, trail, reason, {"stale": False, "reason": reason}, learnt=None, actor=None)


async def refuse(services: PipelineServices, trail: Trail, by: str, reason: str) -> bool:
    """End a change because a person does not want it; the same is not proposed again."""
    learnt = await lesson_of(services, trail, refused=reason)
    evidence = {"refused_by": by, "reason": reason}
    return await _close_unused(services, trail, f"refused by {by}: {reason}", evidence, learnt=learnt, actor=by)


async def _close_unused(
    services: PipelineServices,
    trail: Trail,
    reason: str,
    evidence: Mapping[str, Any],
    *,
    learnt: Learnt | None,
    actor: str | None,
) -> bool:
    action = trail.action
    has_candidate = Hop.CANDIDATE in trail
    versions = versions_of(services, action.improvement_type) if has_candidate else None
    in_use = versions is not None and (await versions.pair(action)).active
    canary = await services.canaries.of_action(action.action_id)

    async def end(session: Session) -> None:
        if versions is not None and not in_use:
            await versions.reject(action, session)
        if canary is not None:
            await services.canaries.end(
                canary.canary_id, winner="none", status="stopped", at=services.clock(), session=session
            )
        if learnt is not None:
            await learnt.keep(services, session)

    return await record(
        services,
        trail,
        Hop.CLOSED,
        status=ActionStatus.REJECTED,
        changes={"blocked_reason": reason},
        evidence=dict(evidence) | {"lesson": None if learnt is None else learnt.lesson_type},
        within=end,
        actor=actor,
    )


async def close(services: PipelineServices, trail: Trail) -> str | None:
    """Keep what was learnt, tell the lessons that were consulted whether they helped, and whoever is to be told."""
    action = trail.action
    learnt = await lesson_of(services, trail)
    helped = outcome_of(trail)
    if action.applied_at is not None:
        await services.items.applied(action.evidence_ids, action.action_id)
    told = await _alert(services, trail)

    async def learn(session: Session) -> None:
        if learnt is not None:
            await learnt.keep(services, session)
        if helped is not None:
            for knowledge_id in action.knowledge_ids:
                await services.knowledge.outcome(knowledge_id, success=helped, session=session)

    evidence = {"lesson": None if learnt is None else learnt.lesson_type, "helped": helped, "alert_sent": told}
    await record(services, trail, Hop.CLOSED, evidence=evidence, within=learn)
    return None


async def _alert(services: PipelineServices, trail: Trail) -> bool | None:
    """Whether the alert about a roll-back was taken; None where there is nothing to tell or nobody to send it.

    It goes out before the hop is in the ledger: after a kill it may come twice, never not at all.
    """
    undone = trail.last(Hop.ROLLED_BACK)
    if undone is None or undone.evidence["superseded"] or services.alerts is None:
        return None
    action = trail.action
    restored = undone.evidence.get("restored")
    alert = Alert(
        AlertSeverity.WARNING,
        f"{action.component}: a change was taken back",
        f"{action.rollback_reason}; in use again: {f'version {restored}' if restored else 'what was in use before'}. "
        f"'e2i improve explain {action.action_id[:8]}' shows why.",
        key=f"improvement/{action.action_id}",
        at=services.clock(),
        details={"action_id": action.action_id, "component": action.component, "outcome_delta": action.outcome_delta},
    )
    return await services.alerts.send(alert)
