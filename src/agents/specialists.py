"""What does the orchestrator ask of another agent, and what comes back? Agents do not import one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from src.domain.findings import Finding
from src.domain.question import Understood


@dataclass(frozen=True, slots=True)
class Task:
    """One question for one agent, part of ``whole``. Neither has personal data left in it.

    ``understood`` is its reading where it asks for an effect. ``prior`` are findings that it builds on: what an
    explanation explains. ``dataset`` is the panel's id or name; ``role`` is whose columns may be seen.
    """

    question: str
    agent: str
    trace_id: str
    session_id: str
    understood: Understood | None = None
    brand: str | None = None
    region: str | None = None
    expertise: str = "analyst"
    role: str = "analyst"
    dataset: str = "hcp_month_panel"
    prior: tuple[Finding, ...] = ()
    whole: str = ""


class Specialist(Protocol):
    """An agent as the orchestrator sees it."""

    @property
    def agent_name(self) -> str:
        """Name of ``src.domain.agents``."""
        ...

    async def answer(self, task: Task) -> Finding:
        """What it found. A failure that a reader can be told of is a Finding of that status; others are raised."""
        ...
