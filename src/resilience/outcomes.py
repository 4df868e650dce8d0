"""What does a call return when a service cannot be reached? A value that nobody can take for success."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nothing was read or written. ``retry_after_s`` is when it is worth asking again, where known."""

    component: str
    reason: str
    retry_after_s: float | None = None
    persisted: ClassVar[bool] = False

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Spooled:
    """Kept in a local journal at ``spool_path``, to be replayed; the service does not have it yet."""

    component: str
    spool_path: str
    operation: str
    persisted: ClassVar[bool] = False

    def __bool__(self) -> bool:
        return False
