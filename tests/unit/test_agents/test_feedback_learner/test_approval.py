"""Does a change wait for a person without anybody waiting, and is a word given carried out once?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from src.agents.feedback_learner.agent import checkpoint_serializer
from src.agents.feedback_learner.approval import ApprovalDesk
from src.app.session import open_checkpointer
from src.domain.improvement import ActionStatus, Hop
from src.errors import ContractViolation, GuardrailViolation
from src.optimization.pipeline.results import CarriedOn
from src.storage.database import Database

ACTION = "01960000-0000-7000-8000-000000000077"


class Killed(BaseException):
    """What a process does not survive."""


@dataclass
class Changes:
    """One change that awaits approval, and what was said of it."""

    status: ActionStatus = ActionStatus.AWAITING_APPROVAL
    said: list[tuple[str, str, str]] = field(default_factory=list)
    dies_after_approval: bool = False

    def where(self, *done: Hop) -> CarriedOn:
        return CarriedOn(ACTION, self.status, done, "")

    async def approve(self, action_id: str, by: str) -> CarriedOn:
        if self.status is not ActionStatus.AWAITING_APPROVAL:
            raise GuardrailViolation(f"action {action_id} waits for nobody")
        self.said.append(("approve", by, ""))
        self.status = ActionStatus.MEASURING
        if self.dies_after_approval:
            self.dies_after_approval = False
            raise Killed
        return self.where(Hop.APPROVED, Hop.CANARY)

    async def reject(self, action_id: str, by: str, reason: str) -> CarriedOn:
        self.said.append(("reject", by, reason))
        self.status = ActionStatus.REJECTED
        return self.where(Hop.CLOSED)

    async def carry_on(self, action_id: str) -> CarriedOn:
        return self.where()


def saver() -> InMemorySaver:
    return InMemorySaver(serde=checkpoint_serializer())


async def test_asking_ends_at_once_and_asking_again_changes_nothing() -> None:
    changes, kept = Changes(), saver()
    desk = ApprovalDesk(kept, changes)
    assert await desk.state_of(ACTION) == "none"
    await desk.ask(ACTION, "may it?")
    await desk.ask(ACTION, "may it?")
    assert (await desk.state_of(ACTION), changes.said) == ("waiting", [])


@pytest.mark.parametrize(
    ("approved", "status", "said"),
    [
        (True, ActionStatus.MEASURING, ("approve", "anna", "")),
        (False, ActionStatus.REJECTED, ("reject", "anna", "drops a caveat")),
    ],
)
async def test_a_word_is_carried_out_and_the_question_forgotten(
    approved: bool, status: ActionStatus, said: tuple[str, str, str]
) -> None:
    changes, kept = Changes(), saver()
    await ApprovalDesk(kept, changes).ask(ACTION, "may it?")
    # Another process answers: nothing of the one that asked is left but the checkpoints.
    desk = ApprovalDesk(kept, changes)
    found = await desk.answer(ACTION, approved=approved, by="anna", reason="drops a caveat")
    assert (found.status, changes.said) == (status, [said])
    assert (await desk.state_of(ACTION), [one async for one in kept.alist(None)]) == ("none", [])


async def test_a_change_that_was_never_put_to_a_person_can_be_answered() -> None:
    changes = Changes()
    found = await ApprovalDesk(saver(), changes).answer(ACTION, approved=True, by="anna")
    assert (found.done, changes.said) == ((Hop.APPROVED, Hop.CANARY), [("approve", "anna", "")])


async def test_a_change_that_waits_for_nobody_cannot_be_approved() -> None:
    changes = Changes(status=ActionStatus.CONFIRMED)
    with pytest.raises(GuardrailViolation, match="waits for nobody"):
        await ApprovalDesk(saver(), changes).answer(ACTION, approved=True, by="anna")


async def test_a_change_that_went_on_meanwhile_is_not_approved_after_all() -> None:
    changes = Changes()
    desk = ApprovalDesk(saver(), changes)
    await desk.ask(ACTION, "may it?")
    changes.status = ActionStatus.REJECTED
    found = await desk.answer(ACTION, approved=True, by="anna")
    assert (found.status, changes.said) == (ActionStatus.REJECTED, [])


async def test_a_word_whose_process_was_killed_is_carried_out_once() -> None:
    changes, kept = Changes(dies_after_approval=True), saver()
    desk = ApprovalDesk(kept, changes)
    await desk.ask(ACTION, "may it?")
    with pytest.raises(Killed):
        await desk.answer(ACTION, approved=True, by="anna")
    assert await desk.state_of(ACTION) == "answered"
    found = await desk.answer(ACTION, approved=False, by="bert", reason="too late")
    assert (found.status, changes.said) == (ActionStatus.MEASURING, [("approve", "anna", "")])


@pytest.mark.parametrize(
    ("approved", "by", "reason", "message"), [(True, " ", "", "by must be"), (False, "anna", " ", "reason must be")]
)
async def test_nobody_decides_without_a_name_or_refuses_without_a_reason(
    approved: bool, by: str, reason: str, message: str
) -> None:
    changes = Changes()
    with pytest.raises(ContractViolation, match=message):
        await ApprovalDesk(saver(), changes).answer(ACTION, approved=approved, by=by, reason=reason)
    assert changes.said == []


@pytest.fixture
async def rows(evaluations_url: str) -> AsyncIterator[Database]:
    async with Database.open(evaluations_url) as database:
        yield database


async def test_a_question_waits_in_the_database(rows: Database) -> None:
    changes = Changes()
    async with open_checkpointer(rows) as kept:
        await ApprovalDesk(kept, changes).ask(ACTION, "may it?")
    async with open_checkpointer(rows) as kept:
        desk = ApprovalDesk(kept, changes)
        assert await desk.state_of(ACTION) == "waiting"
        assert (await desk.answer(ACTION, approved=True, by="anna")).status is ActionStatus.MEASURING
        assert await desk.state_of(ACTION) == "none"
