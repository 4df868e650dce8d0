"""What can be done with a change: propose it, carry it on, agree or refuse, measure it, take it back, explain it?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from src.domain.identifiers import without_identifiers
from src.domain.improvement import ActionStatus, ChangeKind, DetectedPattern, Hop, LearningItem
from src.domain.rubric import RubricDecision
from src.errors import ContractViolation, DatabaseUnavailable, E2IError, GuardrailViolation
from src.optimization.pipeline.candidates import add_candidate, guard
from src.optimization.pipeline.deploying import agree, promote, question_of, roll_back_canary, start_canary
from src.optimization.pipeline.ending import close, refuse, take_back
from src.optimization.pipeline.guarding import paused_by
from src.optimization.pipeline.measuring import look
from src.optimization.pipeline.proposing import Wish, propose, queue
from src.optimization.pipeline.recording import record, trail_of
from src.optimization.pipeline.results import ActionStory, CarriedOn, Proposed
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.story import story_of
from src.optimization.pipeline.testing import test
from src.optimization.pipeline.trail import Trail, next_hop
from src.optimization.pipeline.versions import versions_of

Step = Callable[[PipelineServices, Trail], Awaitable[str | None]]

STEPS: Mapping[Hop, Step] = {
    Hop.CANDIDATE: add_candidate,
    Hop.GUARDED: guard,
    Hop.TESTED: test,
    Hop.APPROVED: agree,
    Hop.CANARY: start_canary,
    Hop.MEASURED: look,
    Hop.PROMOTED: promote,
    Hop.ROLLED_BACK: roll_back_canary,
    Hop.CLOSED: close,
}
"""What carries out each hop; a step says what it waits for, or None when the hop, or another ending, was recorded."""
_REFUSABLE = (ActionStatus.QUEUED, ActionStatus.PROPOSED, ActionStatus.AWAITING_APPROVAL)
_IN_USE = (ActionStatus.MEASURING, ActionStatus.APPLIED, ActionStatus.CONFIRMED)


class ImprovementPipeline:
    """The state machine of changes over its services; it keeps nothing itself."""

    def __init__(self, services: PipelineServices) -> None:
        self._services = services

    async def propose(
        self,
        component: str,
        decision: RubricDecision,
        items: Sequence[LearningItem],
        patterns: Sequence[DetectedPattern],
        cycle_id: str,
        *,
        kind: ChangeKind | None = None,
    ) -> Proposed:
        """Have a better variant made and record it as an action; nothing is activated, and ``carry_on`` does the rest.

        ``items`` are those of the cycle that made the decision. ``kind`` defaults to that of the component in the
        settings; workflow becomes a queued suggestion. The same cycle carried out again gives the same action and
        pays for nothing twice. Raises DatabaseUnavailable; E2IError of the improver.
        """
        configured = self._services.settings.components.get(component)
        if configured is None:
            return Proposed(None, f"{component} is not among the components that may be changed")
        wish = Wish(component, kind or ChangeKind(configured.kind), decision, items, patterns, cycle_id)
        if wish.kind is ChangeKind.WORKFLOW:
            return await queue(self._services, wish)
        return await propose(self._services, wish)

    async def suggest(
        self,
        component: str,
        decision: RubricDecision,
        items: Sequence[LearningItem],
        patterns: Sequence[DetectedPattern],
        cycle_id: str,
    ) -> Proposed:
        """Queue a suggestion for a person, described by the weaknesses of the items; one per component and cycle."""
        configured = self._services.settings.components.get(component)
        kind = ChangeKind(configured.kind) if configured is not None else ChangeKind.WORKFLOW
        return await queue(self._services, Wish(component, kind, decision, items, patterns, cycle_id))

    async def carry_on(self, action_id: str) -> CarriedOn:
        """Do every hop that can be done now. Raises RunNotFound for an unknown id, E2IError of replays and judges."""
        done: list[Hop] = []
        trail = await trail_of(self._services, action_id)
        while (hop := next_hop(trail)) is not None:
            paused = await paused_by(self._services)
            waits_for = (question_of(trail) or paused) if paused else await STEPS[hop](self._services, trail)
            before, trail = trail, await trail_of(self._services, action_id)
            done += [one.hop for one in trail.hops[len(before.hops) :]]
            if waits_for is not None:
                return CarriedOn(action_id, trail.action.status, tuple(done), waits_for)
            if trail == before:
                return CarriedOn(action_id, trail.action.status, tuple(done), "another process works on it")
        waits_for = "a person" if trail.action.status is ActionStatus.QUEUED else ""
        return CarriedOn(action_id, trail.action.status, tuple(done), waits_for)

    async def approve(self, action_id: str, by: str) -> CarriedOn:
        """A person agrees: an action that awaits approval goes on. Of a queued suggestion it is noted that the person
        takes it up, and that is all: what is to be done about it is theirs to do.

        Raises ContractViolation without a name, GuardrailViolation for an action that waits for nobody (any more).
        """
        by = self._person(by)
        trail = await trail_of(self._services, action_id)
        suggested = trail.action.status is ActionStatus.QUEUED
        _only_from((ActionStatus.QUEUED, ActionStatus.AWAITING_APPROVAL), trail, "approved")
        agreed = await record(
            self._services,
            trail,
            Hop.APPROVED,
            status=ActionStatus.CONFIRMED if suggested else ActionStatus.PROPOSED,
            changes={"approved_by": by},
            evidence={"needed": True, "approved_by": by},
            actor=by,
        )
        _first(agreed, trail)
        after = await self._after(trail)
        return replace(after, waits_for=f"{by}: nothing follows from a suggestion by itself") if suggested else after

    async def reject(self, action_id: str, by: str, reason: str) -> CarriedOn:
        """A person refuses a change that does not answer any question yet.

        Raises ContractViolation without a name or a reason, GuardrailViolation where it does.
        """
        by, reason = self._person(by), _reason(reason)
        trail = await trail_of(self._services, action_id)
        _only_from(_REFUSABLE, trail, "rejected")
        _first(await refuse(self._services, trail, by, reason), trail)
        return await self._after(trail)

    async def roll_back(self, action_id: str, by: str, reason: str) -> CarriedOn:
        """A person takes back a change that answers some or all questions, also while changes are paused.

        Raises GuardrailViolation where it does not, ContractViolation without a name or a reason and where the version
        before is not kept any longer.
        """
        by, reason = self._person(by), _reason(reason)
        trail = await trail_of(self._services, action_id)
        _only_from(_IN_USE, trail, "rolled back")
        versions = versions_of(self._services, trail.action.improvement_type)
        if trail.action.status is not ActionStatus.MEASURING and not (await versions.pair(trail.action)).active:
            raise GuardrailViolation(f"another version came into use since {action_id[:8]}; nothing is rolled back")
        undone = await take_back(self._services, trail, reason=reason, evidence={"of": "person", "by": by}, by=by)
        _first(undone, trail)
        return await self._after(trail)

    async def measure(self) -> tuple[CarriedOn, ...]:
        """Carry on every change that has not ended: canaries, applied changes, whatever a killed process left.

        What fails on one change is its ``error`` and does not hold up the others; only a database that is gone is
        raised (DatabaseUnavailable).
        """
        found = []
        for action in await self._services.actions.unfinished():
            try:
                found.append(await self.carry_on(action.action_id))
            except DatabaseUnavailable:
                raise
            except E2IError as error:
                status = (await self._services.actions.get(action.action_id)).status
                found.append(CarriedOn(action.action_id, status, (), "", f"{type(error).__name__}: {error}"))
        return tuple(found)

    async def explain(self, action_id: str) -> ActionStory:
        """What changed, why, on which evidence, at which cost, who agreed. Raises RunNotFound."""
        return await story_of(self._services, await trail_of(self._services, action_id))

    def _person(self, by: str) -> str:
        """The name of whoever decides; the loop's own is nobody's."""
        if not by.strip() or by.strip() == self._services.actor:
            raise ContractViolation(f"'{by}' is nobody: say who decides")
        return without_identifiers(by.strip())

    async def _after(self, before: Trail) -> CarriedOn:
        """What a person did, and what could be done after it."""
        after = await self.carry_on(before.action.action_id)
        trail = await trail_of(self._services, before.action.action_id)
        return replace(after, done=tuple(one.hop for one in trail.hops[len(before.hops) :]))


def _only_from(allowed: Sequence[ActionStatus], trail: Trail, what: str) -> None:
    if trail.action.status not in allowed:
        states = " or ".join(one.value for one in allowed)
        raise GuardrailViolation(
            f"only a change that is {states} can be {what}; {trail.action.action_id[:8]} is {trail.action.status.value}"
        )


def _first(recorded: bool, trail: Trail) -> None:
    if not recorded:
        raise GuardrailViolation(f"{trail.action.action_id[:8]} has gone on meanwhile: look at it again")


def _reason(reason: str) -> str:
    """What somebody gave as the reason, without identifiers: it is kept, and models read it."""
    if not reason.strip():
        raise ContractViolation("give a reason")
    return without_identifiers(reason.strip())
