"""How does a proposal become a candidate that the guardrails let through?"""

from __future__ import annotations

from typing import Any

from src.domain.improvement import ActionStatus, Hop
from src.optimization.gates.splits import split_items
from src.optimization.guardrails import Violation
from src.optimization.pipeline.ending import close_as_stale
from src.optimization.pipeline.evidence import difference, judge_record, spend_of_scores, spend_record
from src.optimization.pipeline.guarding import (
    UNCERTAINTY,
    Uncertainty,
    proposal_of,
    too_early,
    uncertainty_on_hard_questions,
    violations_of,
)
from src.optimization.pipeline.proposing import items_of
from src.optimization.pipeline.recording import record
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.trail import Trail
from src.optimization.pipeline.versions import Stale, versions_of
from src.storage.database import Session


async def add_candidate(services: PipelineServices, trail: Trail) -> str | None:
    """Store what was made as a version that nobody gets yet."""
    action, named = trail.action, dict[str, Any]()
    versions = versions_of(services, action.improvement_type)

    async def store(session: Session) -> None:
        named.update(await versions.add(action, session))

    evidence = {"diff": difference(action.before_config, action.after_config)}
    try:
        # ``named`` is filled by the effect, before the columns are written.
        await record(services, trail, Hop.CANDIDATE, evidence=evidence, changes=named, within=store)
    except Stale as stale:
        await close_as_stale(services, trail, str(stale))
    return None


async def guard(services: PipelineServices, trail: Trail) -> str | None:
    """Block a change that a guardrail forbids. What costs calls of a model comes last."""
    action, uncertainty = trail.action, None
    split = split_items(await items_of(services, action.component, action.improvement_type), services.settings.gate)
    broken = [*await too_early(services, action.component, action.improvement_type)]
    broken += await violations_of(services, proposal_of(action), split)
    if not broken and (uncertainty := await uncertainty_on_hard_questions(services, action)) is not None:
        broken += await violations_of(services, proposal_of(action), split, uncertainty)
        broken += _unmeasured(uncertainty)
    evidence = {"guardrails": _by_id(broken), **_measured(services, trail, uncertainty)}
    if not broken:
        await record(services, trail, Hop.GUARDED, evidence=evidence)
        return None

    async def reject(session: Session) -> None:
        await versions_of(services, action.improvement_type).reject(action, session)

    reason = "; ".join(dict.fromkeys(one.message for one in broken))
    await record(
        services,
        trail,
        Hop.GUARDED,
        status=ActionStatus.BLOCKED,
        changes={"blocked_reason": reason},
        evidence=evidence,
        within=reject,
    )
    return None


def _unmeasured(uncertainty: Uncertainty) -> list[Violation]:
    if uncertainty.before is not None or uncertainty.after is not None:
        return []
    return [Violation("uncertainty", "uncertainty could not be measured on the hard questions")]


def _by_id(broken: list[Violation]) -> dict[str, list[str]]:
    return {one.id: [other.message for other in broken if other.id == one.id] for one in broken}


def _measured(services: PipelineServices, trail: Trail, uncertainty: Uncertainty | None) -> dict[str, Any]:
    if uncertainty is None:
        return {"hard_questions": None}
    replay = services.gate_replays[trail.action.improvement_type]
    return {
        "hard_questions": {"metric": UNCERTAINTY, "before": uncertainty.before, "after": uncertainty.after},
        "judge": judge_record(replay),
        "spend": spend_record(spend_of_scores(uncertainty.scores)),
    }
