"""What travels between the nodes of tool_composer: a question, its parts, the plan, and what its steps gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypedDict

from src.agents.runtime import NodeError
from src.domain.findings import Evidence, Figure, Statement


@dataclass(frozen=True, slots=True)
class ComposeContext:
    """Where a composition takes its rows from, and for whom.

    ``hidden_columns`` are shown to nobody of the asker's role. ``metrics`` is the dataset of KPI values.
    """

    dataset: str = "hcp_month_panel"
    metrics: str = "table:business_metrics"
    predictions: str = "table:ml_predictions"
    brand: str | None = None
    region: str | None = None
    hidden_columns: tuple[str, ...] = ()
    random_state: int = 42


@dataclass(frozen=True, slots=True)
class ComposeRequest:
    """One question for several tools; no personal data is left in ``query``."""

    query: str
    context: ComposeContext = field(default_factory=ComposeContext)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which of the composition's rows a part is about: values by column, and days from ``start`` to ``end``."""

    kept: tuple[tuple[str, tuple[str, ...]], ...] = ()
    start: date | None = None
    end: date | None = None

    def values(self, column: str) -> tuple[str, ...]:
        """The values kept of a column; () where all of them are."""
        return dict(self.kept).get(column, ())

    def __str__(self) -> str:
        parts = [" or ".join(values) for _, values in self.kept]
        if self.start or self.end:
            ends = [f"{day:%Y-%m}" if day else "…" for day in (self.start, self.end)]
            parts.append(" to ".join(ends))
        return ", ".join(parts) or "all rows"


@dataclass(frozen=True, slots=True)
class SubQuestion:
    """One part of a question: what it asks for (an intent), and the parts whose answers it needs (by position)."""

    text: str
    intent: str
    depends_on: tuple[int, ...] = ()
    scope: Scope = Scope()


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A tool with its arguments (validated by its schema). ``depends_on`` are ordinals of earlier steps; an argument
    of the form ``{"from": ordinal, "field": name}`` takes that figure of their output, ``name.lower`` and
    ``name.upper`` the ends of its interval. ``scope`` are the rows it reads."""

    ordinal: int
    tool: str
    arguments: Mapping[str, Any]
    sub_question: int
    depends_on: tuple[int, ...] = ()
    scope: Scope = Scope()


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order that respects their dependencies. ``source``: deterministic, llm or cache.

    ``assumptions`` are sentences on what the question left open and the plan filled in.
    """

    steps: tuple[PlannedStep, ...]
    source: str
    plan_id: str | None = None
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool computed. ``rows`` is its table, small cells suppressed; ``n_rows`` how many rows it read.

    ``confidence`` is how sure the tool itself is, high, moderate or low; empty where its rows say it, or nothing does.
    """

    summary: str
    figures: tuple[Figure, ...]
    statements: tuple[Statement, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    n_rows: int = 0
    query: Mapping[str, Any] = field(default_factory=dict)
    confidence: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step: ``status`` success, failed or skipped (something it needs failed)."""

    ordinal: int
    tool: str
    inputs: Mapping[str, Any]
    status: str
    output: ToolOutput | None = None
    error_type: str | None = None
    error_message: str | None = None
    attempts: int = 1
    latency_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Synthesis:
    """The steps' results in words: every number is one of theirs. ``source``: llm or template."""

    answer: str
    headline: str
    confidence: float | None
    caveats: tuple[str, ...]
    statements: tuple[Statement, ...]
    figures: tuple[Figure, ...]
    evidence: tuple[Evidence, ...]
    source: str


class ComposerState(TypedDict, total=False):
    """Every key any node writes."""

    request: ComposeRequest
    sub_questions: tuple[SubQuestion, ...]
    plan: Plan
    steps: tuple[StepResult, ...]
    synthesis: Synthesis
    retries: int
    phase_ms: dict[str, float]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    degraded: tuple[str, ...]
    prompt_versions: tuple[tuple[str, int], ...]
    error: NodeError


class ComposerUpdate(ComposerState, total=False):
    """What a node returns: only what it wrote."""
