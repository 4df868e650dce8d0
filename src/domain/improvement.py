"""What does the improvement loop hand from step to step: evaluated answers, patterns, proposals, evidence, lessons?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from src.domain.rubric import RubricDecision

PatternKind = Literal["accuracy", "latency", "relevance", "format", "coverage"]
Severity = Literal["critical", "high", "medium", "low"]
Share = Literal["train", "validation", "test"]


class ChangeKind(StrEnum):
    """What is changed: a prompt, the retrieval settings, or the way of working (always left to a person)."""

    PROMPT = "prompt"
    RETRIEVAL = "retrieval"
    WORKFLOW = "workflow"


class ActionStatus(StrEnum):
    """Where a change stands; the members are those of the database's ``action_status``.

    queued: a person is to look at a suggestion. proposed: waits for evidence or for its next step. measuring: answers a
    share of the questions. applied: answers all of them. confirmed, rolled_back, rejected and blocked are endings; only
    what is confirmed may still be rolled back.
    """

    QUEUED = "queued"
    PROPOSED = "proposed"
    AWAITING_APPROVAL = "awaiting_approval"
    BLOCKED = "blocked"
    REJECTED = "rejected"
    MEASURING = "measuring"
    APPLIED = "applied"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"


class Hop(StrEnum):
    """The steps of a change, in their order. Each happens at most once per change."""

    PROPOSED = "proposed"
    CANDIDATE = "candidate"
    GUARDED = "guarded"
    TESTED = "tested"
    APPROVED = "approved"
    CANARY = "canary"
    PROMOTED = "promoted"
    MEASURED = "measured"
    ROLLED_BACK = "rolled_back"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LearningItem:
    """An answer that was given and what is known of its quality.

    RAGAS scores are in 0–1 and criteria in 1–5; what was not measured is None. ``rating`` is 1–5. ``feedback`` are
    scores of the trace that came from the tracing service, by name. ``inputs`` is what the component was given, as kept
    for replay; empty where nothing was kept.
    """

    interaction_id: str
    trace_id: str
    component: str
    query: str
    answer: str
    contexts: tuple[str, ...]
    created_at: datetime
    prompt_versions: Mapping[str, int] = field(default_factory=dict)
    retrieval_config_id: str | None = None
    brand: str | None = None
    latency_ms: float | None = None
    declined: str | None = None
    ragas: Mapping[str, float | None] = field(default_factory=dict)
    rubric: Mapping[str, float | None] = field(default_factory=dict)
    rubric_weighted: float | None = None
    combined: float | None = None
    decision: RubricDecision | None = None
    weaknesses: tuple[str, ...] = ()
    method: str | None = None
    rating: int | None = None
    corrections: tuple[str, ...] = ()
    feedback: Mapping[str, float] = field(default_factory=dict)
    signal_id: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """Everything in it that a prompt could copy."""
        return [self.query, self.answer, *self.contexts, *self.corrections, *_strings(self.inputs)]


@dataclass(frozen=True, slots=True)
class DetectedPattern:
    """Something that went wrong again and again in a component; ``evidence_ids`` are interactions."""

    component: str
    kind: PatternKind
    count: int
    severity: Severity
    evidence_ids: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A row of the knowledge store. ``change_sha256`` and ``embedding`` are of the change the lesson is about."""

    knowledge_id: str
    lesson_type: Literal["success", "failure", "constraint"]
    title: str
    description: str
    component: str
    change_sha256: str | None = None
    embedding: tuple[float, ...] | None = None
    embedding_model: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that could be made. ``before`` and ``after`` are {"text": …} of a prompt or the settings of retrieval.

    ``expected_gain`` is in the unit of the target of its kind. ``judged_by`` is llm, heuristic or labels: what the
    wish for a change rests on.
    """

    component: str
    kind: ChangeKind
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: str
    decision: RubricDecision
    judged_by: Literal["llm", "heuristic", "labels"]
    origin: Literal["improvement", "gepa"] = "improvement"
    expected_gain: float | None = None
    trigger_score: float | None = None
    signal_id: str | None = None
    knowledge_ids: tuple[str, ...] = ()
    evidence_ids: tuple[str, ...] = ()

    @property
    def before_sha256(self) -> str:
        """Digest of what is in use."""
        return digest(self.before)

    @property
    def after_sha256(self) -> str:
        """Digest of what would be in use."""
        return digest(self.after)

    def idempotency_key(self, cycle_id: str) -> str:
        """The same change of one cycle is one action, however often the cycle is carried out."""
        return digest([self.component, self.before_sha256, self.after_sha256, cycle_id])


@dataclass(frozen=True, slots=True)
class ItemScores:
    """How one variant did on one held-out item. ``target`` is None where it could not be measured.

    Target: weighted rubric points (1–5) for prompts, nDCG (0–1) for retrieval. ``metrics`` are all others by name.
    ``cost_dollars`` is None where no price is known; ``tokens`` are of the prompt and the reply together.
    """

    item_id: str
    target: float | None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    cost_dollars: float | None = None
    tokens: int | None = None
    latency_ms: float | None = None
    answer: str = ""
    problems: tuple[str, ...] = ()
    """What must never happen and did: a lost caveat, an untraceable number, an identifier."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What is tried: the text of a component's prompt, or settings of retrieval."""

    component: str
    kind: ChangeKind
    content: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Digest of the content."""
        return digest(self.content)


class Replay(Protocol):
    """Answers questions that were asked before once more, with a variant, and has the answers judged."""

    @property
    def judge(self) -> str:
        """Who judges: the name of a model or of a measure."""
        ...

    async def scores(self, variant: Variant, items: Sequence[LearningItem]) -> Sequence[ItemScores]:
        """One result per item, in their order. Raises E2IError where nothing can be replayed."""
        ...


def digest(content: Any) -> str:
    """SHA-256 (hex) of a JSON document with sorted keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def share_of(item_id: str, *, train: float = 0.4, validation: float = 0.2) -> Share:
    """Which split an item is in, for ever: by the first 8 bytes of the SHA-256 of its id."""
    place = int.from_bytes(hashlib.sha256(f"split:{item_id}".encode()).digest()[:8]) / 2**64
    if place < train:
        return "train"
    return "validation" if place < train + validation else "test"


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for one in value.values() for text in _strings(one)]
    return [text for one in value for text in _strings(one)] if isinstance(value, list | tuple) else []
