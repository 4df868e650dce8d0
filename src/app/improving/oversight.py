"""What can a person see of the loop, and decide? No model is needed for any of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from src.agents.feedback_learner.approval import ApprovalDesk
from src.app.improving.opening import LoopOptions, pipeline_services
from src.app.improving.schedule import due
from src.app.session import open_checkpointer
from src.app.tracing import traced_database
from src.domain.improvement import ActionStatus
from src.errors import ConfigError, nearest_names
from src.optimization.pipeline.guarding import paused_by
from src.optimization.pipeline.improvement import ImprovementPipeline
from src.optimization.pipeline.results import ActionStory
from src.optimization.pipeline.services import PipelineServices
from src.storage.canaries import Canary
from src.storage.cycles import CognitiveCycle, CycleRepository
from src.storage.database import Database
from src.storage.improvement_actions import UNDER_WAY, ImprovementAction
from src.storage.improvement_switch import SwitchState
from src.storage.learning_items import WaitingItems

FOR_A_PERSON = (ActionStatus.AWAITING_APPROVAL, ActionStatus.QUEUED)
MOST = 200


@dataclass(frozen=True, slots=True)
class LoopState:
    """How the loop stands. ``paused`` says why nothing is changed; ``next_cycle`` is when one is due at the latest,
    None while nothing waits."""

    paused: str | None
    running: CognitiveCycle | None
    last: CognitiveCycle | None
    waiting: WaitingItems
    next_cycle: datetime | None
    under_way: tuple[ImprovementAction, ...]
    for_a_person: int
    canaries: tuple[Canary, ...]
    switch: SwitchState

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "paused": self.paused,
            "running": None if self.running is None else asdict(self.running),
            "last": None if self.last is None else asdict(self.last),
            "waiting": asdict(self.waiting),
            "next_cycle": self.next_cycle,
            "under_way": [action_document(one) for one in self.under_way],
            "for_a_person": self.for_a_person,
            "canaries": [asdict(one) for one in self.canaries],
            "switch": asdict(self.switch),
        }


@dataclass(frozen=True, slots=True)
class Decided:
    """Where a change stands after a person's word, and what it waits for."""

    action: ImprovementAction
    waits_for: str


def action_document(action: ImprovementAction) -> dict[str, Any]:
    """JSON form without what would be changed; ``explain`` has the difference."""
    return {name: value for name, value in asdict(action).items() if name not in ("before_config", "after_config")}


async def loop_state() -> LoopState:
    """How the loop stands now."""
    async with _open() as (database, services, _):
        cycles = CycleRepository(database)
        running, last = await cycles.running(), await cycles.last_ended()
        waiting = await services.items.waiting()
        now, settings = services.clock(), services.settings.reflection
        next_cycle = None
        if waiting.scored + waiting.unscored:
            new = await services.items.new_since(None if last is None else last.started_at)
            is_due = due(waiting, new, last, now, settings) is not None or last is None
            ended = now if last is None else last.ended_at or last.started_at
            next_cycle = now if is_due else ended + timedelta(minutes=settings.interval_minutes)
        under_way = await services.actions.list(statuses=UNDER_WAY, limit=MOST)
        canaries = [await services.canaries.running(one.component) for one in under_way]
        return LoopState(
            paused=await paused_by(services),
            running=running,
            last=last,
            waiting=waiting,
            next_cycle=next_cycle,
            under_way=under_way,
            for_a_person=len(await services.actions.list(statuses=FOR_A_PERSON, limit=MOST)),
            canaries=tuple(one for one in canaries if one is not None),
            switch=await services.switch.state(),
        )


async def waiting_for_a_person() -> Sequence[ImprovementAction]:
    """Changes that wait for approval, then suggestions; newest first."""
    async with _open() as (_, services, _):
        found = await services.actions.list(statuses=FOR_A_PERSON, limit=MOST)
        return sorted(found, key=lambda one: FOR_A_PERSON.index(one.status))


async def all_changes(component: str | None = None, limit: int = 50) -> Sequence[ImprovementAction]:
    """Changes, newest first. Raises ConfigError for a component that is not configured."""
    async with _open() as (_, services, _):
        known = services.settings.components
        if component is not None and component not in known:
            raise ConfigError(f"there is no component '{component[:60]}'; {nearest_names(component, sorted(known))}")
        return await services.actions.list(component=component, limit=limit)


async def explain_change(reference: str) -> ActionStory:
    """Everything that is known of a change. Raises RunNotFound."""
    async with _open() as (_, services, pipeline):
        return await pipeline.explain((await services.actions.find(reference)).action_id)


async def approve_change(reference: str, by: str) -> Decided:
    """A person agrees. Raises RunNotFound, GuardrailViolation for a change that waits for nobody."""
    async with _open() as (database, services, pipeline):
        action = await services.actions.find(reference)
        if action.status is ActionStatus.AWAITING_APPROVAL:
            async with open_checkpointer(database) as checkpointer:
                await ApprovalDesk(checkpointer, pipeline).answer(action.action_id, approved=True, by=by)
            return await _decided(services, pipeline, action.action_id)
        carried = await pipeline.approve(action.action_id, by)
        return Decided(await services.actions.get(action.action_id), carried.waits_for)


async def reject_change(reference: str, by: str, reason: str) -> Decided:
    """A person refuses. Raises as ``approve_change``."""
    async with _open() as (database, services, pipeline):
        action = await services.actions.find(reference)
        if action.status is ActionStatus.AWAITING_APPROVAL:
            async with open_checkpointer(database) as checkpointer:
                desk = ApprovalDesk(checkpointer, pipeline)
                await desk.answer(action.action_id, approved=False, by=by, reason=reason)
            return await _decided(services, pipeline, action.action_id)
        carried = await pipeline.reject(action.action_id, by, reason)
        return Decided(await services.actions.get(action.action_id), carried.waits_for)


async def roll_back_change(reference: str, by: str, reason: str) -> Decided:
    """A person takes a change back, also while changes are paused. Raises as ``approve_change``."""
    async with _open() as (_, services, pipeline):
        action = await services.actions.find(reference)
        carried = await pipeline.roll_back(action.action_id, by, reason)
        return Decided(await services.actions.get(action.action_id), carried.waits_for)


async def set_switch(*, paused: bool, by: str, reason: str) -> SwitchState:
    """Stop all changes, or let them go on; a running loop stops within one hop. Raises ContractViolation."""
    async with _open() as (_, services, _):
        return await services.switch.set(paused=paused, by=by, reason=reason)


async def _decided(services: PipelineServices, pipeline: ImprovementPipeline, action_id: str) -> Decided:
    carried = await pipeline.carry_on(action_id)
    return Decided(await services.actions.get(action_id), carried.waits_for)


@asynccontextmanager
async def _open() -> AsyncIterator[tuple[Database, PipelineServices, ImprovementPipeline]]:
    async with traced_database() as database:
        services = pipeline_services(database, LoopOptions())
        yield database, services, ImprovementPipeline(services)
