"""Who makes a better version of a prompt or of the retrieval settings, and under which limits?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from src.domain.improvement import ChangeKind, LearningItem, Lesson, Variant


@dataclass(frozen=True, slots=True)
class Spend:
    """What was used: calls and tokens by purpose (task, reflection, judge) and dollars; None is no known price."""

    calls: int = 0
    task_tokens: int = 0
    reflection_tokens: int = 0
    judge_tokens: int = 0
    dollars: float | None = 0.0

    def __add__(self, other: Spend) -> Spend:
        dollars = None if self.dollars is None or other.dollars is None else self.dollars + other.dollars
        return Spend(
            self.calls + other.calls,
            self.task_tokens + other.task_tokens,
            self.reflection_tokens + other.reflection_tokens,
            self.judge_tokens + other.judge_tokens,
            dollars,
        )


@dataclass(frozen=True, slots=True)
class ImprovementTask:
    """What an improver is given: the variant in use, train and validation items (never test items), lessons, a seed.

    ``run_name`` is the same whenever the same task is carried out again, so that a killed run is resumed.
    """

    current: Variant
    train: Sequence[LearningItem]
    validation: Sequence[LearningItem]
    lessons: Sequence[Lesson]
    run_name: str
    random_state: int
    on_progress: Callable[[str, float], None] = field(default=lambda step, share: None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A better variant, or None with the reason why there is none. Scores are means on the validation items."""

    variant: Variant | None
    reason: str
    validation_score: float | None = None
    baseline_score: float | None = None
    spend: Spend = Spend()
    judge: str | None = None
    """Who judged while it was made; the gate is judged by another."""
    artifacts: dict[str, str] = field(default_factory=dict)
    """Ids elsewhere: mlflow_run_id, opik_optimization_id, version_id."""


class Improver(Protocol):
    """Makes candidates of one kind of change."""

    @property
    def kind(self) -> ChangeKind:
        """What it changes."""
        ...

    async def improve(self, task: ImprovementTask) -> Candidate:
        """Raises HPOError or DataUnavailable for too few items (naming the count), BudgetExceeded never: it stops."""
        ...
