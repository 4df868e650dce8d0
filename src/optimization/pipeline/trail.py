"""What has been done with a change, and which hop comes next?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from src.domain.improvement import ActionStatus, Hop
from src.storage.improvement_actions import ImprovementAction
from src.storage.improvement_hops import RecordedHop

OF_CANARY, OF_OUTCOME = "canary", "outcome"
"""What a look of the hop ``measured`` was at; under ``of`` in its evidence."""


@dataclass(frozen=True, slots=True)
class Trail:
    """An action and its ledger, in order."""

    action: ImprovementAction
    hops: tuple[RecordedHop, ...]

    def __contains__(self, hop: Hop) -> bool:
        return any(one.hop is hop for one in self.hops)

    def all(self, hop: Hop) -> tuple[RecordedHop, ...]:
        """Every attempt of a hop."""
        return tuple(one for one in self.hops if one.hop is hop)

    def last(self, hop: Hop) -> RecordedHop | None:
        """The newest attempt of a hop."""
        return next(reversed(self.all(hop)), None)

    def next_attempt(self, hop: Hop) -> int:
        """The number of the next look."""
        return len(self.all(hop)) + 1

    @property
    def tests(self) -> tuple[RecordedHop, ...]:
        """Looks at which the test's scores were compared: each uses up its part of the error."""
        return tuple(one for one in self.all(Hop.TESTED) if one.evidence["verdict"]["looked"])

    @property
    def canary_looks(self) -> tuple[RecordedHop, ...]:
        """Looks at the canary."""
        return tuple(one for one in self.all(Hop.MEASURED) if one.evidence["of"] == OF_CANARY)


def next_hop(trail: Trail) -> Hop | None:
    """The hop that is to be tried now; None for a suggestion, and where everything is done.

    What is confirmed is looked at on, until nothing can be found any more that would take it back.
    """
    status = trail.action.status
    if Hop.CLOSED in trail or status is ActionStatus.QUEUED:
        return None
    if status is ActionStatus.PROPOSED:
        return _of_proposed(trail)
    if status is ActionStatus.AWAITING_APPROVAL:
        return Hop.APPROVED
    if status is ActionStatus.MEASURING:
        return _after_look(trail.canary_looks)
    watched = status is ActionStatus.CONFIRMED and Hop.PROMOTED in trail
    return Hop.MEASURED if watched or status is ActionStatus.APPLIED else Hop.CLOSED


def _of_proposed(trail: Trail) -> Hop:
    tested = trail.last(Hop.TESTED)
    if tested is not None and tested.evidence["verdict"]["outcome"] == "pass":
        return Hop.CANARY if Hop.APPROVED in trail else Hop.APPROVED
    return next((hop for hop in (Hop.CANDIDATE, Hop.GUARDED) if hop not in trail), Hop.TESTED)


def _after_look(looks: Iterable[RecordedHop]) -> Hop:
    outcomes = [look.evidence["verdict"]["outcome"] for look in looks]
    last = outcomes[-1] if outcomes else "continue"
    return {"promote": Hop.PROMOTED, "roll_back": Hop.ROLLED_BACK}.get(last, Hop.MEASURED)
