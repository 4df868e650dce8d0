"""Has somebody stopped all changes?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from src.errors import ContractViolation
from src.storage.database import Database, Row


@dataclass(frozen=True, slots=True)
class SwitchState:
    """Whether changes are stopped, and who last said so, when and why."""

    paused: bool
    changed_by: str | None = None
    changed_at: datetime | None = None
    reason: str | None = None


class ImprovementSwitch:
    """Reads and sets the one row of ``improvement_switch``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def state(self) -> SwitchState:
        """How it stands now; asked before every hop."""
        return _state(
            await self._database.fetchrow("SELECT paused, changed_by, changed_at, reason FROM improvement_switch")
        )

    async def set(self, *, paused: bool, by: str, reason: str) -> SwitchState:
        """Stop all changes, or let them go on. Raises ContractViolation without a name or a reason."""
        if not by.strip() or not reason.strip():
            raise ContractViolation("say who stops or resumes changes, and why")
        return _state(
            await self._database.fetchrow(
                "SELECT paused, changed_by, changed_at, reason FROM set_improvement_switch(%s, %s, %s)",
                (paused, by, reason),
            )
        )


def _state(row: Row | None) -> SwitchState:
    if row is None:
        # Nobody knows whether changes are allowed: they are not.
        return SwitchState(True, reason="the row of improvement_switch is missing")
    return SwitchState(**row)
