"""An improvement loop over a real database: real repositories, a clock that is set, a scripted improver and judge."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.domain.alerts import Alert
from src.domain.improvement import ChangeKind, DetectedPattern, ItemScores, LearningItem, Variant
from src.domain.prompts import load_prompt
from src.domain.rubric import RubricDecision
from src.optimization.configuration import LoopSettings
from src.optimization.improver import Candidate, ImprovementTask, Spend
from src.optimization.pipeline.improvement import ImprovementPipeline
from src.optimization.pipeline.results import Proposed
from src.optimization.pipeline.services import PipelineServices
from src.storage.canaries import Arm, CanaryRepository, variant_of
from src.storage.cycles import CycleRepository
from src.storage.database import Database
from src.storage.improvement_actions import ActionRepository
from src.storage.improvement_hops import HopLedger
from src.storage.improvement_switch import ImprovementSwitch
from src.storage.knowledge import KnowledgeRepository
from src.storage.learning_items import LearningItemRepository
from src.storage.prompt_versions import PromptRepository
from src.storage.retrieval_configurations import RetrievalConfigRepository

COMPONENT = "explainer"
OLD = load_prompt(COMPONENT).text
GAIN = "Name the main assumption behind every estimate."
"""A sentence that the scripted judge likes."""
LOSS = "Write in long sentences."
"""A sentence that the scripted judge does not like."""
CRITERIA = ("causal_validity", "actionability", "uncertainty_communication")
START = datetime(2026, 3, 2, 8, tzinfo=UTC)


def with_rule(*sentences: str) -> str:
    """The shipped prompt with more sentences among its rules."""
    return OLD.replace("\nAnswer with:", "".join(f"- {one}\n" for one in sentences) + "\nAnswer with:")


BETTER = with_rule(GAIN)
WORSE = with_rule(LOSS)


class Clock:
    """The time as it is set."""

    def __init__(self, moment: datetime = START) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def pass_hours(self, hours: float) -> None:
        """Let time go by."""
        self.moment += timedelta(hours=hours)


@dataclass
class ScriptedImprover:
    """Offers its contents one after the other, the last one again and again."""

    kind: ChangeKind = ChangeKind.PROMPT
    contents: Sequence[Mapping[str, Any]] = field(default_factory=lambda: [{"text": BETTER}])
    judge: str | None = "optimising-judge"
    spend: Spend = Spend(calls=7, task_tokens=900, reflection_tokens=300, judge_tokens=200, dollars=0.05)
    tasks: list[ImprovementTask] = field(default_factory=list)

    async def improve(self, task: ImprovementTask) -> Candidate:
        self.tasks.append(task)
        content = self.contents[min(len(self.tasks), len(self.contents)) - 1]
        variant = Variant(task.current.component, self.kind, content)
        return Candidate(variant, "it names assumptions", 3.6, 3.0, self.spend, self.judge, {"mlflow_run_id": "run-1"})


Worth = Callable[[str, LearningItem], ItemScores]


def noise(*parts: str, spread: float = 0.25) -> float:
    """A number in ± spread that hangs on the parts only."""
    return (int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:6]) / 2**47 - 1) * spread


def points(text: str, item: LearningItem) -> ItemScores:
    """3 points, half a point more or less by what the prompt says, and what of it is luck."""
    score = 3.0 + 0.5 * (GAIN in text) - 0.8 * (LOSS in text) + noise(text, item.interaction_id)
    metrics = dict.fromkeys(CRITERIA, score)
    return ItemScores(item.interaction_id, score, metrics, cost_dollars=0.01, tokens=500, latency_ms=900.0)


@dataclass
class ScriptedReplay:
    """Scores variants by a function of their text and the item."""

    worth: Worth = points
    judge: str = "gating-judge"
    seen: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    async def scores(self, variant: Variant, items: Sequence[LearningItem]) -> Sequence[ItemScores]:
        self.seen.append((variant.sha256, tuple(item.interaction_id for item in items)))
        return [self.worth(str(variant.content.get("text", variant.content)), item) for item in items]


class Mailbox:
    """Keeps the alerts it gets."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    async def send(self, alert: Alert) -> bool:
        self.alerts.append(alert)
        return True


def settings(*, rule_files: Sequence[str] = (), **parts: Mapping[str, Any]) -> LoopSettings:
    """The shipped settings with canaries small enough for a test, and with other values in ``parts``.

    ``rule_files`` are those that must be as released: whoever edits one of the shipped ones stops every change until it
    is released, and that is not what most tests are about.
    """
    known = load_self_improvement()
    small = {"share": 0.5, "target_items": 8, "min_items_per_arm": 4}
    changes = {"canary": small | dict(parts.pop("canary", {})), **parts}
    guardrails = tuple(
        one.model_copy(update={"parameters": {"files": list(rule_files)}}) if one.check == "fairness_unchanged" else one
        for one in known.guardrails
    )
    return known.model_copy(
        update={name: getattr(known, name).model_copy(update=dict(part)) for name, part in changes.items()}
        | {"guardrails": guardrails}
    )


def question(number: int, **values: Any) -> LearningItem:
    """An answered question; no two have the same words."""
    known: dict[str, Any] = {
        "interaction_id": str(uuid5(NAMESPACE_URL, f"item/{number}")), "trace_id": f"trace-{number}",
        "component": COMPONENT, "query": f"Why did calls of kind {number} change?", "answer": f"Answer {number}.",
        "contexts": (), "created_at": START, "inputs": {"findings": [f"finding {number}"]},
    }  # fmt: skip
    return LearningItem(**known | values)


def questions(count: int) -> list[LearningItem]:
    return [question(number) for number in range(count)]


@dataclass
class Loop:
    """The pipeline and everything a test looks at or sets."""

    db: Database
    services: PipelineServices
    clock: Clock
    improver: ScriptedImprover
    replay: ScriptedReplay
    mailbox: Mailbox
    items: list[LearningItem]

    @property
    def pipeline(self) -> ImprovementPipeline:
        return ImprovementPipeline(self.services)

    def changed(self, **parts: Any) -> Loop:
        """The same with other services."""
        return replace(self, services=replace(self.services, **parts))

    async def cycle(self) -> str:
        """The running cycle."""
        return (await CycleRepository(self.db).start("manual")).cycle_id

    async def next_cycle(self) -> str:
        """A new one, so much later that a candidate may be paid for again."""
        self.clock.pass_hours(self.services.settings.safety.cooldown_hours)
        cycles = CycleRepository(self.db)
        if (running := await cycles.running()) is not None:
            await cycles.finish(running.cycle_id, status="completed", decision=None, items=0, summary={})
        return await self.cycle()

    async def propose(self, component: str = COMPONENT, **values: Any) -> Proposed:
        """Have a change proposed in the running cycle."""
        wished: dict[str, Any] = {
            "method": "llm",
            "rubric_weighted": 2.6,
            "combined": 0.5,
            "weaknesses": ("actionability",),
        }
        wished |= values.pop("item", {})
        items = [replace(item, **wished) for item in self.items[:6]]
        pattern = DetectedPattern(component, "relevance", 6, "high", tuple(one.interaction_id for one in items))
        cycle_id = values.pop("cycle_id", None) or await self.cycle()
        return await self.pipeline.propose(component, RubricDecision.AUTO_UPDATE, items, [pattern], cycle_id, **values)

    async def proposed(self, component: str = COMPONENT, **values: Any) -> str:
        """The id of a proposed change."""
        found = (await self.propose(component, **values)).action
        assert found is not None
        return found.action_id

    async def in_canary(self) -> str:
        """The id of a change that answers a share of the sessions."""
        action_id = await self.proposed()
        assert (await self.pipeline.carry_on(action_id)).status.value == "measuring"
        return action_id

    async def applied(self, score: Callable[[Arm], float] = lambda arm: 3.0) -> str:
        """The id of a change that answers all sessions, after a canary of ten sessions each."""
        action_id = await self.in_canary()
        await self.answer_in_canary(action_id, 10, score)
        self.clock.pass_hours(25)
        assert (await self.pipeline.carry_on(action_id)).status.value == "applied"
        return action_id

    async def answer_in_canary(self, action_id: str, sessions: int, score: Callable[[Arm], float]) -> None:
        """So many evaluated sessions of one answer in each arm."""
        canary = await self.services.canaries.of_action(action_id)
        assert canary is not None
        left, number = {"control": sessions, "treatment": sessions}, 0
        while any(left.values()):
            unit, number = str(uuid5(UUID(canary.canary_id), str(number))), number + 1
            arm = variant_of(canary.canary_id, unit, canary.split)
            if left[arm]:
                left[arm] -= 1
                version = canary.treatment if arm == "treatment" else canary.control
                luck = noise(str(left[arm]), spread=0.05)  # the same in both arms
                await self.answer(version, score(arm) + luck, session=unit, kind=canary.kind)

    async def answer(
        self, version: int, score: float, *, session: str | None = None, kind: ChangeKind = ChangeKind.PROMPT
    ) -> None:
        """One answer by a version, at most one in a session, with its score: rubric points, or the RAGAS mean where
        settings are compared."""
        await self.db.execute(_ANSWERED, {
            "session": session, "version": version, "retrieval": kind is ChangeKind.RETRIEVAL, "component": COMPONENT,
            "score": score,
        })  # fmt: skip

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return await self.db.fetch(query, values or None)

    async def action(self, action_id: str) -> dict[str, Any]:
        """The row of an action."""
        (row,) = await self.rows("SELECT * FROM improvement_actions WHERE action_id = %s", action_id)
        return row

    async def hops(self, action_id: str) -> list[str]:
        """The hops of an action in their order."""
        return [one.hop.value for one in await self.services.hops.hops(action_id)]

    async def active(self, component: str = COMPONENT) -> list[int]:
        """Versions that are active."""
        rows = await self.rows(
            "SELECT version FROM prompt_versions WHERE component = %s AND status = 'active'", component
        )
        return [row["version"] for row in rows]


_ANSWERED = """
WITH answered AS (
    INSERT INTO rag_interactions
        (session_id, trace_id, query, answer, agents, prompt_versions, retrieval_config_id, evaluated_at)
    SELECT %(session)s::uuid, gen_random_uuid()::text, 'why?', 'because', '["explainer"]',
           CASE WHEN %(retrieval)s THEN '{}'::jsonb
                ELSE jsonb_build_object(%(component)s::text, %(version)s::integer) END,
           CASE WHEN %(retrieval)s THEN
               (SELECT config_id FROM retrieval_configurations WHERE version = %(version)s::integer) END,
           clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM rag_interactions WHERE session_id = %(session)s::uuid)
    RETURNING interaction_id, trace_id
), judged AS (
    INSERT INTO learning_signals (interaction_id, trace_id, component, signal_type, rubric_weighted, ragas_weighted)
    SELECT interaction_id, trace_id, %(component)s, 'evaluation',
           CASE WHEN NOT %(retrieval)s THEN %(score)s END, CASE WHEN %(retrieval)s THEN %(score)s END
    FROM answered RETURNING signal_id
)
INSERT INTO evaluation_results
    (learning_signal_id, query, response, retrieved_contexts, context_count, method, rubric_method,
     faithfulness, answer_relevancy)
SELECT signal_id, 'why?', 'because', '[]', 0, 'ragas', 'llm',
       CASE WHEN %(retrieval)s THEN %(score)s END, CASE WHEN %(retrieval)s THEN %(score)s END
FROM judged
"""


async def open_loop(db: Database, *, count: int = 80, **parts: Any) -> Loop:
    """A loop whose explainer has the shipped prompt as version 1 and so many answered questions."""
    prompts = PromptRepository(db)
    await prompts.import_files()
    clock, improver, replay = Clock(), ScriptedImprover(), ScriptedReplay()
    mailbox, items = Mailbox(), questions(count)

    async def source(component: str) -> Sequence[LearningItem]:
        return items

    services = PipelineServices(
        database=db,
        actions=ActionRepository(db),
        hops=HopLedger(db),
        knowledge=KnowledgeRepository(db),
        canaries=CanaryRepository(db),
        prompts=prompts,
        retrieval=RetrievalConfigRepository(db),
        items=LearningItemRepository(db),
        switch=ImprovementSwitch(db),
        improvers={ChangeKind.PROMPT: improver},
        gate_replays={ChangeKind.PROMPT: replay},
        settings=settings(),
        item_sources={ChangeKind.PROMPT: source},
        alerts=mailbox,
        clock=clock,
        actor="loop",
    )
    return Loop(db, replace(services, **parts), clock, improver, replay, mailbox, items)
