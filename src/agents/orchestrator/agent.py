"""Which agents answer a question, and what do they say together? The agent that runs a session's questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from src.agents.orchestrator.graph import build_graph
from src.agents.orchestrator.services import PLACE, Services
from src.agents.orchestrator.state import Classification, Dispatch, QueryRequest
from src.agents.results import AgentMeta
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.domain.findings import Finding, Insight


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer with what it rests on, or the question back (``clarification``) or why there is none (``declined``).

    ``citations`` are evidence ids (``run:``, ``chunk:``, ``path:``, ``step:``); ``confidence`` in 0–1.
    """

    answer: str
    confidence: float | None
    citations: tuple[str, ...]
    recommendations: tuple[str, ...]
    follow_ups: tuple[str, ...]
    insights: tuple[Insight, ...]
    dispatches: tuple[Dispatch, ...]
    findings: tuple[Finding, ...]
    classification: Classification | None
    clarification: str | None
    options: tuple[str, ...]
    declined: str | None
    source: str
    prompt_versions: Mapping[str, int]
    session_id: str
    error: NodeError | None
    meta: AgentMeta


class OrchestratorAgent:
    """Runs the orchestrator graph; a session is one thread of the checkpointer."""

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(
        self,
        services: Services,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        *,
        sla_seconds: float | None = None,
    ) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self._services = services
        self._graph = build_graph(checkpointer)

    async def run(self, request: QueryRequest | Mapping[str, Any], deps: Deps) -> QueryResult:
        """Answer one question; a run of the session that was interrupted at this trace goes on where it stopped."""
        raise NotImplementedError
