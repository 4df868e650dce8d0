"""Collect the answers to learn from, and everything that was said of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from langgraph.runtime import Runtime

from src.agents.feedback_learner.attribution import component_of
from src.agents.feedback_learner.batches import cycle_of, known_of
from src.agents.feedback_learner.services import Scored, Services, keep_batch, services_of
from src.agents.feedback_learner.state import Behaviour, Collected, LearnRequest, LearnState, LearnUpdate, Window
from src.agents.runtime import Deps, traced_node
from src.domain.improvement import LearningItem
from src.storage.quality_signals import KeptScore


@traced_node("feedback_learner", "collect")
async def collect_items(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """Have waiting answers scored, take in what others said of traces, and claim the batch: the same one when it is
    carried out again. Repeated for the same cycle it stores nothing twice."""
    services, cycle_id, request = services_of(runtime.context), cycle_of(state), state["request"]
    scored = await services.scorer.score_waiting(request.limit) if services.scorer is not None else Scored(0, 0)
    scores, warnings, degraded = await _scores(services, datetime.fromisoformat(state["context"].since))
    await services.signals.keep_scores(scores, cycle_id)
    items = keep_batch(runtime.context, await _claimed(services, cycle_id, request))
    behaviours = await _behaviours(services, request, cycle_id)
    if scored.failed:
        warnings += (f"{scored.failed} answers could not be scored and wait",)
    return {
        "collected": Collected(
            interaction_ids=tuple(item.interaction_id for item in items),
            behaviours=behaviours,
            scored_now=scored.scored,
            unscored=scored.failed,
            user_signals=sum(item.rating is not None for item in items) + sum(len(one.corrections) for one in items),
            trace_scores=sum(len(item.feedback) for item in items),
            outcomes=await services.signals.keep_outcomes(cycle_id),
        ),
        "warnings": warnings,
        "degraded": degraded,
    }


async def _claimed(services: Services, cycle_id: str, request: LearnRequest) -> tuple[LearningItem, ...]:
    """The answers the request asks for. Where nobody scores, they come without scores and are judged later on."""
    begin, end = _times(request.window)
    held = await services.items.claim(
        cycle_id,
        request.limit,
        request.focus_components or None,
        only=request.items or None,
        since=begin,
        until=end,
        unscored=services.scorer is None,
    )
    return await known_of(held, services)


def _times(window: Window | None) -> tuple[datetime | None, datetime | None]:
    if window is None:
        return None, None
    return datetime.fromisoformat(window.begin), datetime.fromisoformat(window.end)


async def _scores(services: Services, since: datetime) -> tuple[list[KeptScore], tuple[str, ...], tuple[str, ...]]:
    """What others said of traces, in 0–1; names of scores on other scales, and what could not be read."""
    if services.feedback is None:
        return [], (), ()
    found, missing = await services.feedback.since(since)
    usable = [one for one in found if 0 <= one.value <= 1]
    others = sorted({one.name for one in found} - {one.name for one in usable})
    warnings = (f"scores of traces outside of 0 to 1 were left out: {', '.join(others)}",) if others else ()
    return usable, warnings, (f"feedback of the tracing service could not be read: {missing}",) if missing else ()


async def _behaviours(services: Services, request: LearnRequest, cycle_id: str) -> tuple[Behaviour, ...]:
    """What people did often enough to count, by component, kept as signals."""
    found: list[Behaviour] = []
    low = next((one.limit for one in services.settings.rubric.overrides if one.name == "low_user_rating"), 0)
    for pattern in services.settings.behaviour_patterns:
        since = services.clock() - timedelta(days=pattern.window_days)
        by_component: defaultdict[str, set[str]] = defaultdict(set)
        for answered in await services.signals.behaviours(pattern.name, since, low_rating=int(low)):
            by_component[component_of(answered)].add(answered.interaction_id)
        found += [
            Behaviour(pattern.name, component, tuple(sorted(ids)))
            for component, ids in sorted(by_component.items())
            if len(ids) >= pattern.min_count and _in_focus(component, request.focus_components)
        ]
    for one in found:
        await services.signals.keep_behaviour(one.name, one.component, one.interaction_ids, cycle_id)
    return tuple(found)


def _in_focus(component: str, focus: Sequence[str]) -> bool:
    return not focus or component in focus
