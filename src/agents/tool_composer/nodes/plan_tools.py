"""Which tools answer which part, in which order?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from langgraph.runtime import Runtime

from src.agents.runtime import Deps, traced_node
from src.agents.tool_composer.frames import columns_of
from src.agents.tool_composer.model_planning import plan_by_model
from src.agents.tool_composer.names import read_names
from src.agents.tool_composer.phases import phase_update, prompt_used
from src.agents.tool_composer.plan_checks import checked_plan
from src.agents.tool_composer.planning import plan_by_rules
from src.agents.tool_composer.services import PLACE, services_of, work_of
from src.agents.tool_composer.slots import settled
from src.agents.tool_composer.state import ComposerState, ComposerUpdate, Plan, SubQuestion
from src.errors import ContractViolation


@traced_node(PLACE, "plan")
async def plan_tools(state: ComposerState, runtime: Runtime[Deps]) -> ComposerUpdate:
    """A kept plan that still holds, else the model's, else that of the rules; each step on the rows of its part.

    Raises DataUnavailable where no tool answers any part.
    """
    began = time.monotonic()
    deps, services, work = runtime.context, services_of(runtime.context), work_of(runtime.context)
    parts = state["sub_questions"]
    async with work.trace.trace_phase("plan") as phase:
        update = await _kept(state, deps) or await _planned(state, deps)
        plan = update["plan"]
        steps = tuple(settled(step, parts[step.sub_question], services.tools) for step in plan.steps)
        update["plan"] = replace(plan, steps=steps)
        phase.log_planning(
            [step.tool for step in steps],
            plan.source,
            dependencies=sum(len(step.depends_on) for step in steps),
            plan_id=plan.plan_id,
            arguments=[step.arguments for step in steps],
        )
    return phase_update(state, update, "plan", began)


async def _kept(state: ComposerState, deps: Deps) -> ComposerUpdate | None:
    """The plan found for this question, if today's tools and columns still allow it; else its span says why not."""
    plan, tools = state.get("plan"), services_of(deps).tools
    if plan is None:
        return None
    used = [tools[step.tool] for step in plan.steps if step.tool in tools]
    columns = await columns_of(work_of(deps).frames, used)
    try:
        return {"plan": replace(plan, steps=checked_plan(plan.steps, tools, columns, len(state["sub_questions"])))}
    except ContractViolation as error:
        if (span := deps.tracer.current_span()) is not None:
            span.add_event("kept plan not used", {"reason": str(error)})
        return None


async def _planned(state: ComposerState, deps: Deps) -> ComposerUpdate:
    services, work, parts = services_of(deps), work_of(deps), state["sub_questions"]
    fallback: ComposerUpdate = {}
    if services.model is not None:
        columns = await columns_of(work.frames, services.tools.values())
        found = await plan_by_model(services, parts, columns, work.declared)
        used = prompt_used(deps, found.asked.prompt, fallback=found.steps is None)
        if found.steps is not None:
            return {"plan": Plan(found.steps, "llm"), "prompt_versions": used}
        fallback = {"prompt_versions": used, "degraded": (f"plan: by rules ({found.asked.problem})",)}
    return {**fallback, "plan": await asyncio.to_thread(_by_rules, state, deps, parts)}


def _by_rules(state: ComposerState, deps: Deps, parts: tuple[SubQuestion, ...]) -> Plan:
    services, today = services_of(deps), services_of(deps).today()
    plan = plan_by_rules(
        parts,
        [read_names(one.text, services.vocabulary, today) for one in parts],
        read_names(state["request"].query, services.vocabulary, today),
        tools=services.tools,
        vocabulary=services.vocabulary,
    )
    return replace(plan, steps=checked_plan(plan.steps, services.tools, {}, len(parts)))
