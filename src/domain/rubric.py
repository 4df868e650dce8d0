"""How is an answer judged by the rubric, and what follows from the judgement?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

Criterion = Literal[
    "causal_validity", "actionability", "evidence_chain", "regulatory_awareness", "uncertainty_communication"
]
CRITERIA: tuple[Criterion, ...] = (
    "causal_validity",
    "actionability",
    "evidence_chain",
    "regulatory_awareness",
    "uncertainty_communication",
)
RubricMethod = Literal["llm", "heuristic"]


class RubricDecision(StrEnum):
    """What is to be done about a component, from nothing to a person's attention."""

    ACCEPTABLE = "ACCEPTABLE"
    SUGGESTION = "SUGGESTION"
    AUTO_UPDATE = "AUTO_UPDATE"
    ESCALATE = "ESCALATE"

    @property
    def severity(self) -> int:
        """0 for ACCEPTABLE to 3 for ESCALATE."""
        return list(RubricDecision).index(self)


@dataclass(frozen=True, slots=True)
class RubricContext:
    """What a judge sees. ``evidence`` are the ids the answer cites; ``user_rating`` is 1–5 where somebody gave one.

    ``declined``: the answer says that it cannot be given. ``causal``: question or answer is about causes or what to do;
    None is not known, and then every criterion applies.
    """

    query: str
    answer: str
    contexts: Sequence[str] = ()
    evidence: Sequence[str] = ()
    expertise: str = "analyst"
    component: str = "explainer"
    declined: bool = False
    causal: bool | None = None
    user_rating: int | None = None
    recent_weaknesses: Sequence[Sequence[str]] = ()
    """Weak criteria of the component's last evaluations, newest first."""


@dataclass(frozen=True, slots=True)
class CriterionScore:
    """1 to 5, why, and the words of the answer it rests on (empty when it rests on their absence)."""

    score: float
    reasoning: str
    evidence_quote: str = ""


@dataclass(frozen=True, slots=True)
class RubricEvaluation:
    """Scores, their weighted mean (1–5, unrounded) and the decision, never softer than the overrides demand.

    A criterion that does not apply to the answer has no score and stands in ``inapplicable`` with the reason; the
    weights of the others are re-normalised.
    """

    scores: Mapping[Criterion, CriterionScore]
    weighted: float
    decision: RubricDecision
    overrides_applied: tuple[str, ...]
    weaknesses: tuple[Criterion, ...]
    suggestion: str
    method: RubricMethod
    model: str | None = None
    notes: tuple[str, ...] = ()
    """Why a model was asked and did not decide."""
    cost_dollars: float | None = 0.0
    metadata: Mapping[str, str] = field(default_factory=dict)
    heuristic_scores: Mapping[Criterion, float] = field(default_factory=dict)
    """What the rules gave for the same text, also where a model judged."""
    inapplicable: Mapping[Criterion, str] = field(default_factory=dict)


class Rubric(Protocol):
    """Anything that judges by the rubric."""

    async def evaluate(self, context: RubricContext) -> RubricEvaluation:
        """Judge one answer."""
        ...
