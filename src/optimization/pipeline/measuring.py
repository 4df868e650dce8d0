"""Are the answers since a change as good as before, and what follows from it?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from src.domain.improvement import ActionStatus, ChangeKind, Hop, LearningItem
from src.mlops.scoring import RAGAS_WEIGHTS, weighted_mean_of_present
from src.optimization.gates.measurement import Measurement, measure
from src.optimization.pipeline.deploying import look_at_canary
from src.optimization.pipeline.ending import close, take_back
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
    """Confirm a change or take it back as soon as there is enough to tell; what is confirmed is closed when the time
    has passed in which a drop takes it back."""
    action = trail.action
    confirmed = action.status is ActionStatus.CONFIRMED
    pair = await versions_of(services, action.improvement_type).pair(action)
    if not pair.active:
        if confirmed:
            return await close(services, trail)
        await take_back(services, trail, reason="another version came into use", evidence={"of": OF_OUTCOME})
        return None
    assert action.applied_at is not None
    hours = (services.clock() - action.applied_at).total_seconds() / 3600
    found = await _measurement(services, trail, pair, hours)
    if found.outcome == "roll_back" or not confirmed:
        return await _conclude(services, trail, found)
    window = services.settings.safety.rollback_window_hours
    if hours >= window:
        return await close(services, trail)
    return f"the end of the {window:g} hours in which a drop takes it back; {hours:.1f} are over"


async def _conclude(services: PipelineServices, trail: Trail, found: Measurement) -> str | None:
    if found.outcome == "wait":
        return found.reason
    evidence = {"of": OF_OUTCOME, "verdict": found.document()}
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


async def _measurement(services: PipelineServices, trail: Trail, pair: Pair, hours: float) -> Measurement:
    """A drop among the answers of the window, also where nobody looked at them in time; otherwise what all of them say.

    Answers carry the database's time, as the activation does; the loop's clock, which counts ``hours``, may be another.
    """
    kind, moment = trail.action.improvement_type, pair.activated_at
    window = services.settings.safety.rollback_window_hours
    by = partial(_answers, services, trail.action.component, kind)
    before = await by(pair.control, pair.control_id)
    since = await by(pair.treatment, pair.treatment_id)
    assert moment is not None
    known = _scores([item for item in before if item.created_at < moment][-MOST_ANSWERS_BEFORE:], kind)
    since = [item for item in since if item.created_at >= moment]
    of_window = [item for item in since if item.created_at < moment + timedelta(hours=window)]
    compared = partial(measure, known, settings=services.settings.safety, kind=kind)
    found = compared(_scores(of_window, kind), hours=min(hours, window))
    watched_only = trail.action.status is ActionStatus.CONFIRMED or found.outcome == "roll_back"
    return found if watched_only else compared(_scores(since, kind), hours=hours)


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
