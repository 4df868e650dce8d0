"""Split the rows, and look for anything that tells a model what it could not know."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import did_not_run, failed, passed, schema_failed
from src.agents.ml_foundation.data_preparer.services import PLACE, Services, frames_of, services_of
from src.agents.ml_foundation.data_preparer.source import scope_texts, time_column
from src.agents.ml_foundation.data_preparer.splits import faults_of, leakage_unit, split_rows
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import ContractViolation, DataUnavailable
from src.mlops.preparation.leakage import LeakageReport, Unchecked, find_leakage

LAYER = "leakage"


@traced_node(PLACE, "detect_leakage")
async def detect_leakage(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """Leakage of severity error or critical blocks, and so do a check that was skipped and a split of few rows.

    Rows that break their schema may be impossible to split or to check; the layer then did not run.
    """
    services = services_of(runtime.context)
    try:
        return await _checked(state, runtime.context, services)
    except (ContractViolation, DataUnavailable) as error:
        if not schema_failed(state):
            raise
        return did_not_run(services, LAYER, f"the rows break their contract, and {error}")


async def _checked(state: PrepareState, deps: Deps, services: Services) -> PrepareUpdate:
    request, frames = state["request"], frames_of(deps)
    table, loaded = frames.table, state["loaded"]
    chosen_by = scope_texts(request, loaded.dataset_id)
    plan, split = await split_rows(frames.typed, table, request, services.preparation, chosen_by)
    frames.split = split
    await services.preparation.register_plan(plan, created_by=PLACE)
    faults = faults_of(plan, registered=request.split_id is not None)
    if request.skip_leakage_check:
        skipped = did_not_run(services, LAYER, "the check was skipped on request")
        return _with_faults(skipped, *faults) | {"splits": plan}
    # A registered split may be one of rows; patients that it tears apart are found all the same.
    unit = leakage_unit(plan, frames.typed)
    report = await asyncio.to_thread(
        find_leakage,
        frames.typed,
        features=loaded.features,
        target=request.scope.target,
        split=split,
        time=time_column(table),
        unit=unit,
        table=table,
        known_at={name: column for name, column in request.scope.known_at.items() if name in loaded.features},
        strategy=plan.strategy,
    )
    await services.preparation.add_audit(
        report.audit_rows(table.name, split_config_id=plan.split_config_id, trace_id=deps.trace_id)
    )
    update = _with_faults(
        judged(services, report, has_units=unit is not None, has_time=time_column(table) is not None), *faults
    )
    return update | {"splits": plan, "leakage": report}


def _with_faults(update: PrepareUpdate, blockers: tuple[str, ...], warnings: tuple[str, ...]) -> PrepareUpdate:
    return update | {
        "blockers": (*update.get("blockers", ()), *blockers),
        "warnings": (*update.get("warnings", ()), *warnings),
    }


def judged(services: Services, report: LeakageReport, *, has_units: bool, has_time: bool = True) -> PrepareUpdate:
    """What the layer says. A check that could not be made leaves the layer undone; parts of one are a warning.

    Rows without any time cannot leak by time; that is a warning too.

    Transformations are fitted by the next node, which checks them.
    """
    due = ("target", "duplicate", *(("temporal",) if has_time else ()), *(("group",) if has_units else ()))
    blocking = tuple(finding.message for finding in report.blocking)
    mild = tuple(finding.message for finding in report.findings if finding not in report.blocking)
    unmade = tuple(
        _undecided(item) for item in report.skipped if item.check in due and item.check not in report.checked
    )
    undue = () if has_time else ("temporal",)
    partly = tuple(_undecided(item) for item in report.skipped if item.check in (*report.checked, *undue))
    if blocking:
        return failed(LAYER, (*blocking, *unmade), (*mild, *partly))
    if unmade:
        update = did_not_run(services, LAYER, "; ".join(unmade))
        return update | {"warnings": (*update.get("warnings", ()), *passed(LAYER, (*mild, *partly))["warnings"])}
    return passed(LAYER, (*mild, *partly))


def _undecided(item: Unchecked) -> str:
    about = f" of {', '.join(item.columns)}" if item.columns else ""
    return f"the check for {item.check} leakage{about} could not be made: {item.reason}"
