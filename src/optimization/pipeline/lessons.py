"""What is learnt from a change that ended, also from one that failed?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.domain.improvement import ActionStatus, Hop, digest
from src.optimization.pipeline.consultation import Embedded, embedded
from src.optimization.pipeline.evidence import difference
from src.optimization.pipeline.guarding import TIMING
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.trail import Trail
from src.storage.database import Session
from src.storage.knowledge import LessonType

SOURCE = "improvement_action"
LONGEST_DIFF = 2_000
"""Characters of the difference that a lesson shows: it is read by the models that make later candidates."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """A lesson that is not kept yet."""

    lesson_type: LessonType
    title: str
    description: str
    component: str
    source_id: str
    change_sha256: str
    change: Embedded | None
    details: Mapping[str, Any]
    validated: bool

    async def keep(self, services: PipelineServices, session: Session) -> None:
        """Store it in the transaction of a hop."""
        await services.knowledge.add(
            source_type=SOURCE,
            source_id=self.source_id,
            lesson_type=self.lesson_type,
            title=self.title,
            description=self.description,
            component=self.component,
            change_sha256=self.change_sha256,
            embedding=None if self.change is None else self.change.vector,
            embedding_model=None if self.change is None else self.change.model,
            details=self.details,
            validated=self.validated,
            session=session,
        )


async def lesson_of(
    services: PipelineServices, trail: Trail, *, refused: str | None = None, taken_back: str | None = None
) -> Learnt | None:
    """What the end of a change teaches; None where it says nothing about the change itself.

    ``refused`` and ``taken_back`` are reasons of an ending that is only now to be recorded.
    """
    action = trail.action
    found = _ended(trail)
    if refused is not None:
        found = ("failure", "was refused by a person", refused)
    elif taken_back is not None:
        found = ("failure", "was taken back", taken_back)
    if found is None or Hop.PROPOSED not in trail:
        return None
    lesson_type, what, why = found
    # A text that a guardrail stopped is not handed on to the models that read lessons.
    diff = "" if lesson_type == "constraint" else difference(action.before_config, action.after_config)[:LONGEST_DIFF]
    return Learnt(
        lesson_type,
        title=f"{action.component}: a change of the {action.improvement_type.value} {what}",
        description="\n".join(part for part in (why, diff) if part),
        component=action.component,
        source_id=action.action_id,
        change_sha256=_change_sha256(trail),
        change=await _embedded(services, trail),
        details={"kind": action.improvement_type.value, "reason": why, "outcome_delta": action.outcome_delta},
        validated=action.status in (ActionStatus.CONFIRMED, ActionStatus.ROLLED_BACK),
    )


def outcome_of(trail: Trail) -> bool | None:
    """Whether the lessons that the change was made with helped; None where it was never tried."""
    status = trail.action.status
    if status is ActionStatus.CONFIRMED:
        return trail.action.outcome_improved
    tried = Hop.TESTED in trail
    failed = status in (ActionStatus.REJECTED, ActionStatus.ROLLED_BACK) and not _is_superseded(trail)
    return False if tried and failed else None


def _ended(trail: Trail) -> tuple[LessonType, str, str] | None:
    action = trail.action
    if action.status is ActionStatus.CONFIRMED:
        delta = (
            "" if action.outcome_delta is None else f"; the answers changed by {action.outcome_delta:+.3f} on average"
        )
        what = "helped" if action.outcome_improved else "did no harm"
        return "success", what, f"{action.samples_measured} answers since it{delta}"
    if (undone := trail.last(Hop.ROLLED_BACK)) is not None:
        # The reason alone: who took it back is no matter of the models that read lessons.
        return None if undone.evidence["superseded"] else ("failure", "was taken back", str(undone.evidence["reason"]))
    if action.status is ActionStatus.REJECTED:
        tested = trail.last(Hop.TESTED)
        reasons = tested.evidence["verdict"]["reasons"] if tested is not None else []
        return "failure", "did not pass its test", "; ".join(reasons)
    return _blocked(trail)


def _blocked(trail: Trail) -> tuple[LessonType, str, str] | None:
    """A guardrail teaches something where it is about the change, not about when it came."""
    if trail.action.status is not ActionStatus.BLOCKED:
        return None
    hops = (trail.last(Hop.GUARDED), trail.last(Hop.PROPOSED))
    broken = {name for hop in hops if hop is not None for name in hop.evidence.get("guardrails") or ()}
    if not broken - TIMING:
        return None
    # Not the messages: they quote the text.
    return "constraint", "breaks a guardrail", f"guardrails: {', '.join(sorted(broken - TIMING))}"


def _is_superseded(trail: Trail) -> bool:
    undone = trail.last(Hop.ROLLED_BACK)
    return undone is not None and bool(undone.evidence["superseded"])


def _change_sha256(trail: Trail) -> str:
    first = trail.last(Hop.PROPOSED)
    known = first.evidence.get("change_sha256") if first is not None else None
    return str(known) if known else digest(trail.action.after_config)


async def _embedded(services: PipelineServices, trail: Trail) -> Embedded | None:
    before, after = trail.action.before_config, trail.action.after_config
    if not before or not after or set(after) != {"text"}:
        return None
    return await embedded(services, trail.action.improvement_type, before, after)
