"""What do the nodes of tool_composer work with?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Protocol, cast

from src.agents.runtime import Deps
from src.agents.tool_composer.frame_memory import FrameMemory
from src.agents.tool_composer.frames import Frames
from src.agents.tool_composer.opik_tracer import CompositionTraceContext
from src.agents.tool_composer.tools.contract import ComposerTool
from src.agents.tool_composer.tools.registry import TOOLS
from src.domain.kpis import Kpi
from src.domain.prompts import FilePrompts, PromptSource
from src.domain.vocabulary import Vocabulary
from src.llm.client import LLMClient
from src.resilience.circuit_breaker import CircuitBreaker
from src.resilience.retry import RetryPolicy
from src.storage.compositions import Composition, StoredPlan

PLACE = "tool_composer"
WORK = "tool_composer.work"


class PlanMemory(Protocol):
    """Plans that were carried out before, by question, as JSON; ``CompositionRepository`` in production."""

    async def find(self, query_sha256: str) -> StoredPlan | None:
        """The plan of that question, if it has not failed more often than it succeeded."""
        ...

    async def keep(
        self, query_sha256: str, plan: Mapping[str, Any], *, succeeded: bool, composition_id: str | None = None
    ) -> str:
        """Count a use, once per composition; the plan's id."""
        ...


class CompositionStore(Protocol):
    """Where compositions are kept; ``CompositionRepository`` in production."""

    async def add(self, composition: Composition) -> None:
        """Store a composition with its steps; the last one of a trace stays."""
        ...


class DeclaredKnowledge(Protocol):
    """What a dataset declares about causes."""

    async def declared(self, dataset: str) -> Mapping[str, Any]:
        """The declaration, empty where there is none. Raises DatasetNotFound."""
        ...


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class Services:
    """The vocabulary, KPI definitions, plans and what a composition may use; without ``llm`` it is deterministic.

    Without ``compositions`` no rows are kept. ``retry`` is how outages are met; ``breaker`` (default: one of the
    agent's own) stops calling what failed repeatedly. ``memory`` holds frames for later questions. A model's reply,
    its repair included, is waited for at most ``reply_seconds``: less than any node may take.
    """

    vocabulary: Vocabulary
    kpis: Mapping[str, Kpi]
    plans: PlanMemory
    knowledge: DeclaredKnowledge
    llm: LLMClient | None = None
    reply_seconds: float = 22.0
    prompts: PromptSource = field(default_factory=FilePrompts)
    parallel: int = 2
    breaker: CircuitBreaker | None = None
    compositions: CompositionStore | None = None
    memory: FrameMemory | None = None
    tools: Mapping[str, ComposerTool[Any]] = field(default_factory=lambda: TOOLS)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    today: Callable[[], date] = _today

    @property
    def model(self) -> LLMClient | None:
        """The model to ask, None where none is configured."""
        return None if self.llm is None or self.llm.provider == "none" else self.llm


@dataclass
class Work:
    """What one run holds beside its state."""

    frames: Frames
    composition_id: str
    trace: CompositionTraceContext
    plan_key: str | None = None
    declared: Mapping[str, Any] = field(default_factory=dict)


def services_of(deps: Deps) -> Services:
    """The services of this run."""
    return cast(Services, deps.workspace[PLACE])


def work_of(deps: Deps) -> Work:
    """What the nodes of this run share."""
    return cast(Work, deps.workspace[WORK])
