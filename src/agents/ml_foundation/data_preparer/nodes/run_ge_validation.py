"""Check the expectations of the table's suite."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import did_not_run, failed, passed
from src.agents.ml_foundation.data_preparer.services import PLACE, Frames, Services, frames_of, services_of
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node
from src.contracts.inference import is_inferred
from src.mlops.quality.result import DataQualityResult, FailedExpectation, QualityStatus
from src.mlops.quality.suites import ExpectationSuite, ExpectationSuiteBuilder

LAYER = "ge"
FAILURES_NAMED = 20


@traced_node(PLACE, "run_ge_validation")
async def run_ge_validation(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """A failed suite or critical expectation blocks, a warning does not, and a suite that did not run is no pass."""
    services, frames, scope = services_of(runtime.context), frames_of(runtime.context), state["request"].scope
    found = await services.expectations.validate(
        frames.read, _suite(frames), check=frames.check, brand=scope.brand, region=scope.region
    )
    return judged(services, found) | {"quality": found}


def _suite(frames: Frames) -> str | ExpectationSuite:
    table = frames.table
    return ExpectationSuiteBuilder.suite_of(table) if is_inferred(table) else table.name


def judged(services: Services, found: DataQualityResult) -> PrepareUpdate:
    """What the layer says. A critical expectation that failed blocks whatever the status is."""
    if found.overall_status is QualityStatus.SKIPPED:
        return did_not_run(services, LAYER, found.reason or "the expectations were not checked")
    critical = tuple(failure for failure in found.failed_expectations if failure.critical)
    if found.blocking or critical:
        blocking = critical or found.failed_expectations
        others = [failure for failure in found.failed_expectations if failure not in blocking]
        return failed(LAYER, _named(blocking) or (found.headline(),), _named(others))
    return passed(LAYER, _named(found.failed_expectations))


def _named(failures: tuple[FailedExpectation, ...] | list[FailedExpectation]) -> tuple[str, ...]:
    lines = [_line(failure) for failure in failures[:FAILURES_NAMED]]
    more = len(failures) - len(lines)
    return (*lines, *([f"{more} more expectations failed"] if more else []))


def _line(failure: FailedExpectation) -> str:
    if failure.error is not None:
        return f"{failure.id} could not be checked: {failure.error}"
    return failure.id if failure.count is None else f"{failure.id} ({failure.count:,} rows)"
