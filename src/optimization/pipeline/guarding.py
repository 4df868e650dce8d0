"""Do the guardrails let a change be made, now and at all?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean

from src.domain.improvement import ActionStatus, ChangeKind, ItemScores, Proposal, Variant
from src.domain.rubric import RubricDecision
from src.optimization.gates.splits import Split
from src.optimization.guardrails import ChangeContext, Violation, check_change
from src.optimization.pipeline.services import PipelineServices
from src.optimization.text.released import file_digests, released_digests
from src.storage.improvement_actions import ImprovementAction

TIMING = frozenset({"paused", "cooldown", "daily_cap", "burn_in"})
"""What passes by itself: it says nothing about the change."""
LEAKS = frozenset({"personal_data", "copied"})
"""What must not even be kept: data about persons, and what people asked and were told."""
UNCERTAINTY = "uncertainty_communication"


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Mean points for uncertainty on the hard questions, by the text in use and by the new one."""

    before: float | None
    after: float | None
    scores: Sequence[ItemScores] = ()


def proposal_of(action: ImprovementAction) -> Proposal:
    """The proposal that an action was recorded from."""
    return Proposal(
        component=action.component,
        kind=action.improvement_type,
        before=action.before_config or {},
        after=action.after_config or {},
        reason=action.action_description,
        decision=action.decision,
        judged_by=action.judged_by or "heuristic",  # type: ignore[arg-type]  # a column with these members only
        origin="gepa" if action.origin == "gepa" else "improvement",
        expected_gain=action.expected_gain,
        trigger_score=action.trigger_score,
        signal_id=action.learning_signal_id,
        knowledge_ids=action.knowledge_ids,
        evidence_ids=action.evidence_ids,
    )


async def paused_by(services: PipelineServices) -> str | None:
    """Why nothing is to be done now; None where changes are allowed."""
    if services.settings.safety.pause_auto_updates:
        return "changes are paused by the configuration (safety.pause_auto_updates)"
    state = await services.switch.state()
    if not state.paused:
        return None
    return f"changes are paused{f' by {state.changed_by}' if state.changed_by else ''}: {state.reason or 'no reason'}"


async def too_early(services: PipelineServices, component: str, kind: ChangeKind) -> tuple[Violation, ...]:
    """The guardrails of time and switch that a change of the component would break now."""
    if (reason := await paused_by(services)) is not None:
        return (Violation("paused", reason),)
    at = services.clock()
    wish = Proposal(component, kind, {}, {}, "", decision=RubricDecision.AUTO_UPDATE, judged_by="llm")
    change = ChangeContext(
        wish,
        at,
        last_activation=await services.actions.last_activation(component),
        activations_today=await services.actions.activations_on(at.date()),
        burning_in_since=await _burning_in_since(services, component),
    )
    return tuple(one for one in check_change(change, services.settings) if one.id in TIMING)


async def violations_of(
    services: PipelineServices, proposal: Proposal, split: Split, uncertainty: Uncertainty | None = None
) -> tuple[Violation, ...]:
    """What the change itself breaks, whenever it is made."""
    used = [*split.train, *split.validation]
    files = [
        str(path)
        for guardrail in services.settings.guardrails
        if guardrail.check == "fairness_unchanged"
        for path in guardrail.parameters.get("files", ())
    ]
    change = ChangeContext(
        proposal,
        services.clock(),
        training_texts=[text for item in used for text in item.texts],
        private_values=await services.private_values(used) if services.private_values else (),
        digests=file_digests(files),
        released=released_digests(),
    )
    if uncertainty is not None:
        change = replace(change, uncertainty_before=uncertainty.before, uncertainty_after=uncertainty.after)
    return tuple(one for one in check_change(change, services.settings) if one.id not in TIMING)


async def uncertainty_on_hard_questions(services: PipelineServices, action: ImprovementAction) -> Uncertainty | None:
    """Both texts on the hard questions; None where the change is no prompt or no hard questions are configured."""
    if action.improvement_type is not ChangeKind.PROMPT or services.hard_questions is None:
        return None
    items = await services.hard_questions(action.component)
    replay = services.gate_replays.get(ChangeKind.PROMPT)
    if not items or replay is None:
        return None
    before, after = variants_of(action)
    old, new = await replay.scores(before, items), await replay.scores(after, items)
    return Uncertainty(*_on_the_same_questions(old, new), (*old, *new))


def variants_of(action: ImprovementAction) -> tuple[Variant, Variant]:
    """What is in use, and the candidate."""
    kind = action.improvement_type
    return (
        Variant(action.component, kind, action.before_config or {}),
        Variant(action.component, kind, action.after_config or {}),
    )


def _on_the_same_questions(old: Sequence[ItemScores], new: Sequence[ItemScores]) -> tuple[float | None, float | None]:
    """Means of both texts where both were measured; none of the new one where it lost a question that the old one had:
    leaving out the hardest would raise its mean."""
    pairs = [(a.metrics.get(UNCERTAINTY), b.metrics.get(UNCERTAINTY)) for a, b in zip(old, new, strict=True)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    before = fmean(a for a, _ in known) if known else None
    lost = any(a is not None and b is None for a, b in pairs)
    return before, fmean(b for _, b in known) if known and not lost else None


async def _burning_in_since(services: PipelineServices, component: str) -> datetime | None:
    applied = await services.actions.list(statuses=[ActionStatus.APPLIED], component=component, limit=1)
    return applied[0].applied_at if applied else None
