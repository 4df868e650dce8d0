"""What of a composition is kept in the database?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.agents.tool_composer.state import ComposerState, PlannedStep, StepResult, ToolOutput
from src.storage.compositions import Composition, CompositionStep


def composition_of(query: str, state: ComposerState, *, trace_id: str, status: str, plan_id: str | None) -> Composition:
    """The rows of a run's last state: aggregates only, never a frame."""
    told, steps, plan = state.get("synthesis"), state.get("steps", ()), state.get("plan")
    planned = {step.ordinal: step for step in (plan.steps if plan is not None else ())}
    return Composition(
        trace_id=trace_id,
        query=query,
        status=status,
        answer=told.answer if told is not None else None,
        confidence=told.confidence if told is not None else None,
        caveats=told.caveats if told is not None else (),
        plan_id=plan_id,
        sub_questions=len(state.get("sub_questions", ())),
        tools_used=len({step.tool for step in steps if step.status == "success"}),
        retries=state.get("retries", 0),
        phase_ms=state.get("phase_ms", {}),
        steps=tuple(_step(step, planned[step.ordinal]) for step in steps),
    )


def output_document(output: ToolOutput) -> dict[str, Any]:
    """A tool's output as JSON."""
    return {
        "summary": output.summary,
        "figures": [
            {
                "name": one.name,
                "value": one.value,
                "unit": one.unit,
                "lower": one.lower,
                "upper": one.upper,
                "evidence": one.evidence,
            }
            for one in output.figures
        ],
        "statements": [{"kind": one.kind.value, "text": one.text} for one in output.statements],
        "rows": [_plain(row) for row in output.rows],
        "n_rows": output.n_rows,
        "confidence": output.confidence,
        "query": _plain(output.query),
    }


def _step(step: StepResult, planned: PlannedStep) -> CompositionStep:
    return CompositionStep(
        ordinal=step.ordinal,
        tool=step.tool,
        status=step.status,
        depends_on=planned.depends_on,
        inputs={"arguments": _plain(step.inputs), "scope": str(planned.scope), "part": planned.sub_question},
        output=None if step.output is None else output_document(step.output),
        error_type=step.error_type,
        error_message=step.error_message,
        attempts=step.attempts,
        latency_ms=step.latency_ms,
    )


def _plain(value: Any) -> Any:
    """As JSON: numbers of numpy as numbers, what is not finite as null, dates and the like as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | str | int):
        return value
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool | int | str):
        return number
    if isinstance(number, float):
        return number if abs(number) < float("inf") else None
    return str(number)
