"""What do several tools say together? The agent that takes a question apart and computes its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.agents.results import AgentMeta
from src.agents.runtime import Deps, NodeError
from src.agents.tiers import identity
from src.agents.tool_composer.graph import build_graph
from src.agents.tool_composer.services import PLACE, Services
from src.agents.tool_composer.state import ComposeContext, ComposeRequest, Plan, StepResult, SubQuestion, Synthesis


@dataclass(frozen=True, slots=True)
class CompositionResult:
    """The answer and every step behind it."""

    composition_id: str
    answer: str
    confidence: float | None
    caveats: tuple[str, ...]
    sub_questions: tuple[SubQuestion, ...]
    plan: Plan | None
    steps: tuple[StepResult, ...]
    synthesis: Synthesis | None
    error: NodeError | None
    meta: AgentMeta


class ToolComposer:
    """Runs the tool_composer graph."""

    agent_name = PLACE
    agent_type = "standard"
    tier = identity(PLACE).tier

    def __init__(self, services: Services, *, sla_seconds: float | None = None) -> None:
        """``sla_seconds`` (default: config/agents.yaml) is how long a run may take without a warning."""
        self._services = services
        self._graph = build_graph()

    async def run(self, request: ComposeRequest | Mapping[str, Any], deps: Deps) -> CompositionResult:
        """Compose an answer. What cannot be done is ``error`` in the result."""
        raise NotImplementedError

    async def compose(self, query: str, context: ComposeContext, deps: Deps) -> CompositionResult:
        """The same for a question and its context."""
        return await self.run(ComposeRequest(query, context), deps)
