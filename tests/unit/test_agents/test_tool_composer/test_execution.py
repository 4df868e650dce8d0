"""Are the steps of a plan carried out in their order, together where they may, again where it helps, and told truly?"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest

from src.agents.tool_composer.agent import ToolComposer
from src.agents.tool_composer.state import ComposeContext, ToolOutput
from src.agents.tool_composer.tools.contract import ToolArguments, ToolInputs
from src.domain.findings import Figure, Statement, StatementKind
from src.errors import ContractViolation, DatabaseUnavailable, DataUnavailable, EstimationError, ServiceOutage
from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig, CircuitState
from tests.unit.test_agents.test_tool_composer.parts import (
    ONE_FACET,
    Compositions,
    Datasets,
    GapArguments,
    RoiArguments,
    compose,
    gap,
    slope,
    told,
    tool,
    tools,
)

VALUED = "What is the ROI of rep calls on NRx of Kisqali?"
WAIT_S = 5.0


def gap_tool(compute: Callable[..., ToolOutput], **more: Any) -> Any:
    return tool("gap_calculator", compute, GapArguments, frame="metrics", **more)


def statuses(ran: Any) -> dict[str, str]:
    return {step.tool: step.status for step in ran.result.steps}


async def test_steps_without_a_dependency_run_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=WAIT_S)

    def meet(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        together.wait()
        return told(inputs, "effect", 1.0)

    ran = await compose(
        tools=tools(causal_effect_estimator=tool("causal_effect_estimator", meet), gap_calculator=gap_tool(meet))
    )
    assert statuses(ran) == {"causal_effect_estimator": "success", "gap_calculator": "success"}


async def test_no_more_steps_run_at_once_than_allowed() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def counted(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.02)
        with lock:
            running[0] -= 1
        return told(inputs, "effect", 1.0)

    query = "effect of rep calls and samples on NRx and TRx of Kisqali and where are we behind target"
    await compose(
        query,
        tools=tools(causal_effect_estimator=tool("causal_effect_estimator", counted), gap_calculator=gap_tool(counted)),
        parallel=1,
    )
    assert most[0] == 1


async def test_a_step_that_needs_another_begins_after_it_with_its_figure_and_the_ends_of_its_interval() -> None:
    order: list[str] = []
    taken: list[RoiArguments] = []

    def first(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        order.append("effect")
        return told(inputs, "effect", 2.0)

    def second(inputs: ToolInputs, arguments: RoiArguments) -> ToolOutput:
        order.append("roi")
        taken.append(arguments)
        return told(inputs, "roi", arguments.effect * 3)

    ran = await compose(
        VALUED,
        tools=tools(
            causal_effect_estimator=tool("causal_effect_estimator", first),
            roi_estimator=tool("roi_estimator", second, RoiArguments),
        ),
    )
    assert order == ["effect", "roi"]
    assert (taken[0].effect, taken[0].effect_lower, taken[0].effect_upper) == (2.0, 1.5, 2.5)
    [roi] = [step for step in ran.result.steps if step.tool == "roi_estimator"]
    assert roi.inputs["effect"] == 2.0
    assert ran.compositions.rows[0].steps[1].depends_on == (0,)


async def test_a_failed_step_skips_what_needs_it_and_nothing_else() -> None:
    def refuse(*_: Any) -> ToolOutput:
        raise EstimationError("too few rows")

    ran = await compose(
        "What is the ROI of rep calls on NRx of Kisqali, and where are we behind target?",
        tools=tools(causal_effect_estimator=tool("causal_effect_estimator", refuse)),
    )
    assert statuses(ran) == {
        "causal_effect_estimator": "failed",
        "roi_estimator": "skipped",
        "gap_calculator": "success",
    }
    assert ran.result.meta.status == "partial"
    assert "Causal effect estimator gave no result: too few rows." in ran.result.answer
    assert "Roi estimator gave no result: it needs causal_effect_estimator (failed)." in ran.result.answer
    assert ran.result.caveats[0].endswith("too few rows")


async def test_a_figure_that_was_not_found_fails_the_step_that_takes_it() -> None:
    def other(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        return told(inputs, "difference", 2.0)

    ran = await compose(VALUED, tools=tools(causal_effect_estimator=tool("causal_effect_estimator", other)))
    [roi] = [step for step in ran.result.steps if step.tool == "roi_estimator"]
    assert (roi.status, roi.error_type) == ("failed", "DataUnavailable")
    assert "found no 'effect'" in str(roi.error_message)


async def test_an_outage_is_tried_again_and_counted() -> None:
    datasets = Datasets([ServiceOutage("away"), ServiceOutage("away")])
    ran = await compose(ONE_FACET, datasets=datasets)
    [step] = ran.result.steps
    assert (step.status, step.attempts) == ("success", 3)
    assert ran.compositions.rows[0].retries == 2


async def test_an_outage_that_lasts_fails_the_step_after_the_attempts_allowed() -> None:
    datasets = Datasets([DatabaseUnavailable("away")] * 9)
    ran = await compose(ONE_FACET, datasets=datasets)
    [step] = ran.result.steps
    assert (step.status, step.error_type, step.attempts) == ("failed", "DatabaseUnavailable", 3)
    assert (ran.result.meta.status, ran.result.answer, ran.result.confidence) == ("failed", "", None)
    assert ran.result.error is not None
    assert ran.result.error.type == "DatabaseUnavailable"


@pytest.mark.parametrize(
    "failure",
    [EstimationError("no"), DataUnavailable("no"), ContractViolation("no"), ValueError("no"), ZeroDivisionError("no")],
)
async def test_what_is_no_outage_is_not_tried_again(failure: Exception) -> None:
    calls = [0]

    def fails(*_: Any) -> ToolOutput:
        calls[0] += 1
        raise failure

    ran = await compose(ONE_FACET, tools=tools(causal_effect_estimator=tool("causal_effect_estimator", fails)))
    assert calls == [1]
    assert (ran.result.steps[0].status, ran.result.steps[0].attempts) == ("failed", 1)


async def test_the_text_of_an_unexpected_exception_is_not_told() -> None:
    def fails(*_: Any) -> ToolOutput:
        raise KeyError("hcp_000123")

    ran = await compose(tools=tools(gap_calculator=gap_tool(fails)))
    [step] = [step for step in ran.result.steps if step.status == "failed"]
    assert (step.error_type, step.error_message) == ("KeyError", "gap_calculator failed unexpectedly (KeyError)")
    assert "hcp_000123" not in ran.result.answer + str(ran.compositions.rows)


async def test_the_breaker_opens_after_repeated_outages_and_spares_the_rest() -> None:
    breaker = CircuitBreaker("tools", CircuitBreakerConfig(failure_threshold=2))
    datasets = Datasets([ServiceOutage("away")] * 20)
    ran = await compose(datasets=datasets, breaker=breaker, parallel=1)
    assert breaker.state is CircuitState.OPEN
    assert len(datasets.loaded) == 2
    assert {step.error_type for step in ran.result.steps} == {"CircuitOpenError"}


async def test_a_tools_own_errors_leave_the_breaker_closed() -> None:
    breaker = CircuitBreaker("tools", CircuitBreakerConfig(failure_threshold=1))

    def fails(*_: Any) -> ToolOutput:
        raise EstimationError("no overlap")

    await compose(tools=tools(causal_effect_estimator=tool("causal_effect_estimator", fails)), breaker=breaker)
    assert (breaker.state, breaker.metrics.failed) == (CircuitState.CLOSED, 0)


async def test_a_tool_beyond_its_budget_fails_without_another_attempt_and_its_late_result_is_nobodys() -> None:
    calls, release = [0], threading.Event()

    def slow(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        calls[0] += 1
        release.wait(WAIT_S)
        return told(inputs, "gap", 777.0)

    ran = await compose(tools=tools(gap_calculator=gap_tool(slow, timeout_s=0.05)))
    release.set()
    assert calls == [1]
    [late] = [step for step in ran.result.steps if step.tool == "gap_calculator"]
    assert (late.status, late.error_type, late.output) == ("failed", "ToolTimedOut", None)
    assert "777" not in ran.result.answer


async def test_a_cancelled_composition_keeps_nothing_of_threads_that_end_later() -> None:
    began, release = asyncio.Event(), threading.Event()
    loop, kept = asyncio.get_running_loop(), Compositions()

    def slow(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        loop.call_soon_threadsafe(began.set)
        release.wait(WAIT_S)
        return told(inputs, "effect", 1.0)

    slow_tool = tool("causal_effect_estimator", slow)
    running = asyncio.create_task(compose(tools=tools(causal_effect_estimator=slow_tool), compositions=kept))
    await asyncio.wait_for(began.wait(), WAIT_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    release.set()
    await asyncio.to_thread(lambda: None)
    assert kept.rows == []


async def test_rows_of_a_kind_are_loaded_once_for_all_steps() -> None:
    query = "how robust is the effect of rep calls on NRx of Kisqali and where are we behind target"
    ran = await compose(query)
    assert len(ran.result.steps) == 4
    assert sorted(ran.datasets.loaded) == ["hcp_month_panel", "table:business_metrics"]


async def test_hidden_columns_are_gone_before_a_tool_sees_the_rows() -> None:
    seen: list[list[str]] = []

    def look(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        seen.append(list(inputs.frame.columns))
        return told(inputs, "effect", 1.0)

    context = ComposeContext(hidden_columns=("hcp_id", "specialty", "not_there"))
    await compose(ONE_FACET, context, tools=tools(causal_effect_estimator=tool("causal_effect_estimator", look)))
    assert seen
    assert not {"hcp_id", "specialty"} & set(seen[0])


async def test_a_step_reads_the_brand_and_months_of_its_part() -> None:
    seen: dict[str, Any] = {}

    def look(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        seen["brands"] = set(inputs.frame["brand"])
        seen["months"] = {f"{month:%Y-%m}" for month in inputs.frame["month"]}
        return told(inputs, "effect", 1.0)

    query = "What is the effect of rep calls on NRx of Kisqali from 2025-02 to 2025-03?"
    await compose(query, tools=tools(causal_effect_estimator=tool("causal_effect_estimator", look)))
    assert seen == {"brands": {"Kisqali"}, "months": {"2025-02", "2025-03"}}


async def test_a_tool_that_takes_a_period_gets_it_with_all_months_of_its_rows() -> None:
    seen: list[Any] = []

    def look(inputs: ToolInputs, arguments: GapArguments) -> ToolOutput:
        seen.append((arguments.period, len(inputs.frame)))
        return gap(inputs, arguments)

    await compose("Where are we behind target in 2025-01?", tools=tools(gap_calculator=gap_tool(look)))
    assert seen == [("2025-01", 4)]


async def test_a_condition_the_rows_cannot_meet_is_never_left_out() -> None:
    ran = await compose("Where are our gaps among oncologists?", tools=tools(gap_calculator=gap_tool(gap)))
    assert ran.result.steps[0].status == "failed"
    assert "not kept by specialty" in str(ran.result.steps[0].error_message)


async def test_no_rows_in_scope_is_data_unavailable() -> None:
    ran = await compose("What is the effect of rep calls on NRx of Remibrutinib?")
    assert ran.result.error is not None
    assert (ran.result.error.type, ran.result.error.node) == ("DataUnavailable", "execute")
    assert "Remibrutinib" in ran.result.error.message


async def test_a_change_told_as_a_share_is_that_share_of_the_mean_of_the_rows_and_is_said() -> None:
    ran = await compose("What would happen to NRx of Kisqali if we cut samples by half?")
    [step] = ran.result.steps
    frame = Datasets().frames["hcp_month_panel"]
    mean = frame[frame["brand"] == "Kisqali"]["samples"].mean()
    assert step.inputs["change"] == pytest.approx(-0.5 * mean)
    assert f"a change of -50 % in samples was read as {-0.5 * mean:+.3g}" in ran.result.answer


def broken(**changes: Any) -> Callable[..., ToolOutput]:
    def compute(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        made = {name: value(inputs) if callable(value) else value for name, value in changes.items()}
        return dataclasses.replace(slope(inputs, arguments), **made)  # type: ignore[arg-type]

    return compute


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"figures": lambda i: (Figure("effect", float("nan"), "", i.evidence),)}, "not a finite number"),
        ({"figures": lambda i: (Figure("effect", 1.0, "", i.evidence, 0.0, float("inf")),)}, "not a finite number"),
        ({"figures": (Figure("effect", 1.0, "", "step:elsewhere/0"),)}, "other evidence"),
        ({"rows": ({"patient_id": "p1", "value": 1.0},)}, "single persons"),
        ({"rows": ({"specialty": "Oncology"},)}, "single persons"),
        ({"summary": "HCP hcp_000123 fell the most."}, "names a single person"),
        ({"statements": (Statement(StatementKind.FINDING, "patient id PT-00123 fell."),)}, "names a single person"),
    ],
)
async def test_an_output_that_may_not_be_told_fails_its_step(changes: dict[str, Any], problem: str) -> None:
    context = ComposeContext(hidden_columns=("specialty",))
    bad = tool("causal_effect_estimator", broken(**changes))
    ran = await compose(context=context, tools=tools(causal_effect_estimator=bad))
    [step] = [step for step in ran.result.steps if step.tool == "causal_effect_estimator"]
    assert (step.status, step.output) == ("failed", None)
    assert problem in str(step.error_message)
    assert "hcp_000123" not in ran.result.answer


async def test_the_agent_gives_its_services_a_breaker_of_its_own() -> None:
    breaker = CircuitBreaker("given")
    ran = await compose(ONE_FACET, breaker=breaker)
    assert breaker.metrics.successful == len(ran.result.steps) == 1
    assert (ToolComposer.agent_name, ToolComposer.agent_type, ToolComposer.tier) == ("tool_composer", "standard", 1)


async def test_what_takes_longest_begins_first_and_its_source_before_it() -> None:
    begun: list[str] = []

    def noted(name: str) -> Callable[..., ToolOutput]:
        def compute(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
            begun.append(name)
            return told(inputs, "effect" if name == "effect" else name, 1.0)

        return compute

    await compose(
        "Where are we behind target, and what is the ROI of rep calls on NRx of Kisqali?",
        tools=tools(
            gap_calculator=gap_tool(noted("gap"), cost=2.0),
            causal_effect_estimator=tool("causal_effect_estimator", noted("effect")),
            roi_estimator=tool("roi_estimator", noted("roi"), RoiArguments, cost=5.0),
        ),
        parallel=1,
    )
    assert begun[0] == "effect"
    assert begun.index("roi") > begun.index("effect")
    await compose(
        "What is the effect of rep calls on NRx of Kisqali and where are we behind target?",
        tools=tools(
            gap_calculator=gap_tool(noted("later"), cost=9.0),
            causal_effect_estimator=tool("causal_effect_estimator", noted("first planned")),
        ),
        parallel=1,
    )
    assert begun[-2:] == ["later", "first planned"]
