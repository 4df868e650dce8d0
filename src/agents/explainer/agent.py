"""How are findings told to a reader? The agent that puts them into words without adding to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.agents.explainer.graph import build_graph
from src.agents.explainer.services import PLACE, Services
from src.agents.explainer.state import ExplainRequest, Section, Visual
from src.agents.results import AgentMeta
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.domain.findings import Insight


@dataclass(frozen=True, slots=True)
class ExplainResult:
    """The explanation; ``source`` is llm or template."""

    summary: str
    detail: str
    sections: tuple[Section, ...]
    insights: tuple[Insight, ...]
    visuals: tuple[Visual, ...]
    follow_ups: tuple[str, ...]
    source: str
    prompt_versions: Mapping[str, int]
    error: NodeError | None
    meta: AgentMeta


class ExplainerAgent:
    """Runs the explainer graph."""

    agent_name = PLACE
    agent_type = "deep"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, sla_seconds: float | None = None) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self._services = services
        self._graph = build_graph()

    async def run(self, request: ExplainRequest | Mapping[str, Any], deps: Deps) -> ExplainResult:
        """Explain. What cannot be done is ``error`` in the result."""
        raise NotImplementedError
