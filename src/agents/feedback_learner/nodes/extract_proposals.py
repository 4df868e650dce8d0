"""Have a better version made for each component that is to be changed automatically."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.feedback_learner.batches import batch_of, cycle_of
from src.agents.feedback_learner.needs import kind_of, retrieval_component
from src.agents.feedback_learner.services import services_of
from src.agents.feedback_learner.state import ComponentVerdict, LearnState, LearnUpdate, Step
from src.agents.feedback_learner.steps import items_of, patterns_of, step_of
from src.agents.runtime import Deps, traced_node
from src.domain.improvement import LearningItem
from src.domain.rubric import RubricDecision


@traced_node("feedback_learner", "extract")
async def extract_proposals(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """One proposal for each component whose decision is AUTO_UPDATE. Carried out again, the same ones come back and
    the optimiser goes on where it stopped."""
    items, steps = await batch_of(state, runtime.context), list[Step]()
    for verdict in state["verdicts"]:
        if verdict.decision is RubricDecision.AUTO_UPDATE:
            steps.append(await _proposed(verdict, items, state, runtime.context))
    unmet = tuple(f"no change of {one.component}: {one.reason}" for one in steps if one.action_id is None)
    return {"proposals": tuple(steps), "warnings": unmet}


async def _proposed(verdict: ComponentVerdict, items: tuple[LearningItem, ...], state: LearnState, deps: Deps) -> Step:
    services, those = services_of(deps), items_of(verdict, items)
    kind = kind_of(verdict, those, services.settings, retrieval_is_changed=_retrieval_is_changed(state, deps))
    async with deps.tracer.trace_agent("feedback_learner", "extract.propose") as span:
        span.set_attribute("component", verdict.component)
        span.set_attribute("kind", str(kind))
        found = await services.pipeline.propose(
            verdict.component,
            RubricDecision.AUTO_UPDATE,
            those,
            patterns_of(verdict, state),
            cycle_of(state),
            kind=kind,
        )
        step = step_of(verdict.component, found)
        span.set_attribute("action_id", step.action_id or "")
    return step


def _retrieval_is_changed(state: LearnState, deps: Deps) -> bool:
    name = retrieval_component(services_of(deps).settings)
    return any(one.component == name and one.decision is RubricDecision.AUTO_UPDATE for one in state["verdicts"])
