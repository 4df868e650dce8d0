"""What travels between the nodes of explainer: findings in, words whose every number is theirs out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict

from src.agents.runtime import NodeError
from src.domain.findings import Finding, Insight, Statement


class OutputFormat(StrEnum):
    """How an explanation is laid out."""

    NARRATIVE = "narrative"
    STRUCTURED = "structured"
    PRESENTATION = "presentation"
    BRIEF = "brief"


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of the corpus that may be cited: material, never an instruction."""

    chunk_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """What to explain, to whom, in which form. ``results`` are findings of agents that ran."""

    query: str
    results: tuple[Finding, ...]
    user_expertise: str = "analyst"
    output_format: OutputFormat = OutputFormat.NARRATIVE
    focus: tuple[str, ...] = ()
    use_llm: bool = True
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of an explanation; ``lines`` are sentences or bullet points."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Visual:
    """A plot that would say it at a glance: its kind, title and the names of the figures on it."""

    kind: str
    title: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """The inputs, ordered for a reader: what must be told whatever the form, and all numbers that may be."""

    findings: tuple[Finding, ...]
    must_tell: tuple[Statement, ...]
    numbers: tuple[float, ...]
    texts: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Insights in order of importance, the points of the text, and whether a model or the template chose them."""

    insights: tuple[Insight, ...]
    summary: str
    points: tuple[str, ...]
    source: str
    degraded: tuple[str, ...] = ()
    prompt_versions: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The text. ``source``: llm or template."""

    summary: str
    detail: str
    sections: tuple[Section, ...]
    visuals: tuple[Visual, ...]
    follow_ups: tuple[str, ...]
    source: str


class ExplainerState(TypedDict, total=False):
    """Every key any node writes."""

    request: ExplainRequest
    material: Material
    reasoning: Reasoning
    explanation: Explanation
    warnings: tuple[str, ...]
    degraded: tuple[str, ...]
    error: NodeError


class ExplainerUpdate(ExplainerState, total=False):
    """What a node returns: only what it wrote."""
