"""Which better variant is to be tried for a component, and may it be tried at all?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from src.domain.improvement import (
    ActionStatus,
    ChangeKind,
    DetectedPattern,
    Hop,
    LearningItem,
    Lesson,
    Proposal,
    Variant,
    digest,
)
from src.domain.rubric import RubricDecision
from src.mlops.scoring import determine_improvement_priority
from src.optimization.gates.splits import Split, split_items
from src.optimization.guardrails import Violation
from src.optimization.improver import Candidate, ImprovementTask
from src.optimization.pipeline.consultation import Embedded, Veto, embedded, lessons_of, veto_of
from src.optimization.pipeline.evidence import data_record, difference, spend_record
from src.optimization.pipeline.guarding import LEAKS, too_early, violations_of
from src.optimization.pipeline.results import Proposed
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.versions import versions_of
from src.storage.improvement_actions import ImprovementAction

MOST_EXAMPLES = 50


@dataclass(frozen=True, slots=True)
class Wish:
    """Why a component should change: the decision of a cycle, the answers and patterns that it rests on."""

    component: str
    kind: ChangeKind
    decision: RubricDecision
    items: Sequence[LearningItem]
    patterns: Sequence[DetectedPattern]
    cycle_id: str

    @property
    def score(self) -> float | None:
        """Mean rubric points of the answers, where they have any."""
        return _mean(item.rubric_weighted for item in self.items)

    @property
    def priority(self) -> str:
        """How urgent it is, by the mean combined score."""
        return determine_improvement_priority(_mean(item.combined for item in self.items))

    @property
    def judged_by(self) -> Literal["llm", "heuristic"]:
        """llm where a model judged every judged answer: a few of its scores do not vouch for those of the rules."""
        judged = [item for item in self.items if item.rubric_weighted is not None]
        return "llm" if judged and all(item.method == "llm" for item in judged) else "heuristic"

    @property
    def reason(self) -> str:
        """The wish in words, without any text of an answer."""
        parts = [f"{self.decision.value} for {self.component}"]
        if self.score is not None:
            parts.append(f"mean of {self.score:.2f} rubric points over {len(self.items)} answers")
        if weak := Counter(name for item in self.items for name in item.weaknesses).most_common(3):
            parts.append("weak in " + ", ".join(f"{name} ({count})" for name, count in weak))
        parts += [f"{one.kind} trouble in {one.count} answers ({one.severity})" for one in self.patterns[:3]]
        return "; ".join(parts)

    def proposal(self, before: Mapping[str, Any], after: Mapping[str, Any], **more: Any) -> Proposal:
        """The change from ``before`` to ``after`` for this wish."""
        return Proposal(
            component=self.component,
            kind=self.kind,
            before=before,
            after=after,
            reason=self.reason,
            decision=self.decision,
            judged_by="labels" if self.kind is ChangeKind.RETRIEVAL else self.judged_by,
            trigger_score=self.score,
            signal_id=next((item.signal_id for item in self.items if item.signal_id), None),
            evidence_ids=tuple(item.interaction_id for item in self.items[:MOST_EXAMPLES]),
            **more,
        )


async def propose(services: PipelineServices, wish: Wish) -> Proposed:
    """One change for the wish, or why there is none."""
    if (known := await _of_this_cycle(services, wish)) is not None:
        return known
    if (other := await services.actions.under_way(wish.component)) is not None:
        return Proposed(None, f"a change of {wish.component} is under way ({other.status.value}, {other.action_id})")
    if wish.kind not in services.improvers:
        return Proposed(None, f"nothing here makes candidates of the kind {wish.kind.value}")
    current = await versions_of(services, wish.kind).in_use(wish.component)
    if early := await too_early(services, wish.component, wish.kind):
        return await _without_candidate(services, wish, wish.proposal(current, {}), early)
    if (paid := await _paid_lately(services, wish.component)) is not None:
        return Proposed(None, paid)
    lessons = await lessons_of(services, wish.component)
    split = split_items(await items_of(services, wish.component, wish.kind), services.settings.gate)
    candidate = await _improved(services, wish, Variant(wish.component, wish.kind, current), split, lessons)
    if candidate.variant is None or candidate.variant.sha256 == digest(current):
        return await _for_nothing(services, wish, current, candidate)
    return await _decided(services, wish, current, candidate, split, lessons)


async def queue(services: PipelineServices, wish: Wish) -> Proposed:
    """A suggestion for a person; what to do is left to them. The same one is not made again while it waits."""
    suggestion = "; ".join(sorted({name for item in wish.items for name in item.weaknesses}))
    proposal = wish.proposal({}, {"suggestion": f"look at {suggestion or wish.component}"})
    for waiting in await services.actions.list(statuses=[ActionStatus.QUEUED], component=wish.component):
        if waiting.after_config == proposal.after:
            return Proposed(waiting, "left to a person")
    action = await services.actions.propose(
        proposal, cycle_id=wish.cycle_id, priority=wish.priority, status=ActionStatus.QUEUED, at=services.clock()
    )
    return Proposed(action, "left to a person")


async def items_of(services: PipelineServices, component: str, kind: ChangeKind) -> Sequence[LearningItem]:
    """Everything a variant can be tried on."""
    source = services.item_sources.get(kind)
    return await (source or services.items.for_component)(component)


async def _of_this_cycle(services: PipelineServices, wish: Wish) -> Proposed | None:
    """What the cycle proposed before it was interrupted."""
    for action in await services.actions.list(component=wish.component, limit=20):
        if action.cycle_id == wish.cycle_id and action.status is not ActionStatus.QUEUED:
            return Proposed(action, action.blocked_reason or "proposed earlier in this cycle")
    return None


async def _paid_lately(services: PipelineServices, component: str) -> str | None:
    """Why no candidate is paid for again so soon: what one run may use is capped, and so is how often there is one."""
    hours = services.settings.safety.cooldown_hours
    for action in await services.actions.list(component=component, limit=20):
        if services.clock() - action.created_at >= timedelta(hours=hours):
            break
        for one in await services.hops.hops(action.action_id):
            if one.hop is Hop.PROPOSED and one.evidence.get("spend", {}).get("calls"):
                return f"a candidate for {component} was paid for less than {hours:g} hours ago"
    return None


async def _for_nothing(
    services: PipelineServices, wish: Wish, current: Mapping[str, Any], candidate: Candidate
) -> Proposed:
    """Nothing better was found: what was paid for it is recorded, where anything was."""
    reason = candidate.reason or "nothing better was found"
    if not candidate.spend.calls:
        return Proposed(None, reason, candidate.spend)
    evidence = {"diff": "", "reason": reason, "judge": candidate.judge, "spend": spend_record(candidate.spend)}
    action = await _begun(services, wish, wish.proposal(current, {}), evidence, reason)
    return Proposed(action, reason, candidate.spend)


async def _improved(
    services: PipelineServices, wish: Wish, current: Variant, split: Split, lessons: Sequence[Lesson]
) -> Candidate:
    # Killed and carried out again, the cycle has the same name for it: the improver goes on where it was.
    task = ImprovementTask(
        current,
        split.train,
        split.validation,
        lessons,
        run_name=f"{wish.cycle_id}-{wish.component}",
        random_state=services.settings.improvement.random_state,
        on_progress=services.on_progress,
    )
    return await services.improvers[wish.kind].improve(task)


async def _decided(
    services: PipelineServices,
    wish: Wish,
    current: Mapping[str, Any],
    candidate: Candidate,
    split: Split,
    lessons: Sequence[Lesson],
) -> Proposed:
    assert candidate.variant is not None
    after = candidate.variant.content
    optimiser = services.settings.improvement.optimizer
    proposal = wish.proposal(
        current,
        after,
        origin="gepa" if wish.kind is ChangeKind.PROMPT and optimiser == "gepa" else "improvement",
        expected_gain=_gain(candidate),
        knowledge_ids=tuple(lesson.knowledge_id for lesson in lessons),
    )
    made = Made(proposal, candidate, split, await embedded(services, wish.kind, current, after))
    leaks = [one for one in await violations_of(services, proposal, split) if one.id in LEAKS]
    if leaks:
        # Such a text is not kept: its digest is, so that the same one is known again.
        hidden = replace(proposal, after={"sha256": proposal.after_sha256})
        return await _without_candidate(services, wish, hidden, leaks, made)
    veto = await veto_of(services, wish.component, after, made.change)
    return await _recorded(services, wish, made, veto)


@dataclass(frozen=True, slots=True)
class Made:
    """A candidate with the proposal for it, the items it was made from and the vector of the change."""

    proposal: Proposal
    candidate: Candidate
    split: Split
    change: Embedded | None

    def evidence(self) -> dict[str, Any]:
        """What the hop ``proposed`` rests on."""
        proposal, candidate = self.proposal, self.candidate
        return {
            "diff": difference(proposal.before, proposal.after),
            "reason": candidate.reason,
            "train": data_record(self.split.train),
            "validation": data_record(self.split.validation),
            "validation_score": candidate.validation_score,
            "baseline_score": candidate.baseline_score,
            "judge": candidate.judge,
            "spend": spend_record(candidate.spend),
            "artifacts": candidate.artifacts,
            "change_sha256": proposal.after_sha256,
            "compared_by": None if self.change is None else self.change.model,
        }


async def _recorded(services: PipelineServices, wish: Wish, made: Made, veto: Veto | None) -> Proposed:
    """The action with its first hop, both or neither; vetoed it is blocked at once."""
    proposal = made.proposal
    blocked = None
    if veto is not None:
        ids = dict.fromkeys((*proposal.knowledge_ids, veto.lesson.knowledge_id))
        proposal, blocked = replace(proposal, knowledge_ids=tuple(ids)), veto.reason
    evidence = made.evidence() | {"vetoed_by": None if veto is None else veto.lesson.knowledge_id}
    action = await _begun(services, wish, proposal, evidence, blocked)
    return Proposed(action, blocked or made.candidate.reason, made.candidate.spend)


async def _without_candidate(
    services: PipelineServices,
    wish: Wish,
    proposal: Proposal,
    violations: Sequence[Violation],
    made: Made | None = None,
) -> Proposed:
    """A wish that guardrails stop before anything is tried."""
    reason = "; ".join(one.message for one in violations)
    evidence: dict[str, Any] = {"guardrails": {one.id: one.message for one in violations}}
    if made is not None:
        evidence |= made.evidence() | {"diff": ""}
    action = await _begun(services, wish, proposal, evidence, reason)
    return Proposed(action, reason, *([made.candidate.spend] if made else []))


async def _begun(
    services: PipelineServices, wish: Wish, proposal: Proposal, evidence: Mapping[str, Any], blocked: str | None
) -> ImprovementAction:
    at = services.clock()
    async with services.database.transaction() as session:
        action = await services.actions.propose(
            proposal,
            cycle_id=wish.cycle_id,
            priority=wish.priority,
            status=ActionStatus.PROPOSED if blocked is None else ActionStatus.BLOCKED,
            blocked_reason=blocked,
            at=at,
            session=session,
        )
        new = await services.hops.record(
            action.action_id,
            Hop.PROPOSED,
            status=None,
            changes={},
            evidence=evidence,
            actor=services.actor,
            at=at,
            session=session,
        )
        if new and proposal.knowledge_ids:
            await services.knowledge.applied(proposal.knowledge_ids, session=session)
    return action


def _gain(candidate: Candidate) -> float | None:
    if candidate.validation_score is None or candidate.baseline_score is None:
        return None
    return candidate.validation_score - candidate.baseline_score


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
