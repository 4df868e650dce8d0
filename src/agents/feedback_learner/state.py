"""What travels between the nodes of feedback_learner: ids and small results, never the text of an answer.

What an answer said stays in its own rows, where it can be forgotten; a checkpoint names it by its id.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, TypedDict

from src.agents.runtime import NodeError
from src.domain.improvement import ActionStatus, DetectedPattern
from src.domain.rubric import RubricDecision


@dataclass(frozen=True, slots=True)
class Window:
    """Answers from ``begin`` until before ``end``, both as ISO 8601 with their offset."""

    begin: str
    end: str


@dataclass(frozen=True, slots=True)
class LearnRequest:
    """What to learn from: the answers that wait, or of them only ``items`` (interaction ids) or those of a window.

    ``batch_id`` is the cycle; without one a cycle is started for ``trigger`` (schedule, threshold or manual).
    ``focus_components`` leaves all others waiting. ``limit`` is the most answers of one batch.
    """

    window: Window | None = None
    items: tuple[str, ...] = ()
    focus_components: tuple[str, ...] = ()
    batch_id: str | None = None
    trigger: str = "manual"
    limit: int = 200


@dataclass(frozen=True, slots=True)
class KnownLesson:
    """A lesson that may bear on what is changed; ``lesson_type`` is success, failure or constraint."""

    knowledge_id: str
    lesson_type: str
    component: str
    title: str


@dataclass(frozen=True, slots=True)
class EarlierAction:
    """A change there was. ``improved`` is None where its effect was not measured."""

    action_id: str
    component: str
    status: ActionStatus
    improved: bool | None = None


@dataclass(frozen=True, slots=True)
class LearningContext:
    """What is known before anything is read. ``since`` is when the last cycle began, as ISO 8601."""

    since: str
    lessons: tuple[KnownLesson, ...] = ()
    actions: tuple[EarlierAction, ...] = ()
    last_cycle_id: str | None = None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What people did often enough to count, and the answers after which they did it."""

    name: str
    component: str
    interaction_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """The batch: answers by id, and how many signals there were of each source.

    ``unscored`` are answers that could not be scored now; they wait.
    """

    interaction_ids: tuple[str, ...]
    behaviours: tuple[Behaviour, ...] = ()
    scored_now: int = 0
    unscored: int = 0
    user_signals: int = 0
    trace_scores: int = 0
    outcomes: int = 0


@dataclass(frozen=True, slots=True)
class ComponentVerdict:
    """What is to be done about a component. ``decision`` is None while there are too few answers; ``reason`` says so.

    ``mean`` is of the weighted rubric scores (1–5), ``combined`` of the combined ones (0–1). ``judged_by``: llm where a
    model judged every answer, otherwise heuristic.
    """

    component: str
    decision: RubricDecision | None
    mean: float | None
    interaction_ids: tuple[str, ...]
    judged_by: str
    reason: str
    overrides: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()
    combined: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a component's need: the action, or why there is none."""

    component: str
    action_id: str | None
    status: ActionStatus | None
    reason: str
    knowledge_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingSignal:
    """How well the cycle learned: parts in 0–1, None where there is nothing to compute one from; ``reward`` is their
    weighted mean, weights re-normalised, None without any part."""

    reward: float | None
    accuracy: float | None = None
    actionability: float | None = None
    effectiveness: float | None = None
    rubric: float | None = None
    efficiency: float | None = None
    coverage: float | None = None


class LearnState(TypedDict, total=False):
    """Every key any node writes; warnings and degraded parts are added together, never replaced."""

    request: LearnRequest
    context: LearningContext
    collected: Collected
    patterns: tuple[DetectedPattern, ...]
    verdicts: tuple[ComponentVerdict, ...]
    judged_now: int
    alerted: tuple[str, ...]
    suggestions: tuple[Step, ...]
    proposals: tuple[Step, ...]
    actions: tuple[Step, ...]
    training_signal: TrainingSignal
    finished: bool
    warnings: Annotated[tuple[str, ...], operator.add]
    degraded: Annotated[tuple[str, ...], operator.add]
    error: NodeError


class LearnUpdate(LearnState, total=False):
    """What a node returns: only what it wrote."""


CHECKPOINTED = (
    *(LearnRequest, Window, LearningContext, KnownLesson, EarlierAction, Collected, Behaviour),
    *(DetectedPattern, ComponentVerdict, Step, TrainingSignal, NodeError),
)
