"""How does a candidate that passed come into use: first for a share of the sessions, then for all?"""

from __future__ import annotations

from src.domain.improvement import ActionStatus, Hop
from src.errors import ContractViolation
from src.optimization.gates.sequential import CanaryVerdict, analyse, look_due
from src.optimization.pipeline.ending import close_as_stale, take_back
from src.optimization.pipeline.guarding import too_early
from src.optimization.pipeline.recording import record
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.trail import OF_CANARY, Trail
from src.optimization.pipeline.versions import Stale, versions_of
from src.storage.canaries import Canary
from src.storage.database import Session


async def agree(services: PipelineServices, trail: Trail) -> str | None:
    """Note that nobody has to agree; what waits for a person is over once somebody chose another version."""
    action = trail.action
    if action.status is not ActionStatus.AWAITING_APPROVAL:
        await record(services, trail, Hop.APPROVED, evidence={"needed": False})
    elif await versions_of(services, action.improvement_type).is_current(action):
        return question_of(trail)
    else:
        await close_as_stale(services, trail, "another version came into use before anybody agreed")
    return None


def question_of(trail: Trail) -> str:
    """What a person is asked; empty where nobody is."""
    tested = trail.last(Hop.TESTED)
    if trail.action.status is not ActionStatus.AWAITING_APPROVAL or tested is None:
        return ""
    return f"a person's approval: {tested.evidence['approval']}"


async def start_canary(services: PipelineServices, trail: Trail) -> str | None:
    """Have the candidate answer its share of the sessions."""
    action, canary = trail.action, services.settings.canary
    versions = versions_of(services, action.improvement_type)
    if not await versions.is_current(action):
        await close_as_stale(services, trail, "another version came into use before the canary")
        return None
    other = await services.canaries.running(action.component)
    if other is not None and other.action_id != action.action_id:
        return f"another comparison of {action.component} is running ({other.canary_id})"
    pair = await versions.pair(action)

    async def start(session: Session) -> None:
        await versions.approve(action, session)
        await services.canaries.start(
            component=action.component,
            kind=action.improvement_type,
            control=pair.control,
            treatment=pair.treatment,
            split=canary.share,
            target_samples=canary.target_items,
            min_per_arm=canary.min_items_per_arm,
            alpha=canary.alpha,
            min_hours=canary.min_hours,
            max_hours=canary.max_hours,
            action_id=action.action_id,
            at=services.clock(),
            session=session,
        )

    evidence = {"control": pair.control, "treatment": pair.treatment, "share": canary.share}
    await record(services, trail, Hop.CANARY, status=ActionStatus.MEASURING, evidence=evidence, within=start)
    return None


async def look_at_canary(services: PipelineServices, trail: Trail) -> str | None:
    """Take a planned look, where one is due; what follows from it is the next hop."""
    action, settings = trail.action, services.settings.canary
    if not await versions_of(services, action.improvement_type).is_current(action):
        await close_as_stale(services, trail, "another version came into use during the canary")
        return None
    canary = await canary_of(services, trail)
    await services.canaries.collect(canary.canary_id)
    seen = await services.canaries.observations(canary.canary_id)
    arms = seen.unit_means("control"), seen.unit_means("treatment")
    hours = (services.clock() - canary.started_at).total_seconds() / 3600
    done = [look.evidence["verdict"]["information"] for look in trail.canary_looks]
    if not look_due(len(arms[0]), len(arms[1]), settings, done, hours):
        return f"canary: {len(arms[1])} of {settings.target_items} sessions after {hours:.1f} hours"
    verdict = analyse(*arms, looks_done=done, settings=settings, hours=hours, kind=action.improvement_type)
    await _note_look(services, trail, canary, verdict, hours)
    return None


async def _note_look(
    services: PipelineServices, trail: Trail, canary: Canary, verdict: CanaryVerdict, hours: float
) -> None:
    look = verdict.document() | {"hours": hours}

    async def note(session: Session) -> None:
        number = len(trail.canary_looks) + 1
        if not await services.canaries.add_look(canary.canary_id, number, look, session=session):
            raise ContractViolation(f"look {number} at canary {canary.canary_id} is noted already, or it has ended")

    await record(
        services,
        trail,
        Hop.MEASURED,
        evidence={"of": OF_CANARY, "verdict": look},
        attempt=trail.next_attempt(Hop.MEASURED),
        within=note,
    )


async def promote(services: PipelineServices, trail: Trail) -> str | None:
    """Use the candidate for everybody, where the time allows another activation."""
    action = trail.action
    if early := await too_early(services, action.component, action.improvement_type):
        return "; ".join(one.message for one in early)
    versions = versions_of(services, action.improvement_type)
    canary = await canary_of(services, trail)
    last = trail.canary_looks[-1]
    approval = trail.last(Hop.APPROVED)
    actor = action.approved_by if approval is not None and action.approved_by else services.actor

    async def activate(session: Session) -> None:
        await versions.activate(action, actor, session)
        await services.canaries.end(canary.canary_id, winner="treatment", at=services.clock(), session=session)

    try:
        await record(
            services,
            trail,
            Hop.PROMOTED,
            status=ActionStatus.APPLIED,
            changes={"applied_at": services.clock()},
            evidence={"version": canary.treatment, "replaces": canary.control, "look": last.attempt},
            within=activate,
        )
    except Stale as stale:
        await close_as_stale(services, trail, str(stale))
        return None
    await services.items.applied(action.evidence_ids, action.action_id)
    return None


async def roll_back_canary(services: PipelineServices, trail: Trail) -> str | None:
    """Give everybody what was in use before."""
    verdict = trail.canary_looks[-1].evidence["verdict"]
    await take_back(services, trail, reason=str(verdict["reason"]), evidence={"verdict": verdict})
    return None


async def canary_of(services: PipelineServices, trail: Trail) -> Canary:
    """The canary of a change that is measured. Raises ContractViolation where there is none."""
    canary = await services.canaries.of_action(trail.action.action_id)
    if canary is None:
        raise ContractViolation(f"action {trail.action.action_id} is measured without a canary")
    return canary
