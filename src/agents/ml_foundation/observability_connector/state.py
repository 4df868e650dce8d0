"""What travels between the nodes of observability_connector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from src.agents.ml_foundation.observability_connector.quality import Measurement
from src.agents.runtime import NodeError
from src.mlops.tracing.finished import FinishedSpan
from src.storage.trace_records import Window


@dataclass(frozen=True, slots=True)
class ObserveRequest:
    """Spans to record (none: only measure), and the window and agents to measure (no agents: all)."""

    spans: tuple[FinishedSpan, ...] = ()
    window: Window = Window.DAY
    agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Emitted:
    """What became of the request's spans: ``database`` + ``spooled`` + ``dropped`` is their number.

    ``database``: found there after the delivery. ``spooled``: kept locally, delivery goes on later.
    ``dropped``: refused because the spool has no room. ``opik``: how many records the mirror took
    meanwhile by its own counter, at most the number of spans; None while no mirror is on.
    """

    database: int = 0
    opik: int | None = None
    spooled: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Emission:
    """The count, and what did not work."""

    emitted: Emitted
    degraded: tuple[str, ...] = ()


class ObserveState(TypedDict, total=False):
    """Every key any node writes."""

    request: ObserveRequest
    emission: Emission
    measurement: Measurement
    error: NodeError


class ObserveUpdate(ObserveState, total=False):
    """What a node returns: only what it wrote."""
