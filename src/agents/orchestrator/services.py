"""What do the nodes of orchestrator work with?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Protocol, cast

from src.agents.configuration import load_agents_config
from src.agents.orchestrator.state import ContextChunk, QueryRequest, Written
from src.agents.runtime import Deps
from src.agents.specialists import Specialist
from src.domain.findings import Finding
from src.domain.guards import Guards
from src.domain.prompts import PromptSource
from src.domain.vocabulary import Vocabulary
from src.llm.client import LLMClient

PLACE = "orchestrator"


class ContextSource(Protocol):
    """Finds passages of the corpus."""

    async def passages(self, query: str, *, k: int, brand: str | None, region: str | None) -> Sequence[ContextChunk]:
        """The ``k`` best passages; none from an empty corpus. Raises E2IError where it cannot be searched."""
        ...


class Writer(Protocol):
    """Puts findings into words for a reader: the explainer."""

    async def write(
        self, request: QueryRequest, findings: Sequence[Finding], contexts: Sequence[ContextChunk], trace_id: str
    ) -> Written:
        """The answer; every number in it stands in the findings."""
        ...


def _today() -> date:
    return datetime.now(UTC).date()


def _budgets() -> dict[str, float]:
    return {name: budget.timeout_seconds for name, budget in load_agents_config().agents.items()}


@dataclass(frozen=True)
class Services:
    """Agents by name, the vocabulary, and what the graph may use; without ``llm`` it is deterministic throughout."""

    specialists: Mapping[str, Specialist]
    writer: Writer
    vocabulary: Vocabulary
    guards: Guards
    contexts: ContextSource | None = None
    llm: LLMClient | None = None
    reply_seconds: float = 15.0
    """How long a model's reading of a question is waited for: less than the node may take."""
    prompts: PromptSource | None = None
    today: Callable[[], date] = _today
    budgets: Mapping[str, float] = field(default_factory=_budgets)
    """Seconds each agent may take (config/agents.yaml)."""
    clock: Callable[[], float] = time.monotonic


def services_of(deps: Deps) -> Services:
    """The services of this run."""
    return cast(Services, deps.workspace[PLACE])
