"""When is there something to measure and to learn, and who does it when several could?

A round first carries on every change that is under way, then starts a learning cycle where one is due, or goes on with
one that a killed process left. One process at a time does rounds; all it needs to know stands in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from src.agents.feedback_learner.agent import LearnResult
from src.agents.feedback_learner.state import LearnRequest
from src.app.agent_runs import run_deps
from src.app.improving.learning import Learner, open_learner
from src.app.improving.opening import Improvement, LoopOptions, open_improvement
from src.app.retention import retain_for_ever
from src.app.session import claimed, open_checkpointer
from src.app.tracing import traced_database
from src.errors import ConfigError, E2IError, MigrationError
from src.optimization.configuration import ReflectionSettings
from src.optimization.pipeline.guarding import paused_by
from src.optimization.pipeline.results import CarriedOn
from src.storage.cycles import CognitiveCycle, Trigger
from src.storage.database import Database
from src.storage.learning_items import WaitingItems

LEADER = "improvement loop"
TICK_S = 60.0
ELSEWHERE = "another process improves here; this one does nothing"


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What a round did. ``leader`` is False where another process does the rounds.

    ``measured`` are the changes that were under way, ``learnt`` is the cycle, None where none was due, and ``said`` is
    why, or what holds changes up.
    """

    at: datetime
    leader: bool
    measured: tuple[CarriedOn, ...] = ()
    learnt: LearnResult | None = None
    resumed: bool = False
    said: tuple[str, ...] = ()
    waiting: int = 0

    @property
    def failed(self) -> bool:
        """Whether a cycle or a change met an error; it is tried again in a later round."""
        return any(one.error for one in self.measured) or (self.learnt is not None and self.learnt.error is not None)

    def document(self) -> dict[str, Any]:
        """JSON form."""
        learnt = self.learnt
        return {
            "at": self.at.isoformat(),
            "leader": self.leader,
            "measured": [{**asdict(one), "done": [str(hop) for hop in one.done]} for one in self.measured],
            "cycle": None if learnt is None else cycle_document(learnt),
            "resumed": self.resumed,
            "said": list(self.said),
            "waiting": self.waiting,
        }


def cycle_document(learnt: LearnResult) -> dict[str, Any]:
    """JSON form of a cycle, without texts of answers."""
    return {
        "cycle_id": learnt.batch_id,
        "status": learnt.meta.status,
        "items": len(learnt.items),
        "decisions": {name: str(one) for name, one in learnt.decisions.items()},
        "waiting": dict(learnt.waiting),
        "steps": [asdict(one) for one in learnt.steps],
        "alerted": list(learnt.alerted),
        "counts": dict(learnt.counts),
        "training_signal": None if learnt.training_signal is None else asdict(learnt.training_signal),
        "error": None if learnt.error is None else asdict(learnt.error),
        "degraded": list(learnt.meta.degraded),
        "warnings": list(learnt.meta.warnings),
    }


def due(
    waiting: WaitingItems, new: int, before: CognitiveCycle | None, now: datetime, settings: ReflectionSettings
) -> Trigger | None:
    """What a cycle is due by: a batch of ``new`` answers since the last cycle began, or the interval with at least one
    that waits. After a cycle that failed the interval passes first, whatever has come in."""
    count = waiting.scored + waiting.unscored
    if not count:
        return None
    if before is None or now - _ended(before) >= timedelta(minutes=settings.interval_minutes):
        return "threshold" if count >= settings.batch_size else "schedule"
    return "threshold" if before.status == "completed" and new >= settings.batch_size else None


def _ended(cycle: CognitiveCycle) -> datetime:
    return cycle.ended_at or cycle.started_at


@dataclass
class Rounds:
    """Does rounds over an open loop."""

    improvement: Improvement
    learner: Learner
    claims: Database
    on_step: Callable[[str], None] = field(default=lambda step: None)

    async def round(self, *, at_once: bool = False) -> RoundReport:
        """One round; ``at_once`` learns from whatever waits, due or not.

        Raises DatabaseUnavailable; what a change or a cycle meets is in the report.
        """
        now = self.improvement.options.clock()
        async with claimed(self.claims, LEADER) as mine:
            if not mine:
                return RoundReport(now, leader=False, said=(ELSEWHERE,))
            return await self._led(now, at_once)

    async def _led(self, now: datetime, at_once: bool) -> RoundReport:
        self.on_step("carrying on what is under way")
        measured = await self.improvement.pipeline.measure()
        for one in measured:
            await self._asked(one)
        said: list[str] = []
        if (paused := await paused_by(self.improvement.services)) is not None:
            said.append(paused)
        request, waiting, resumed = await self._request(now, at_once)
        learnt = None
        if request is None:
            said.append(f"no cycle is due: {waiting} answers wait" if waiting else "no cycle is due: nothing new")
        else:
            self.on_step("learning from the answers that wait")
            learnt = await self.learner.agent.learn(request, self._deps())
        return RoundReport(now, True, measured, learnt, resumed, tuple(said), waiting)

    async def _asked(self, carried: CarriedOn) -> None:
        """Put a change to a person that came to wait for one outside of a cycle."""
        if carried.status == "awaiting_approval":
            await self.learner.desk.ask(carried.action_id, carried.waits_for)

    async def _request(self, now: datetime, at_once: bool) -> tuple[LearnRequest | None, int, bool]:
        """What to learn, how many answers wait, and whether it is a cycle that was left running."""
        cycles, items = self.improvement.cycles, self.improvement.services.items
        waiting = await items.waiting()
        count = waiting.scored + waiting.unscored
        if (running := await cycles.running()) is not None:
            return LearnRequest(batch_id=running.cycle_id, trigger=running.trigger), count, True
        before = await cycles.last_ended()
        new = await items.new_since(None if before is None else before.started_at)
        trigger = due(waiting, new, before, now, self.improvement.options.config.reflection)
        if at_once and trigger is None and count:
            trigger = "manual"
        return (None if trigger is None else LearnRequest(trigger=trigger)), count, False

    def _deps(self) -> Any:
        return run_deps(self.improvement.database, "feedback_learner", self.on_step)


@asynccontextmanager
async def open_rounds(
    options: LoopOptions | None = None, on_step: Callable[[str], None] = lambda step: None
) -> AsyncIterator[Rounds]:
    """Everything that rounds need, on the configured database.

    Raises ConfigError, MigrationError and DatabaseUnavailable.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(traced_database())
        # A claim holds a connection as long as a round: it has one of its own.
        claims = await stack.enter_async_context(Database.open(database.address, max_size=2))
        checkpointer = await stack.enter_async_context(open_checkpointer(database))
        improvement = await stack.enter_async_context(open_improvement(database, options))
        learner = await stack.enter_async_context(open_learner(improvement, checkpointer))
        yield Rounds(improvement, learner, claims, on_step)


async def run_once(
    options: LoopOptions | None = None,
    *,
    at_once: bool = False,
    on_step: Callable[[str], None] = lambda step: None,
) -> RoundReport:
    """One round on the configured database. Raises as ``open_rounds``."""
    async with open_rounds(options, on_step) as rounds:
        return await rounds.round(at_once=at_once)


async def run_loop(
    stop: asyncio.Event,
    *,
    on_round: Callable[[RoundReport], None],
    on_outage: Callable[[str], None],
    every_s: float = TICK_S,
    options: LoopOptions | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> int:
    """A round every ``every_s`` seconds until ``stop`` is set; returns how many ended well.

    While another process does the rounds it waits, to take over when that one ends. Outages are told and outlasted.
    Raises ConfigError and MigrationError.
    """

    async def one() -> None:
        on_round(await run_once(options, on_step=on_step))

    return await retain_for_ever(one, every_s=every_s, stop=stop, on_outage=on_outage, may_pass=may_pass)


def may_pass(error: E2IError) -> bool:
    """Whether the next round may go well without this process being started anew."""
    return not isinstance(error, ConfigError | MigrationError)
