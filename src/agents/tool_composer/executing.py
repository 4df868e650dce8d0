"""How are the steps of a plan carried out: in parallel where they may, again where it helps, and told truly?"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from src.agents.computing import in_thread
from src.agents.runtime import Deps
from src.agents.tool_composer.dag import is_share, needs, ordered, references
from src.agents.tool_composer.plan_checks import arguments_of, check_arguments
from src.agents.tool_composer.services import PLACE, Services, Work
from src.agents.tool_composer.state import ComposeContext, Plan, PlannedStep, StepResult, ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolInputs
from src.contracts.tables import PERSONAL_COLUMNS
from src.domain.identifiers import find_identifiers
from src.errors import ContractViolation, DataUnavailable, E2IError, UnknownColumn, nearest_names
from src.mlops.opik_connector import SpanType
from src.resilience.retry import retry_async


class ToolTimedOut(E2IError):
    """A tool took longer than its budget."""


@dataclass
class Execution:
    """One plan while it is carried out."""

    plan: Plan
    context: ComposeContext
    declared: Mapping[str, Any]
    services: Services
    work: Work
    deps: Deps
    results: dict[int, StepResult] = field(default_factory=dict)

    async def run(self) -> tuple[StepResult, ...]:
        """What became of every step, by ordinal. A step begins when all it needs has succeeded and there is room."""
        room = asyncio.Semaphore(self.services.parallel)
        ended = {step.ordinal: asyncio.Event() for step in self.plan.steps}
        async with asyncio.TaskGroup() as group:
            for step in self._most_urgent_first():
                group.create_task(self._when_ready(step, room, ended))
        return tuple(self.results[step.ordinal] for step in sorted(self.plan.steps, key=lambda one: one.ordinal))

    def _most_urgent_first(self) -> list[PlannedStep]:
        """By how long a step and whatever waits for it take: what is begun last is what everybody waits for."""
        urgency: dict[int, float] = {}
        for step in reversed(ordered(self.plan.steps)):
            waiting = [urgency[one.ordinal] for one in self.plan.steps if step.ordinal in needs(one)]
            urgency[step.ordinal] = self.services.tools[step.tool].cost + max(waiting, default=0.0)
        return sorted(self.plan.steps, key=lambda step: -urgency[step.ordinal])

    async def _when_ready(self, step: PlannedStep, room: asyncio.Semaphore, ended: Mapping[int, asyncio.Event]) -> None:
        needed = sorted(needs(step))
        for ordinal in needed:
            await ended[ordinal].wait()
        lacking = [self.results[ordinal] for ordinal in needed if self.results[ordinal].status != "success"]
        if lacking:
            self.results[step.ordinal] = _skipped(step, lacking)
        else:
            async with room:
                self.results[step.ordinal] = await self._carried_out(step)
        ended[step.ordinal].set()

    async def _carried_out(self, step: PlannedStep) -> StepResult:
        began, attempts = time.monotonic(), [0]
        output: ToolOutput | None = None
        inputs = dict(step.arguments)
        error_type = error_message = None
        try:
            async with self.deps.tracer.trace_agent(PLACE, step.tool, span_type=SpanType.TOOL) as span:
                inputs = resolved(step.arguments, self.results)
                span.set_input({"arguments": dict(inputs), "scope": str(step.scope)})
                output = await self._with_retries(step, inputs, attempts)
                span.set_output({"summary": output.summary, "n_rows": output.n_rows})
        except E2IError as error:
            error_type, error_message = type(error).__name__, str(error)
        except Exception as error:  # noqa: BLE001 - one tool's defect is its step's failure; its span has the details
            error_type, error_message = (
                type(error).__name__,
                f"{step.tool} failed unexpectedly ({type(error).__name__})",
            )
        return StepResult(
            ordinal=step.ordinal,
            tool=step.tool,
            inputs=inputs,
            status="success" if output is not None else "failed",
            output=output,
            error_type=error_type,
            error_message=error_message,
            attempts=max(attempts[0], 1),
            latency_ms=(time.monotonic() - began) * 1000.0,
        )

    async def _with_retries(self, step: PlannedStep, inputs: dict[str, Any], attempts: list[int]) -> ToolOutput:
        tool, breaker = self.services.tools[step.tool], self.services.breaker

        async def attempt() -> ToolOutput:
            attempts[0] += 1
            return await self._computed(tool, step, inputs)

        async def guarded() -> ToolOutput:
            return await attempt() if breaker is None else await breaker.acall(attempt)

        return await retry_async(guarded, self.services.retry)

    async def _computed(self, tool: ComposerTool[Any], step: PlannedStep, inputs: dict[str, Any]) -> ToolOutput:
        rows = await self.work.frames.of(check_arguments(tool, inputs), step.scope)
        inputs |= shares_of(inputs, rows.frame)
        arguments = arguments_of(tool, inputs)
        given = ToolInputs(
            frame=rows.frame.copy(deep=False),
            query=rows.query,
            declared=self.declared,
            context=self.context,
            evidence=evidence_id(self.work.composition_id, step.ordinal),
            kpis=self.services.kpis,
            whole=rows.whole,
            kept=step.scope.kept,
        )
        timeout = asyncio.timeout(tool.timeout_s)
        try:
            async with timeout:
                output = await in_thread(lambda: tool.compute(given, arguments))
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise ToolTimedOut(f"{tool.name} took longer than {tool.timeout_s:g} s") from error
        check_output(output, given)
        return output


def evidence_id(composition_id: str, ordinal: int) -> str:
    """The id that figures of a step refer to."""
    return f"step:{composition_id}/{ordinal}"


def resolved(arguments: Mapping[str, Any], results: Mapping[int, StepResult]) -> dict[str, Any]:
    """The arguments with the figures they refer to. Raises DataUnavailable for a figure that was not computed."""
    return dict(arguments) | {
        name: _figure(results[source], wanted) for name, (source, wanted) in references(arguments).items()
    }


def shares_of(arguments: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, float]:
    """The arguments told as a share of a column's mean, as numbers. Raises UnknownColumn and ContractViolation."""
    found = {}
    for name, value in arguments.items():
        if is_share(value):
            column = str(value["of"])
            if column not in frame.columns:
                raise UnknownColumn(column, [str(one) for one in frame.columns])
            if not pd.api.types.is_numeric_dtype(frame[column]):
                raise ContractViolation(f"'{column}' has no mean: it holds no numbers")
            found[name] = float(value["share"]) * float(frame[column].mean())
    return found


def _figure(result: StepResult, wanted: str) -> float:
    figures = {one.name: one for one in (result.output.figures if result.output is not None else ())}
    name, _, end = wanted.partition(".")
    if wanted in figures:
        return figures[wanted].value
    if name not in figures:
        raise DataUnavailable(
            f"{result.tool} (step {result.ordinal}) found no '{name}'; {nearest_names(name, figures)}"
        )
    value = {"lower": figures[name].lower, "upper": figures[name].upper}.get(end)
    if value is None:
        raise DataUnavailable(f"'{name}' of {result.tool} (step {result.ordinal}) has no interval")
    return value


def check_output(output: ToolOutput, inputs: ToolInputs) -> None:
    """Raise ContractViolation for figures without value or with another step's evidence, and for rows of persons."""
    for figure in output.figures:
        numbers = [one for one in (figure.value, figure.lower, figure.upper) if one is not None]
        if not all(math.isfinite(one) for one in numbers):
            raise ContractViolation(f"the figure '{figure.name}' is not a finite number")
        if figure.evidence != inputs.evidence:
            raise ContractViolation(f"the figure '{figure.name}' names other evidence than its step")
    unseen = PERSONAL_COLUMNS.union(inputs.context.hidden_columns)
    for row in output.rows:
        if named := unseen.intersection(row):
            raise ContractViolation(f"a table by '{min(named)}' would show single persons")
    if any(find_identifiers(text) for text in (output.summary, *(one.text for one in output.statements))):
        raise ContractViolation("a sentence names a single person")


def _skipped(step: PlannedStep, lacking: list[StepResult]) -> StepResult:
    names = " and ".join(f"{one.tool} ({one.status})" for one in lacking)
    return StepResult(
        step.ordinal,
        step.tool,
        dict(step.arguments),
        "skipped",
        error_type="Skipped",
        error_message=f"it needs {names}",
    )
