"""What do the nodes of feedback_learner work with? The parts it needs, in the words it needs them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig
from src.agents.runtime import Deps
from src.domain.alerts import AlertSender
from src.domain.improvement import ChangeKind, DetectedPattern, LearningItem, Lesson
from src.domain.prompts import FilePrompts, PromptSource
from src.domain.rubric import Rubric, RubricDecision
from src.llm.client import LLMClient
from src.mlops.mlflow_connector import MLflowConnector
from src.optimization.pipeline.results import CarriedOn, Proposed
from src.storage.cycles import CognitiveCycle, Ending, Trigger
from src.storage.evaluation_results import EvaluationRows
from src.storage.improvement_actions import ImprovementAction
from src.storage.quality_signals import KeptScore

PLACE = "feedback_learner"
_BATCH = f"{PLACE}/batch"


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of the answers that had no scores: how many have them now, and how many could not be scored."""

    scored: int
    failed: int


class Scorer(Protocol):
    """Scores answers that were given and wait for their scores."""

    async def score_waiting(self, limit: int) -> Scored:
        """Score up to ``limit`` answers, oldest first. One that cannot be scored waits on and is counted."""
        ...


class Items(Protocol):
    """The answers to learn from. A cycle's are the same however often it asks."""

    async def claim(
        self,
        cycle_id: str,
        limit: int,
        components: Sequence[str] | None = None,
        *,
        only: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        unscored: bool = False,
    ) -> Sequence[LearningItem]:
        """Answers nobody has learnt from, oldest first; where the cycle holds some already, those."""
        ...

    async def of_cycle(self, cycle_id: str) -> Sequence[LearningItem]:
        """The answers a cycle holds."""
        ...

    async def finish(self, cycle_id: str) -> int:
        """Note that the answers a cycle holds were learnt from."""
        ...

    async def give_back(self, cycle_id: str, only: Sequence[str] | None = None) -> int:
        """Let a later cycle have the answers that a cycle holds, or only these."""
        ...


class BehavedAfter(Protocol):
    """An answer after which people behaved in some way."""

    @property
    def interaction_id(self) -> str: ...

    @property
    def component(self) -> str: ...

    @property
    def prompt_versions(self) -> Mapping[str, int]: ...


class Signals(Protocol):
    """What is said of answers beside their scores, as rows."""

    async def keep_scores(self, scores: Sequence[KeptScore], cycle_id: str) -> Sequence[str]:
        """Keep scores of the traces of answers; gives the answers (ids) of which something new was said."""
        ...

    async def scores_of(self, trace_ids: Sequence[str]) -> Sequence[KeptScore]:
        """The scores that are kept of traces."""
        ...

    async def keep_outcomes(self, cycle_id: str) -> int:
        """Keep how predictions turned out, each outcome once; gives how many were new."""
        ...

    async def behaviours(self, name: str, since: datetime, *, low_rating: int) -> Sequence[BehavedAfter]:
        """The answers after which people behaved so."""
        ...

    async def keep_behaviour(self, name: str, component: str, interaction_ids: Sequence[str], cycle_id: str) -> bool:
        """Keep that it was seen; False where just that is known."""
        ...


class FeedbackSource(Protocol):
    """Scores of traces that are not our own."""

    async def since(self, moment: datetime) -> tuple[Sequence[KeptScore], str]:
        """Scores given since then, and why some could not be had (empty where all could)."""
        ...


class Evaluations(Protocol):
    """Where evaluations are kept."""

    async def store(self, rows: EvaluationRows) -> str:
        """Keep one; gives the id of its signal."""
        ...

    async def recent_weaknesses(
        self, component: str, limit: int = 10, *, other_than: str | None = None
    ) -> tuple[tuple[str, ...], ...]:
        """Weak criteria of a component's last evaluations, newest first."""
        ...


class Lessons(Protocol):
    """What was learnt from changes."""

    async def active(self, component: str | None = None, limit: int = 20) -> Sequence[Lesson]:
        """Lessons that count, newest first."""
        ...


class Actions(Protocol):
    """The changes there were."""

    async def list(self, *, limit: int = 100) -> Sequence[ImprovementAction]:
        """Newest first."""
        ...


class Cycles(Protocol):
    """The record of cycles."""

    async def start(self, trigger: Trigger, *, at: datetime | None = None) -> CognitiveCycle:
        """A new cycle, or the one that was left running."""
        ...

    async def get(self, cycle_id: str) -> CognitiveCycle:
        """A cycle. Raises RunNotFound."""
        ...

    async def last_ended(self) -> CognitiveCycle | None:
        """The cycle before."""
        ...

    async def finish(
        self,
        cycle_id: str,
        *,
        status: Ending,
        decision: str | None,
        items: int,
        summary: Mapping[str, Any],
        at: datetime | None = None,
    ) -> CognitiveCycle:
        """End a cycle; one that has ended stays as it is."""
        ...


class Pipeline(Protocol):
    """Carries changes from the wish to the effect."""

    async def propose(
        self,
        component: str,
        decision: RubricDecision,
        items: Sequence[LearningItem],
        patterns: Sequence[DetectedPattern],
        cycle_id: str,
        *,
        kind: ChangeKind | None = None,
    ) -> Proposed:
        """Make a change that could help; the same one when it is asked again in the cycle."""
        ...

    async def suggest(
        self,
        component: str,
        decision: RubricDecision,
        items: Sequence[LearningItem],
        patterns: Sequence[DetectedPattern],
        cycle_id: str,
    ) -> Proposed:
        """Leave a suggestion to a person."""
        ...

    async def carry_on(self, action_id: str) -> CarriedOn:
        """Take every step that can be taken now."""
        ...


class Approvals(Protocol):
    """Asks a person about a change, and waits without holding anything up."""

    async def ask(self, action_id: str, question: str) -> None:
        """Ask once; asked again nothing changes."""
        ...


@dataclass(frozen=True)
class Services:
    """Everything a cycle needs. What is None is not there, and the result says what is missing because of it.

    ``budgets`` are the seconds each agent may take for an answer, ``budget_s`` those of a cycle; ``llm`` must trace its
    calls. Without a ``scorer`` answers are judged by the rubric alone.
    """

    settings: SelfImprovementConfig
    items: Items
    rubric: Rubric
    evaluations: Evaluations
    signals: Signals
    lessons: Lessons
    earlier: Actions
    cycles: Cycles
    pipeline: Pipeline
    alerts: AlertSender
    approvals: Approvals | None = None
    scorer: Scorer | None = None
    feedback: FeedbackSource | None = None
    mlflow: MLflowConnector | None = None
    llm: LLMClient | None = None
    prompts: PromptSource = field(default_factory=FilePrompts)
    budgets: Mapping[str, float] = field(default_factory=dict)
    budget_s: float = 3600.0
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


def services_of(deps: Deps) -> Services:
    """The services of this run."""
    return cast(Services, deps.workspace[PLACE])


def kept_batch(deps: Deps) -> tuple[LearningItem, ...] | None:
    """The batch as this process holds it; None in a process that took the run over."""
    return deps.workspace.get(_BATCH)


def keep_batch(deps: Deps, items: Sequence[LearningItem]) -> tuple[LearningItem, ...]:
    """Hold the batch for the nodes that come."""
    deps.workspace[_BATCH] = kept = tuple(items)
    return kept
