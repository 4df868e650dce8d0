"""What travels between the nodes of explainer: findings in, words whose every number is theirs out."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypedDict

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
    """What to explain, to whom, in which form. ``results`` are findings of agents that ran.

    ``user_expertise`` is executive, analyst or data_scientist. ``focus`` are words of what is to be told first.
    """

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
    """The inputs, ordered for a reader: what is found and what must be told whatever the form.

    ``findings`` are those that answer, the most important first, without what has no evidence or gives clinical advice;
    ``must_tell`` are their warnings and caveats, the strongest first. ``absent`` has a sentence for each agent that did
    not answer, or only in part. ``confidence`` is that of the first finding times the share of agents that answered.
    """

    findings: tuple[Finding, ...]
    must_tell: tuple[Statement, ...]
    absent: tuple[str, ...]
    confidence: float | None = None
    missing: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of a passage, exactly as they stand there."""

    chunk_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Insights in order of importance, the points of the text, and whether a model or the template chose them.

    ``summary`` and ``points`` are a model's words, empty for the template: the findings then speak for themselves.
    """

    insights: tuple[Insight, ...]
    summary: str
    points: tuple[str, ...]
    source: str
    degraded: tuple[str, ...] = ()
    prompt_versions: tuple[tuple[str, int], ...] = ()
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The text: ``summary`` is the answer in a few sentences, ``detail`` the whole, beginning with it.

    ``sections`` are the parts of ``detail``. ``source``: llm or template.
    """

    summary: str
    detail: str
    sections: tuple[Section, ...]
    visuals: tuple[Visual, ...]
    follow_ups: tuple[str, ...]
    source: str


class ExplainerState(TypedDict, total=False):
    """Every key any node writes; warnings and degraded parts are added together, never replaced."""

    request: ExplainRequest
    material: Material
    reasoning: Reasoning
    explanation: Explanation
    warnings: Annotated[tuple[str, ...], operator.add]
    degraded: Annotated[tuple[str, ...], operator.add]
    error: NodeError


class ExplainerUpdate(ExplainerState, total=False):
    """What a node returns: only what it wrote."""
