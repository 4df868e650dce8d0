"""What do the spans that are stored and delivered say? The questions behind `e2i observe`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from src.domain.agents import TIER_OF_AGENT, UNKNOWN_AGENT
from src.errors import ContractViolation, SpoolUnusable, nearest_names
from src.storage.connection import connect
from src.storage.trace_records import TraceStatus
from src.storage.traces import TraceRepository

ROUND_S = 1.0
LEAD_WAIT_S = 5.0
_AGO = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_STATES = ("delivered", "pending", "dead", "dropped")


class Delivery(Protocol):
    """What status and replay need of the tracing connector."""

    def get_status(self) -> dict[str, Any]:
        """Counters per sink, the breaker, the queue."""
        ...

    async def flush(self, timeout: float) -> object:
        """Deliver what waits, at most for ``timeout`` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """The connector's status as it says it, and what is wrong with it (nothing: healthy)."""

    status: Mapping[str, Any]
    problems: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {**self.status, "healthy": not self.problems, "problems": list(self.problems)}


@dataclass(frozen=True, slots=True)
class Replayed:
    """Records delivered by a replay, and what it left waiting or dead, by sink."""

    delivered: dict[str, int]
    pending: dict[str, int]
    dead: dict[str, int]
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether nothing waits and nothing is dead."""
        return not any(self.pending.values()) and not any(self.dead.values())

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "complete": self.complete,
            "delivered": self.delivered,
            "pending": self.pending,
            "dead": self.dead,
            "seconds": round(self.seconds, 3),
        }


@asynccontextmanager
async def open_traces() -> AsyncIterator[TraceRepository]:
    """The traces of the configured database, migrated. Raises DatabaseUnavailable or MigrationError."""
    async with connect(migrate=True) as database:
        yield TraceRepository(database)


def connector_status() -> DeliveryStatus:
    """The counters of the configured spool, whichever processes wrote it; neither server is asked."""
    from src.mlops.opik_connector import get_opik_connector

    return delivery_status(get_opik_connector())


@asynccontextmanager
async def open_delivery(*, retry_dead: bool = False) -> AsyncIterator[Delivery]:
    """The connector, delivering to the configured database and mirrors while it is open.

    ``retry_dead`` puts records that a sink refused back in line first. Raises DatabaseUnavailable, and
    SpoolUnusable when another process holds the spool.
    """
    from src.app.tracing import open_tracer

    async with connect(migrate=True) as database:
        connector = await open_tracer(database)
        if retry_dead:
            await _lead(connector)
            connector.replay_dead()
        yield connector


async def _lead(connector: Delivery) -> None:
    """Wait until this process is the one that delivers."""
    deadline = time.monotonic() + LEAD_WAIT_S
    while not connector.get_status().get("leader"):
        if time.monotonic() >= deadline:
            raise SpoolUnusable("another E2I process delivers from this spool; stop it, then replay the dead records")
        await asyncio.sleep(0.05)


def since_moment(text: str | None, now: datetime | None = None) -> datetime | None:
    """A moment from "30m", "24h", "7d", "2w" (before now) or an ISO-8601 time (UTC unless it says its zone).

    Raises ContractViolation, one line.
    """
    if text is None:
        return None
    present = now or datetime.now(UTC)
    try:
        if match := _AGO.fullmatch(text):
            return present - timedelta(**{_UNITS[match[2].lower()]: float(match[1])})
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ContractViolation(
            f"cannot read the time '{text[:40]}'; write 30m, 24h, 7d, or a date like 2026-03-01T08:00"
        ) from error


def known_agent(name: str | None) -> str | None:
    """The name of an agent as it is stored; raises ContractViolation."""
    known = [*TIER_OF_AGENT, UNKNOWN_AGENT]
    if name is not None and name not in known:
        raise ContractViolation(f"there is no agent '{name[:60]}'; {nearest_names(name, known)}")
    return name


def known_status(name: str | None) -> str | None:
    """A status of traces; raises ContractViolation."""
    if name is not None and name not in list(TraceStatus):
        raise ContractViolation(f"there is no status '{name[:40]}'; use {', '.join(TraceStatus)}")
    return name


def trace_filter(*, since: str | None, agent: str | None, status: str | None, limit: int) -> dict[str, Any]:
    """What ``TraceRepository.recent`` takes; raises ContractViolation for a filter that means nothing."""
    return {
        "since": since_moment(since),
        "agent": known_agent(agent),
        "status": known_status(status),
        "limit": limit,
    }


def delivery_status(connector: Delivery) -> DeliveryStatus:
    """Counters and breaker, with the problems: dead records, counts that do not add up."""
    status = connector.get_status()
    problems = []
    for name, counts in status.get("sinks", {}).items():
        total = sum(int(counts[state]) for state in _STATES)
        if total != int(counts["accepted"]):
            problems.append(f"{name}: {counts['accepted']} accepted, but {total} accounted for")
        if counts["dead"]:
            problems.append(f"{name}: {counts['dead']} dead; 'e2i observe replay --dead' tries them again")
    return DeliveryStatus(status, tuple(problems))


async def replay(
    connector: Delivery,
    *,
    limit_s: float,
    on_progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Replayed:
    """Deliver what waits, for at most ``limit_s`` seconds.

    A sink that stays away leaves its records waiting; one that is not configured any more is not waited for.
    """
    began, before = clock(), _counts(connector, "delivered")
    while True:
        left = limit_s - (clock() - began)
        waiting = sum(_counts(connector, "pending", attached_only=True).values())
        if not waiting or left <= 0:
            break
        on_progress(f"{waiting:,} records waiting")
        await connector.flush(min(ROUND_S, left))
        await asyncio.sleep(0)
    after = _counts(connector, "delivered")
    delivered = {name: count - before.get(name, 0) for name, count in after.items()}
    return Replayed(delivered, _counts(connector, "pending"), _counts(connector, "dead"), clock() - began)


def _counts(connector: Delivery, state: str, *, attached_only: bool = False) -> dict[str, int]:
    sinks: Mapping[str, Mapping[str, Any]] = connector.get_status().get("sinks", {})
    return {
        name: int(counts[state]) for name, counts in sinks.items() if counts.get("attached", True) or not attached_only
    }
