"""What do the results say together?"""

from __future__ import annotations

import time
from dataclasses import replace

from langgraph.runtime import Runtime

from src.agents.runtime import Deps, traced_node
from src.agents.tool_composer.narrating import tell
from src.agents.tool_composer.phases import phase_update, prompt_used
from src.agents.tool_composer.plan_checks import arguments_of
from src.agents.tool_composer.services import PLACE, Services, services_of, work_of
from src.agents.tool_composer.state import ComposerState, ComposerUpdate, StepResult
from src.agents.tool_composer.wording import Material, founded


@traced_node(PLACE, "synthesize")
async def synthesize_results(state: ComposerState, runtime: Runtime[Deps]) -> ComposerUpdate:
    """The answer, by the model or the template. A summary with a number that its tool did not compute is not told."""
    began = time.monotonic()
    deps, services, work = runtime.context, services_of(runtime.context), work_of(runtime.context)
    async with work.trace.trace_phase("synthesize") as phase:
        query = state["request"].query
        steps = tuple(_founded(step, query, services) for step in state["steps"])
        material = Material(query, state["sub_questions"], state["plan"], steps, state.get("notes", ()))
        told = await tell(services, material)
        found = told.synthesis
        phase.log_synthesis(
            found.answer,
            confidence=found.confidence,
            source=found.source,
            caveats=len(found.caveats),
            figures=len(found.figures),
        )
        update: ComposerUpdate = {"synthesis": found, "steps": steps, "degraded": told.degraded}
        if replaced := [after.tool for before, after in zip(state["steps"], steps, strict=True) if before != after]:
            update["warnings"] = (f"a sentence with numbers it did not compute was replaced: {', '.join(replaced)}",)
        if told.asked is not None:
            update["prompt_versions"] = prompt_used(deps, told.asked.prompt, fallback=bool(told.degraded))
    return phase_update(state, update, "synthesize", began)


def _founded(step: StepResult, query: str, services: Services) -> StepResult:
    if step.output is None:
        return step
    arguments = arguments_of(services.tools[step.tool], step.inputs).model_dump()
    return replace(step, output=founded(step.output, arguments, (query, str(step.inputs))))
