"""What comes back from a step of the improvement loop: to the agent, the scheduler and the command line?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from src.domain.improvement import ActionStatus, Hop
from src.optimization.improver import Spend

if TYPE_CHECKING:
    from src.storage.improvement_actions import ImprovementAction


@dataclass(frozen=True, slots=True)
class Proposed:
    """The action that was recorded, or None with the reason why there is none. ``spend`` was used either way."""

    action: ImprovementAction | None
    reason: str
    spend: Spend = Spend()


@dataclass(frozen=True, slots=True)
class CarriedOn:
    """The hops that were done now, where the change stands, and what it waits for (empty where it has ended).

    ``error`` is what a hop failed with, type and message; it is tried again the next time.
    """

    action_id: str
    status: ActionStatus
    done: tuple[Hop, ...]
    waits_for: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class HopDone:
    """One hop of the ledger: the status after it, by whom, when, and its evidence as JSON. ``attempt`` counts looks."""

    hop: Hop
    attempt: int
    status: ActionStatus
    actor: str
    at: datetime
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ActionStory:
    """Everything that is known of a change. ``diff`` is unified; ``follows`` is the next hop, empty at the end.

    ``intact`` says whether the ledger is as it was written, ``problem`` what does not fit.
    """

    action: ImprovementAction
    diff: str
    hops: tuple[HopDone, ...]
    spend: Spend
    approved_by: str | None
    follows: str
    intact: bool
    problem: str = ""

    def document(self) -> dict[str, Any]:
        """For JSON, times as ISO 8601."""
        document: dict[str, Any] = _plain(asdict(self))
        return document


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
