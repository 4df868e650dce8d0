"""What travels between the nodes of orchestrator, and what a session remembers of its earlier questions?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, TypedDict

from src.agents.runtime import NodeError
from src.domain.findings import Finding, Insight
from src.domain.question import Understood

MOST_TURNS = 20
MOST_TOLD = 5
"""Answers of a session that are kept with what they rest on, so that they can be explained."""


class Pattern(StrEnum):
    """How a question is answered."""

    SINGLE_AGENT = "SINGLE_AGENT"
    PARALLEL_DELEGATION = "PARALLEL_DELEGATION"
    TOOL_COMPOSER = "TOOL_COMPOSER"
    CLARIFICATION_NEEDED = "CLARIFICATION_NEEDED"
    DECLINED = "DECLINED"


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """One question of a session. ``query`` has no personal data left in it; ``role`` is whose columns may be seen."""

    query: str
    session_id: str
    user_expertise: str = "analyst"
    brand: str | None = None
    region: str | None = None
    role: str = "analyst"
    dataset: str = "hcp_month_panel"
    output_format: str = "narrative"


@dataclass(frozen=True, slots=True)
class Part:
    """A question, or the part of one that one agent answers.

    ``understood`` holds the names in it, with treatment and outcome where it asks for an effect. ``depends_on`` are
    the positions of the parts whose findings it builds on.
    """

    text: str
    intent: str
    agent: str
    understood: Understood | None = None
    depends_on: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """What a question asks for. ``method`` is deterministic or llm; ``confidence`` in 0–1.

    ``resolved`` is the question with what it leaves to the ones before filled in. ``question_back`` and ``options``
    are set where it has to be asked back, ``declined`` where it is not answered. ``rule`` says why: the name of the
    rule that declines it, or what is asked back (treatment, outcome, measure, period, direction, exclusion, kind,
    reference, fewer), whose words are ``phrase``. ``expertise`` is the reader that the question itself names.
    """

    pattern: Pattern
    intent: str
    confidence: float
    method: str
    resolved: str
    parts: tuple[Part, ...] = ()
    question_back: str = ""
    options: tuple[str, ...] = ()
    declined: str = ""
    rule: str = ""
    phrase: str = ""
    assumptions: tuple[str, ...] = ()
    expertise: str | None = None
    prompt_versions: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ContextChunk:
    """A retrieved passage: ``score`` is the fused score."""

    chunk_id: str
    score: float
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One agent asked: with which priority (1 first; equal ones at the same time), how long it may take, what became of
    it. ``latency_ms`` and ``status`` are set when it has ended."""

    agent: str
    question: str
    part: int
    priority: int
    timeout_ms: float
    fallback: str | None = None
    status: str = "planned"
    latency_ms: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a session remembers of one question: enough to resolve "and in the South?" and to explain the answer.

    ``readings`` are the effects it asked for, the first of them also ``understood``, with the brand and region that
    were given beside the question. ``role`` is for whom it was answered, '' not known. ``asked`` is what had to be
    asked back, with the words that left it open and the ``options`` offered. ``findings`` are those of the answer;
    only the last ``MOST_TOLD`` answers of a session are kept with them.
    """

    trace_id: str
    query: str
    resolved: str
    intent: str
    understood: Understood | None
    headline: str
    run_ids: tuple[str, ...] = ()
    readings: tuple[Understood, ...] = ()
    asked: str = ""
    phrase: str = ""
    options: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    role: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """The answer in words, every number of which stands in the findings. ``source`` is llm or template."""

    answer: str
    source: str
    confidence: float | None
    citations: tuple[str, ...]
    recommendations: tuple[str, ...]
    follow_ups: tuple[str, ...]
    insights: tuple[Insight, ...] = ()
    degraded: tuple[str, ...] = ()
    prompt_versions: tuple[tuple[str, int], ...] = ()


def last_turns(known: tuple[Turn, ...], new: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """A session keeps its last questions; one that is told twice (a resumed run) is kept once."""
    merged = {turn.trace_id: turn for turn in (*(known or ()), *new)}
    kept = list(merged.values())[-MOST_TURNS:]
    answered = [at for at, turn in enumerate(kept) if turn.findings]
    for at in answered[:-MOST_TOLD]:
        kept[at] = replace(kept[at], findings=())
    return tuple(kept)


class OrchestratorState(TypedDict, total=False):
    """Every key any node writes. A session is one thread: ``turns`` stay, all other keys are of the last question."""

    request: QueryRequest
    trace_id: str
    classification: Classification | None
    contexts: tuple[ContextChunk, ...]
    dispatches: tuple[Dispatch, ...]
    findings: tuple[Finding, ...]
    written: Written | None
    turns: Annotated[tuple[Turn, ...], last_turns]
    warnings: tuple[str, ...]
    degraded: tuple[str, ...]
    error: NodeError | None


class OrchestratorUpdate(OrchestratorState, total=False):
    """What a node returns: only what it wrote."""


def fresh(request: QueryRequest, trace_id: str) -> OrchestratorState:
    """The state a new question of a session begins with: nothing of the question before but its turn."""
    return {
        "request": request,
        "trace_id": trace_id,
        "classification": None,
        "contexts": (),
        "dispatches": (),
        "findings": (),
        "written": None,
        "turns": (),
        "warnings": (),
        "degraded": (),
        "error": None,
    }
