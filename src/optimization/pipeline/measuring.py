"""Are the answers since a change as good as before, and what follows from it?"""

from __future__ import annotations

from collections.abc import Sequence

from src.domain.improvement import ActionStatus, ChangeKind, Hop, LearningItem
from src.mlops.scoring import RAGAS_WEIGHTS, weighted_mean_of_present
from src.optimization.gates.measurement import Measurement, measure
from src.optimization.pipeline.deploying import look_at_canary
from src.optimization.pipeline.ending import take_back
from src.optimization.pipeline.recording import record
from src.optimization.pipeline.services import PipelineServices
from src.optimization.pipeline.trail import OF_OUTCOME, Trail
from src.optimization.pipeline.versions import Pair, versions_of

MOST_ANSWERS_BEFORE = 500
"""The newest answers by what was in use before: older ones were asked of other data."""


async def look(services: PipelineServices, trail: Trail) -> str | None:
    """Look at the canary, or at the answers since the activation."""
    if trail.action.status is ActionStatus.MEASURING:
        return await look_at_canary(services, trail)
    return await measure_outcome(services, trail)


async def measure_outcome(services: PipelineServices, trail: Trail) -> str | None:
    """Confirm a change or take it back, as soon as there is enough to tell."""
    action = trail.action
    pair = await versions_of(services, action.improvement_type).pair(action)
    if not pair.active:
        await take_back(services, trail, reason="another version came into use", evidence={"of": OF_OUTCOME})
        return None
    found = await _measurement(services, trail, pair)
    evidence = {"of": OF_OUTCOME, "verdict": found.document()}
    if found.outcome == "wait":
        return found.reason
    outcome = {
        "outcome_measured": True,
        "outcome_improved": found.improved,
        "outcome_delta": found.outcome_delta,
        "samples_measured": found.n_after,
        "measured_at": services.clock(),
    }
    if found.outcome == "roll_back":
        await take_back(services, trail, reason=found.reason, evidence=evidence, changes=outcome)
        return None
    await record(
        services,
        trail,
        Hop.MEASURED,
        status=ActionStatus.CONFIRMED,
        changes=outcome,
        evidence=evidence,
        attempt=trail.next_attempt(Hop.MEASURED),
    )
    return None


async def _measurement(services: PipelineServices, trail: Trail, pair: Pair) -> Measurement:
    action, kind = trail.action, trail.action.improvement_type
    assert action.applied_at is not None
    # Answers carry the database's time, as the activation does; the loop's clock may be another.
    before = await _answers(services, action.component, kind, pair.control, pair.control_id)
    since = await _answers(services, action.component, kind, pair.treatment, pair.treatment_id)
    moment = pair.activated_at
    hours = (services.clock() - action.applied_at).total_seconds() / 3600
    return measure(
        _scores([item for item in before if moment is None or item.created_at < moment][-MOST_ANSWERS_BEFORE:], kind),
        _scores([item for item in since if moment is None or item.created_at >= moment], kind),
        hours=hours,
        settings=services.settings.safety,
        kind=kind,
    )


async def _answers(
    services: PipelineServices, component: str, kind: ChangeKind, version: int, row: str
) -> Sequence[LearningItem]:
    if kind is ChangeKind.RETRIEVAL:
        return await services.items.evaluated(component, retrieval_config=row)
    return await services.items.evaluated(component, prompt_version=version)


def _scores(items: Sequence[LearningItem], kind: ChangeKind) -> list[float]:
    """Rubric points of prompts, the RAGAS mean of retrieval; what was not measured is left out."""
    if kind is ChangeKind.RETRIEVAL:
        measured = [weighted_mean_of_present(item.ragas, RAGAS_WEIGHTS) for item in items]
    else:
        measured = [item.rubric_weighted for item in items]
    return [score for score in measured if score is not None]
