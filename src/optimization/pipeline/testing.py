"""Is a candidate better on questions that its maker never saw?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from src.domain.improvement import ActionStatus, ChangeKind, Hop, ItemScores, LearningItem, Replay
from src.optimization.gates.gate import GateVerdict, Pilot, decide, questions_needed
from src.optimization.gates.splits import Split, normalised, split_items
from src.optimization.guardrails import approval_needed
from src.optimization.pipeline.ending import close_as_stale, give_up
from src.optimization.pipeline.evidence import data_record, judge_record, spend_of_scores, spend_record
from src.optimization.pipeline.guarding import proposal_of, variants_of
from src.optimization.pipeline.proposing import items_of
from src.optimization.pipeline.recording import record
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.trail import Trail
from src.optimization.pipeline.versions import versions_of
from src.storage.database import Session


@dataclass(frozen=True, slots=True)
class Tested:
    """The verdict and everything that was scored for it."""

    verdict: GateVerdict
    scores: Sequence[ItemScores]


async def test(services: PipelineServices, trail: Trail) -> str | None:
    """Take a look at the test items, where there are enough of them and the right judge."""
    action, kind = trail.action, trail.action.improvement_type
    if not await versions_of(services, kind).is_current(action):
        await close_as_stale(services, trail, "another version came into use before it was tested")
        return None
    replay = services.gate_replays.get(kind)
    if replay is None:
        return await _wait(services, trail, f"nothing here tests changes of the kind {kind.value}")
    if (problem := _same_judge(trail, replay)) is not None:
        return await _wait(services, trail, problem)
    split = split_items(await items_of(services, action.component, kind), services.settings.gate)
    if (missing := _too_few(trail, split.test)) is not None:
        return await _wait(services, trail, missing)
    tested = await _look(services, trail, replay, split)
    await _record(services, trail, replay, split, tested)
    return None


async def _wait(services: PipelineServices, trail: Trail, why: str) -> str | None:
    """Wait for what is missing, but not for ever: meanwhile no other change of the component is made."""
    most = services.settings.gate.max_wait_hours
    if services.clock() - trail.action.created_at < timedelta(hours=most):
        return why
    await give_up(services, trail, f"not tested within {most:g} hours: {why}")
    return None


def _same_judge(trail: Trail, replay: Replay) -> str | None:
    """Labels judge nobody by taste: only what a model judged needs another model."""
    if trail.action.improvement_type is not ChangeKind.PROMPT:
        return None
    made_by = _proposed(trail).get("judge")
    if made_by is None:
        return "it is not known who judged while the candidate was made, so no judge is known to be another"
    if made_by == replay.judge:
        return f"{made_by} judged while the candidate was made and must not judge its test: configure another judge"
    return None


def _proposed(trail: Trail) -> dict[str, Any]:
    first = trail.last(Hop.PROPOSED)
    return dict(first.evidence) if first is not None else {}


def _too_few(trail: Trail, items: Sequence[LearningItem]) -> str | None:
    """Nothing is paid for before there are as many questions as the last attempt asked for."""
    last = trail.last(Hop.TESTED)
    needed = last.evidence["verdict"]["n_needed"] if last is not None else None
    n = _questions(items)
    if needed is None or n >= needed:
        return None
    return f"insufficient evidence: {n} of {needed} different test questions"


def _questions(items: Sequence[LearningItem]) -> int:
    return len({normalised(item.query) for item in items})


async def _look(services: PipelineServices, trail: Trail, replay: Replay, split: Split) -> Tested:
    settings, kind = services.settings.gate, trail.action.improvement_type
    looks = trail.tests
    place = {"look": len(looks) + 1, "previous_n": looks[-1].evidence["verdict"]["n"] if looks else 0}
    questions = {item.interaction_id: item.query for item in (*split.validation, *split.test)}
    n = _questions(split.test)
    if n < settings.min_items:
        return Tested(_insufficient(n, settings.min_items, place["look"]), ())
    before, after = variants_of(trail.action)
    services.on_progress(f"testing {trail.action.component}", 0.0)
    pilot = Pilot(await replay.scores(before, split.validation), await replay.scores(after, split.validation))
    paid = [*pilot.baseline, *pilot.candidate]
    needed = questions_needed(pilot, kind=kind, settings=settings, questions=questions, **place)
    if needed is not None and n < needed:
        return Tested(_insufficient(n, needed, place["look"]), paid)
    old: Sequence[ItemScores] = ()
    new: Sequence[ItemScores] = ()
    if needed is not None:
        services.on_progress(f"testing {trail.action.component}", 0.3)
        old, new = await replay.scores(before, split.test), await replay.scores(after, split.test)
    text = kind is ChangeKind.PROMPT
    verdict = decide(
        old,
        new,
        kind=kind,
        settings=settings,
        pilot=pilot,
        baseline_length=len(str(before.content.get("text", ""))) if text else None,
        candidate_length=len(str(after.content.get("text", ""))) if text else None,
        questions=questions,
        random_state=services.settings.improvement.random_state,
        **place,
    )
    return Tested(verdict, [*paid, *old, *new])


def _insufficient(n: int, needed: int, look: int) -> GateVerdict:
    """Nothing was compared: no part of the error is used up."""
    reason = f"insufficient evidence: {n} different test questions, {needed} are needed"
    return GateVerdict("insufficient", (reason,), None, {}, None, None, None, n, needed, look, 0.0, looked=False)


async def _record(services: PipelineServices, trail: Trail, replay: Replay, split: Split, tested: Tested) -> None:
    action, verdict = trail.action, tested.verdict
    versions = versions_of(services, action.improvement_type)
    asked = approval_needed(proposal_of(action), services.settings) if verdict.outcome == "pass" else None
    evidence = {
        "verdict": verdict.document(),
        "validation": data_record(split.validation),
        "test": data_record(split.test),
        "judge": judge_record(replay),
        "approval": asked,
        "spend": spend_record(spend_of_scores(tested.scores)),
    }
    offline, baseline = (verdict.target.candidate, verdict.target.baseline) if verdict.target else (None, None)

    async def effect(session: Session) -> None:
        if verdict.looked:
            await versions.scored(action, offline, baseline, session)
        if verdict.outcome == "reject":
            await versions.reject(action, session)

    await record(
        services,
        trail,
        Hop.TESTED,
        status=_status(verdict, asked),
        changes={"baseline_score": baseline} if baseline is not None else {},
        evidence=evidence,
        attempt=trail.next_attempt(Hop.TESTED),
        within=effect,
    )


def _status(verdict: GateVerdict, asked: str | None) -> ActionStatus | None:
    if verdict.outcome == "reject":
        return ActionStatus.REJECTED
    return ActionStatus.AWAITING_APPROVAL if asked is not None else None
