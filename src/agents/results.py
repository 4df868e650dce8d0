"""What does every agent's result say about the run itself?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
