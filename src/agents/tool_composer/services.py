"""What do the nodes of tool_composer work with?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from src.agents.runtime import Deps
from src.agents.tool_composer.state import Plan
from src.domain.kpis import Kpi
from src.domain.prompts import FilePrompts, PromptSource
from src.domain.vocabulary import Vocabulary
from src.llm.client import LLMClient
from src.resilience.circuit_breaker import CircuitBreaker

PLACE = "tool_composer"


class PlanMemory(Protocol):
    """Plans that were carried out before, by question."""

    async def find(self, query_sha256: str) -> Plan | None:
        """The plan of that question, if it has not failed more often than it succeeded."""
        ...

    async def keep(self, query_sha256: str, plan: Plan, *, succeeded: bool) -> str:
        """Count a use; the plan's id."""
        ...


class DeclaredKnowledge(Protocol):
    """What a dataset declares about causes."""

    async def declared(self, dataset: str) -> Mapping[str, Any]:
        """The declaration, empty where there is none. Raises DatasetNotFound."""
        ...


@dataclass(frozen=True)
class Services:
    """The vocabulary, KPI definitions, plans and what a composition may use; without ``llm`` it is deterministic."""

    vocabulary: Vocabulary
    kpis: Mapping[str, Kpi]
    plans: PlanMemory
    knowledge: DeclaredKnowledge
    llm: LLMClient | None = None
    prompts: PromptSource = field(default_factory=FilePrompts)
    parallel: int = 2
    breaker: CircuitBreaker | None = None


def services_of(deps: Deps) -> Services:
    """The services of this run."""
    return cast(Services, deps.workspace[PLACE])
