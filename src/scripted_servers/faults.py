"""In which ways can a scripted server fail?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.scripted_servers.http import Request


class FaultKind(StrEnum):
    """What happens to one request instead of a proper answer."""

    STATUS = "status"
    RESET = "reset"
    RESET_AFTER = "reset_after"
    SLOW = "slow"
    BLACK_HOLE = "black_hole"
    TRUNCATED = "truncated"
    STALLED = "stalled"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; ``status`` and ``retry_after`` belong to STATUS, ``seconds`` to SLOW."""

    kind: FaultKind
    status: int = 0
    retry_after: float | str | None = None
    seconds: float = 0.0


FaultSource = Fault | Callable[["Request"], Fault | None] | None
"""The same fault for every request, one chosen by the request, or none."""

RESET = Fault(FaultKind.RESET)
"""The connection is reset before the handler saw the request: nothing was stored."""

RESET_AFTER = Fault(FaultKind.RESET_AFTER)
"""The connection is reset after the handler ran: stored, but nobody was told."""

BLACK_HOLE = Fault(FaultKind.BLACK_HOLE)
"""The request is read and never answered, until the server closes. The handler does not run."""

TRUNCATED = Fault(FaultKind.TRUNCATED)
"""Half of the announced body, then the connection closes."""

STALLED = Fault(FaultKind.STALLED)
"""Half of the body, then nothing until the server closes."""

MALFORMED = Fault(FaultKind.MALFORMED)
"""The handler runs, and the client receives a body that is no JSON under the handler's status."""


def status(code: int, *, retry_after: float | str | None = None) -> Fault:
    """Answer with an HTTP error status, and a Retry-After header where given; the handler does not run."""
    if not 400 <= code <= 599:
        raise ValueError(f"an error status is 400 to 599, not {code}")
    return Fault(FaultKind.STATUS, status=code, retry_after=retry_after)


def slow(seconds: float) -> Fault:
    """Answer properly, ``seconds`` late."""
    return Fault(FaultKind.SLOW, seconds=seconds)


class FaultPlan:
    """Which fault does the next request meet: the scripted ones in order first, then the standing one."""

    def __init__(self, script: Iterable[Fault | None] = (), *, standing: FaultSource = None) -> None:
        self._script = list(script)
        self.standing = standing

    def extend(self, script: Iterable[Fault | None]) -> None:
        """Append faults for the requests to come, one each; None lets one through."""
        self._script.extend(script)

    def clear(self) -> None:
        """Forget every fault: the server is healthy again."""
        self._script.clear()
        self.standing = None

    def next_for(self, request: Request) -> Fault | None:
        """Take the fault of ``request``; the caller serialises the calls."""
        if self._script:
            return self._script.pop(0)
        return self.standing(request) if callable(self.standing) else self.standing
