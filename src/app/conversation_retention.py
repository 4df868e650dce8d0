"""Which conversations has nobody used for long, and what is deleted of them?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from src.app.session import claimed, conversation, open_checkpointer
from src.storage.conversations import ConversationRepository
from src.storage.database import Database
from src.storage.interaction_inputs import InteractionInputs


@dataclass(frozen=True, slots=True)
class ConversationReport:
    """Conversations that were (or would be, in a dry run) forgotten: used last before ``cutoff``."""

    cutoff: datetime
    days: float
    dry_run: bool
    forgotten: int

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    def line(self) -> str:
        """One line for people."""
        verb = "to be deleted" if self.dry_run else "deleted"
        return f"Conversations nobody used for {self.days:g} days, {verb}: {self.forgotten:,}"


async def forget_idle_conversations(
    database: Database, *, days: float, dry_run: bool = False, now: datetime | None = None
) -> ConversationReport:
    """Delete the memory and the counters of conversations nobody used for ``days``, and what components were given to
    answer them; the answers stay, to be learnt from. One that is being answered stays.

    Raises DatabaseUnavailable; the next call goes on.
    """
    cutoff = (now or datetime.now(UTC)) - timedelta(days=days)
    conversations = ConversationRepository(database)
    idle = await conversations.idle(cutoff)
    if dry_run or not idle:
        return ConversationReport(cutoff, days, dry_run, len(idle))
    forgotten = 0
    async with open_checkpointer(database) as checkpointer:
        for session_id in idle:
            async with claimed(database, conversation(session_id)) as mine:
                # Nobody can ask while it is held; it may have been asked before.
                if mine and session_id in await conversations.idle(cutoff):
                    # The memory first: a session without a row could not be found again.
                    await checkpointer.adelete_thread(session_id)
                    await InteractionInputs(database).forget(session_id)
                    forgotten += await conversations.forget(session_id, cutoff)
    return ConversationReport(cutoff, days, dry_run, forgotten)
