"""What does each step of the plan compute?"""

from __future__ import annotations

import time

from langgraph.runtime import Runtime

from src.agents.runtime import Deps, NodeError, traced_node
from src.agents.tool_composer.executing import Execution
from src.agents.tool_composer.phases import phase_update
from src.agents.tool_composer.services import PLACE, services_of, work_of
from src.agents.tool_composer.state import ComposerState, ComposerUpdate, StepResult


@traced_node(PLACE, "execute")
async def execute_plan(state: ComposerState, runtime: Runtime[Deps]) -> ComposerUpdate:
    """The result of every step. Where none succeeded, the first failure is the composition's error."""
    began = time.monotonic()
    deps, services, work = runtime.context, services_of(runtime.context), work_of(runtime.context)
    async with work.trace.trace_phase("execute") as phase:
        execution = Execution(state["plan"], state["request"].context, work.declared, services, work, deps)
        steps = await execution.run()
        retries = sum(step.attempts - 1 for step in steps)
        phase.log_execution(
            {step.ordinal: step.status for step in steps},
            retries=retries,
            latencies_ms={step.ordinal: round(step.latency_ms, 3) for step in steps},
            errors={step.ordinal: step.error_type for step in steps if step.error_type is not None},
        )
    update: ComposerUpdate = {"steps": steps, "retries": retries, "degraded": _degraded(steps)}
    if not any(step.status == "success" for step in steps):
        first = next(step for step in steps if step.status == "failed")
        update["error"] = NodeError(str(first.error_type), str(first.error_message), "execute")
    return phase_update(state, update, "execute", began)


def _degraded(steps: tuple[StepResult, ...]) -> tuple[str, ...]:
    return tuple(f"{step.tool}: {step.status} ({step.error_message})" for step in steps if step.status != "success")
