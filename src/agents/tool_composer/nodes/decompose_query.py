"""Of which parts does the question consist, and is there a plan for it already?"""

from __future__ import annotations

import asyncio
import time

from langgraph.runtime import Runtime

from src.agents.runtime import Deps, traced_node
from src.agents.tool_composer.decomposing import Decomposed, decompose, scope_of
from src.agents.tool_composer.model_planning import decompose_by_model
from src.agents.tool_composer.names import Names, read_names
from src.agents.tool_composer.phases import phase_update, prompt_used
from src.agents.tool_composer.plan_memory import parts_from, plan_from, plan_key, with_scopes
from src.agents.tool_composer.services import PLACE, Services, services_of, work_of
from src.agents.tool_composer.state import ComposeRequest, ComposerState, ComposerUpdate, SubQuestion
from src.errors import ContractViolation


@traced_node(PLACE, "decompose")
async def decompose_query(state: ComposerState, runtime: Runtime[Deps]) -> ComposerUpdate:
    """The parts: those of a kept plan for this question, else by the model, else by rules.

    Raises QuestionNotUnderstood for text that names what the data do not have, DatasetNotFound without a panel.
    """
    began = time.monotonic()
    deps, request = runtime.context, state["request"]
    services, work = services_of(deps), work_of(deps)
    async with work.trace.trace_phase("decompose") as phase:
        work.declared = await services.knowledge.declared(request.context.dataset)
        whole = await asyncio.to_thread(read_names, request.query, services.vocabulary, services.today())
        update = await _kept(request, whole, deps)
        if update is None:
            update = await _taken_apart(request, whole, deps)
        parts = update["sub_questions"]
        by_model = services.model is not None and not update.get("degraded")
        source = "cache" if "plan" in update else ("llm" if by_model else "rules")
        phase.log_decomposition([one.text for one in parts], [one.intent for one in parts], source)
    return phase_update(state, update, "decompose", began)


async def _kept(request: ComposeRequest, whole: Names, deps: Deps) -> ComposerUpdate | None:
    """The parts and steps of a plan that was carried out before; None without one that can be read."""
    services, work = services_of(deps), work_of(deps)
    by_model = services.model is not None
    work.plan_key = plan_key(request.query, whole, request.context, work.declared, by_model=by_model)
    found = None if work.plan_key is None else await services.plans.find(work.plan_key)
    if found is None:
        return None
    try:
        parts, plan = parts_from(found.plan), plan_from(found.plan, found.plan_id)
    except ContractViolation:
        return None
    if not by_model:
        rules = await _by_rules(request, services)
        if len(parts) != len(rules.sub_questions):
            return None
        return {"sub_questions": rules.sub_questions, "plan": plan, "notes": rules.notes}
    return {"sub_questions": _scoped(parts, whole, request, deps), "plan": plan}


def _scoped(
    parts: tuple[SubQuestion, ...], whole: Names, request: ComposeRequest, deps: Deps
) -> tuple[SubQuestion, ...]:
    services = services_of(deps)
    scopes = [
        scope_of(read_names(one.text, services.vocabulary, services.today()), whole, request.context)[0]
        for one in parts
    ]
    return with_scopes(parts, tuple(SubQuestion("", "", scope=scope) for scope in scopes))


async def _taken_apart(request: ComposeRequest, whole: Names, deps: Deps) -> ComposerUpdate:
    services = services_of(deps)
    fallback: ComposerUpdate = {}
    if services.model is not None:
        today = services.today()
        found = await decompose_by_model(services, request.query, whole, request.context, today)
        used = prompt_used(deps, found.asked.prompt, fallback=found.sub_questions is None)
        if found.sub_questions is not None:
            return {"sub_questions": found.sub_questions, "prompt_versions": used}
        fallback = {"prompt_versions": used, "degraded": (f"decompose: by rules ({found.asked.problem})",)}
    rules = await _by_rules(request, services)
    return {**fallback, "sub_questions": rules.sub_questions, "notes": rules.notes}


async def _by_rules(request: ComposeRequest, services: Services) -> Decomposed:
    """Beside the event loop: reading names in a long question takes a while."""
    return await asyncio.to_thread(decompose, request.query, request.context, services.vocabulary, services.today())
