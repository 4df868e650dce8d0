"""What does every agent's result say about the run itself?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.agents.runtime import NodeError


@dataclass(frozen=True, slots=True)
class AgentMeta:
    """How a run went. ``status``: completed, partial (an answer without all its parts) or failed."""

    agent_name: str
    trace_id: str
    status: str
    started_at: datetime
    duration_ms: float
    warnings: tuple[str, ...]
    degraded: tuple[str, ...]


def meta_of(
    agent_name: str,
    state: Mapping[str, Any],
    error: NodeError | None,
    *,
    trace_id: str,
    started: datetime,
    seconds: float,
    budget_s: float,
    status: str | None = None,
) -> AgentMeta:
    """What the last state of a graph says of the run, from its ``warnings`` and ``degraded``.

    An ``error`` counts as degraded, a run longer than ``budget_s`` as a warning. ``status``: failed with an error,
    partial where something is degraded, otherwise completed, unless the agent judges it another way.
    """
    warnings: tuple[str, ...] = tuple(state.get("warnings", ()))
    if seconds > budget_s:
        warnings += (f"the run took {seconds:.1f} s; its budget is {budget_s:g} s",)
    degraded: tuple[str, ...] = tuple(state.get("degraded", ()))
    if error is not None:
        degraded += (f"{error.node}: {error.message}",)
    usual = "failed" if error is not None else ("partial" if degraded else "completed")
    return AgentMeta(agent_name, trace_id, status or usual, started, seconds * 1000.0, warnings, degraded)
