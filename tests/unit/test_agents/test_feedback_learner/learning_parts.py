"""A learning cycle over parts in memory: answers, a pipeline that keeps what it was asked, and one run of the agent."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from src.agents.feedback_learner.agent import FeedbackLearnerAgent, LearnResult
from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.agents.feedback_learner.services import Services
from src.agents.feedback_learner.state import LearnRequest
from src.agents.runtime import Deps
from src.domain.alerts import Alert
from src.domain.improvement import ActionStatus, ChangeKind, DetectedPattern, Hop, LearningItem, Lesson
from src.domain.rubric import CRITERIA, RubricDecision
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from src.optimization.pipeline.results import CarriedOn, Proposed
from src.storage.cycles import CognitiveCycle
from src.storage.evaluation_results import EvaluationRows
from src.storage.improvement_actions import ImprovementAction
from src.storage.quality_signals import TraceScore
from tests.traces import memory_connector

SETTINGS = load_self_improvement()
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
CYCLE = "01960000-0000-7000-8000-000000000001"
BAND = {
    RubricDecision.ACCEPTABLE: 4.5,
    RubricDecision.SUGGESTION: 3.5,
    RubricDecision.AUTO_UPDATE: 2.5,
    RubricDecision.ESCALATE: 1.5,
}
BY = {"explainer": {"explainer": 1}, "rag_answer": {"rag_answer": 1}}


def item(number: int, weighted: float | None = 2.5, *, component: str = "explainer", **changes: Any) -> LearningItem:
    """An answer of a component; all criteria score alike, None is an answer nobody judged."""
    judged = weighted is not None
    given: dict[str, Any] = {
        "interaction_id": f"01960000-0000-7000-8000-{number:012d}",
        "trace_id": f"trace-{number}",
        "component": "orchestrator" if component in BY else component,
        "query": f"What do calls do to NRx in region {number}?",
        "answer": "Calls raised NRx.",
        "contexts": ("One more call raised NRx by 0.4.",),
        "created_at": BEGAN + timedelta(minutes=number),
        "prompt_versions": BY.get(component, {}),
        "rubric": dict.fromkeys(CRITERIA, weighted) if judged else {},
        "rubric_weighted": weighted,
        "decision": SETTINGS.rubric.thresholds.band(weighted) if judged else None,
        "method": "llm" if judged else None,
    }
    return LearningItem(**given | changes)


def items(n: int = 5, weighted: float | None = 2.5, *, first: int = 1, **changes: Any) -> list[LearningItem]:
    return [item(number, weighted, **changes) for number in range(first, first + n)]


def decided(decision: RubricDecision, component: str = "explainer", *, first: int = 1) -> list[LearningItem]:
    """Answers whose mean gives a decision."""
    return items(5, BAND[decision], first=first, component=component)


@dataclass
class MemoryItems:
    """Answers of one cycle."""

    items: list[LearningItem]
    claims: list[dict[str, Any]] = field(default_factory=list)
    given_back: list[Any] = field(default_factory=list)
    finished: int = 0

    async def claim(
        self, cycle_id: str, limit: int, components: Sequence[str] | None = None, **wanted: Any
    ) -> Sequence[LearningItem]:
        self.claims.append({"limit": limit, "components": components, **wanted})
        return self.items

    async def of_cycle(self, cycle_id: str) -> Sequence[LearningItem]:
        return self.items

    async def finish(self, cycle_id: str) -> int:
        self.finished += 1
        return len(self.items)

    async def give_back(self, cycle_id: str, only: Sequence[str] | None = None) -> int:
        self.given_back.append(only)
        return len(self.items)


@dataclass
class MemorySignals:
    """Signals beside the scores."""

    seen: dict[str, list[LearningItem]] = field(default_factory=dict)
    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    kept: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    outcomes: int = 0

    async def keep_scores(self, scores: Sequence[Any], cycle_id: str) -> Sequence[str]:
        self.scores |= {(one.trace_id, one.name): one.value for one in scores}
        return [one.trace_id for one in scores]

    async def scores_of(self, trace_ids: Sequence[str]) -> Sequence[TraceScore]:
        return [TraceScore(*key, value) for key, value in self.scores.items() if key[0] in trace_ids]

    async def keep_outcomes(self, cycle_id: str) -> int:
        return self.outcomes

    async def behaviours(self, name: str, since: datetime, *, low_rating: int) -> Sequence[LearningItem]:
        return self.seen.get(name, [])

    async def keep_behaviour(self, name: str, component: str, interaction_ids: Sequence[str], cycle_id: str) -> bool:
        self.kept.append((name, component, tuple(interaction_ids)))
        return True


@dataclass
class MemoryEvaluations:
    """Evaluations by component."""

    stored: list[EvaluationRows] = field(default_factory=list)
    weak: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=lambda: defaultdict(tuple))

    async def store(self, rows: EvaluationRows) -> str:
        self.stored.append(rows)
        return str(rows.signal["signal_id"])

    async def recent_weaknesses(
        self, component: str, limit: int = 10, *, other_than: str | None = None
    ) -> tuple[tuple[str, ...], ...]:
        return self.weak[component]


@dataclass
class MemoryCycles:
    """One running cycle, and how it ended."""

    last: CognitiveCycle | None = None
    ended: list[dict[str, Any]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    fails: Exception | None = None

    async def start(self, trigger: str, *, at: datetime | None = None) -> CognitiveCycle:
        self.started.append(trigger)
        return await self.get(CYCLE)

    async def get(self, cycle_id: str) -> CognitiveCycle:
        return CognitiveCycle(cycle_id, BEGAN, None, "manual", 0, None, "running")

    async def last_ended(self) -> CognitiveCycle | None:
        return self.last

    async def finish(self, cycle_id: str, **values: Any) -> CognitiveCycle:
        if self.fails is not None:
            raise self.fails
        self.ended.append(values)
        return await self.get(cycle_id)


@dataclass
class ScriptedPipeline:
    """Records what is asked of it; a proposal is carried on to ``status``."""

    status: ActionStatus = ActionStatus.MEASURING
    fails: Exception | None = None
    proposed: list[tuple[str, ChangeKind | None, int, tuple[DetectedPattern, ...]]] = field(default_factory=list)
    suggested: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    nothing: str = ""

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
        if self.fails is not None:
            raise self.fails
        self.proposed.append((component, kind, len(items), tuple(patterns)))
        if self.nothing:
            return Proposed(None, self.nothing)
        return Proposed(action(component, ActionStatus.PROPOSED), "made")

    async def suggest(
        self,
        component: str,
        decision: RubricDecision,
        items: Sequence[LearningItem],
        patterns: Sequence[DetectedPattern],
        cycle_id: str,
    ) -> Proposed:
        self.suggested.append(component)
        return Proposed(action(component, ActionStatus.QUEUED), "left to a person")

    async def carry_on(self, action_id: str) -> CarriedOn:
        self.carried.append(action_id)
        return CarriedOn(action_id, self.status, (Hop.GUARDED, Hop.TESTED), "a person" if self.status else "")


def action(component: str, status: ActionStatus = ActionStatus.PROPOSED, **changes: Any) -> ImprovementAction:
    known: dict[str, Any] = {
        "action_id": f"action-{component}",
        "component": component,
        "decision": RubricDecision.AUTO_UPDATE,
        "improvement_type": ChangeKind.PROMPT,
        "priority": "high",
        "status": status,
        "action_description": "",
        "idempotency_key": component,
        "created_at": BEGAN,
        "knowledge_ids": ("lesson-1",),
    }
    return ImprovementAction(**known | changes)


@dataclass
class MemoryAlerts:
    sent: list[Alert] = field(default_factory=list)

    async def send(self, alert: Alert) -> bool:
        self.sent.append(alert)
        return True


@dataclass
class MemoryHistory:
    """Lessons and earlier actions."""

    lessons: list[Lesson] = field(default_factory=list)
    actions: list[ImprovementAction] = field(default_factory=list)

    async def active(self, component: str | None = None, limit: int = 20) -> Sequence[Lesson]:
        return self.lessons[:limit]

    async def list(self, *, limit: int = 100) -> Sequence[ImprovementAction]:
        return self.actions[:limit]


@dataclass
class Desk:
    """Who was asked about which change."""

    asked: list[str] = field(default_factory=list)

    async def ask(self, action_id: str, question: str) -> None:
        self.asked.append(action_id)


@dataclass
class Said:
    """A tracing service that has these scores."""

    scores: list[TraceScore] = field(default_factory=list)
    missing: str = ""
    asked_since: list[datetime] = field(default_factory=list)

    async def since(self, moment: datetime) -> tuple[Sequence[TraceScore], str]:
        self.asked_since.append(moment)
        return self.scores, self.missing


@dataclass
class Parts:
    """All parts of a cycle, to look into afterwards."""

    items: MemoryItems
    signals: MemorySignals = field(default_factory=MemorySignals)
    evaluations: MemoryEvaluations = field(default_factory=MemoryEvaluations)
    cycles: MemoryCycles = field(default_factory=MemoryCycles)
    pipeline: ScriptedPipeline = field(default_factory=ScriptedPipeline)
    alerts: MemoryAlerts = field(default_factory=MemoryAlerts)
    history: MemoryHistory = field(default_factory=MemoryHistory)
    desk: Desk = field(default_factory=Desk)
    feedback: Said = field(default_factory=Said)
    more: dict[str, Any] = field(default_factory=dict)

    def services(self) -> Services:
        known: dict[str, Any] = {
            "settings": SETTINGS,
            "items": self.items,
            "rubric": RubricEvaluator(SETTINGS),
            "evaluations": self.evaluations,
            "signals": self.signals,
            "lessons": self.history,
            "earlier": self.history,
            "cycles": self.cycles,
            "pipeline": self.pipeline,
            "alerts": self.alerts,
            "approvals": self.desk,
            "feedback": self.feedback,
            "clock": lambda: BEGAN + timedelta(minutes=10),
        }
        return Services(**known | self.more)


def parts(*those: LearningItem, **changes: Any) -> Parts:
    return Parts(MemoryItems(list(those)), **changes)


@dataclass
class Ran:
    """A cycle that was run: its result, the nodes in their order, the spans, and the parts."""

    result: LearnResult
    route: list[str]
    sink: MemorySink
    parts: Parts

    def spans(self, operation: str) -> list[Mapping[str, Any]]:
        return [one for one in self.sink.spans if one["operation_type"] == operation]


def deps(route: list[str] | None = None) -> tuple[Deps, MemorySink]:
    connector, sink = memory_connector()
    entered = [] if route is None else route
    return Deps(None, connector, str(uuid7()), str(uuid7()), on_progress=entered.append), sink  # type: ignore[arg-type]


async def learn(
    made: Parts, request: LearnRequest | Mapping[str, Any] | None = None, saver: BaseCheckpointSaver[Any] | None = None
) -> Ran:
    """Run the agent once; the cycle is ``CYCLE``."""
    route: list[str] = []
    given, sink = deps(route)
    asked = LearnRequest(batch_id=CYCLE) if request is None else request
    result = await FeedbackLearnerAgent(made.services(), saver).learn(asked, given)
    await given.tracer.flush()
    return Ran(result, route, sink, made)


def rated(one: LearningItem, rating: int) -> LearningItem:
    return dataclasses.replace(one, rating=rating)
