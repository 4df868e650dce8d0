"""Judge the collected answers by the rubric, and decide for each component what is to be done about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from langgraph.runtime import Runtime

from src.agents.feedback_learner.attribution import by_component
from src.agents.feedback_learner.batches import batch_of, cycle_of
from src.agents.feedback_learner.deciding import combined_of, strictest, verdict_of
from src.agents.feedback_learner.evaluation.applicability import speaks_of_effects
from src.agents.feedback_learner.judging import rows_of
from src.agents.feedback_learner.needs import retrieval_verdict
from src.agents.feedback_learner.services import Services, keep_batch, services_of
from src.agents.feedback_learner.state import ComponentVerdict, LearnState, LearnUpdate
from src.agents.feedback_learner.trace_scores import rating_of
from src.agents.runtime import Deps, traced_node
from src.domain.improvement import LearningItem
from src.domain.rubric import CRITERIA, RubricContext

MOST_EARLIER = 10


@traced_node("feedback_learner", "rubric")
async def judge_by_rubric(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """An answer without a judgement gets one here, and it is stored; then every component of the batch is decided."""
    deps, services = runtime.context, services_of(runtime.context)
    batch = await batch_of(state, deps)
    async with deps.tracer.trace_agent("feedback_learner", "rubric.judge") as span:
        items = keep_batch(deps, [await _judged(item, services, cycle_of(state)) for item in batch])
        now = sum(old.rubric_weighted is None for old in batch)
        span.set_attribute("judged_now", now)
    verdicts = await _verdicts(items, services, state["request"].focus_components)
    waiting = [f"{one.component} waits: {one.reason}" for one in verdicts if one.decision is None]
    async with deps.tracer.trace_agent("feedback_learner", "rubric.decide") as span:
        span.set_attribute("decisions", {one.component: str(one.decision) for one in verdicts if one.decision})
        span.set_attribute("strictest", str(strictest(verdicts) or ""))
    return {"verdicts": verdicts, "judged_now": now, "warnings": tuple(waiting)}


async def _verdicts(
    items: Sequence[LearningItem], services: Services, focus: Sequence[str]
) -> tuple[ComponentVerdict, ...]:
    found = []
    for component, those in by_component(items).items():
        if focus and component not in focus:
            continue
        weak = await services.evaluations.recent_weaknesses(component, MOST_EARLIER)
        found.append(verdict_of(component, those, services.settings, weak))
    retrieval = retrieval_verdict(items, services.settings)
    if retrieval is not None and (not focus or retrieval.component in focus):
        found.append(retrieval)
    return tuple(found)


async def _judged(item: LearningItem, services: Services, cycle_id: str) -> LearningItem:
    """The item with a judgement: the one it has, or a new one, stored beside the scores it has."""
    if item.rubric_weighted is not None:
        return item
    weak = await services.evaluations.recent_weaknesses(item.component, MOST_EARLIER, other_than=item.interaction_id)
    judged = await services.rubric.evaluate(_context(item, weak))
    signal_id = await services.evaluations.store(rows_of(item, judged, cycle_id, services.clock()))
    found = dataclasses.replace(
        item,
        rubric={name: judged.scores[name].score if name in judged.scores else None for name in CRITERIA},
        rubric_weighted=judged.weighted,
        decision=judged.decision,
        weaknesses=judged.weaknesses,
        method=judged.method,
        signal_id=signal_id or item.signal_id,
        combined=None,
    )
    return dataclasses.replace(found, combined=combined_of(found))


def _context(item: LearningItem, weak: Sequence[Sequence[str]]) -> RubricContext:
    rating = rating_of(item)
    return RubricContext(
        query=item.query,
        answer=item.answer,
        contexts=item.contexts,
        component=item.component,
        declined=bool(item.declined),
        causal=speaks_of_effects(item.query, item.answer),
        user_rating=None if rating is None else round(rating),
        recent_weaknesses=weak,
    )
