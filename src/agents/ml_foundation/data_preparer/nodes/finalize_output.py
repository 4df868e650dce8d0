"""Decide whether the data may be used, and keep the evidence."""

from __future__ import annotations

import dataclasses

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.services import PLACE, Services, services_of
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.quality_gate import QCGate, decide
from src.agents.runtime import Deps, traced_node


@traced_node(PLACE, "finalize_output")
async def finalize_output(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """The gate and the readiness; the validation's report is stored whatever it says."""
    services = services_of(runtime.context)
    gate = verdict(state, services)
    if "quality" in state:
        leaked = "leakage" in state and bool(state["leakage"].blocking)
        await services.reports.add(dataclasses.replace(state["quality"], leakage_detected=leaked))
    return {"gate": gate, "is_ready": gate.passed and not state.get("not_ready")}


def verdict(state: PrepareState, services: Services) -> QCGate:
    """What all layers together say; a node that could not do its work blocks."""
    blockers = state.get("blockers", ())
    if "error" in state:
        error = state["error"]
        blockers += (f"{error.node}: {error.message}",)
    return decide(
        state.get("layers", {}),
        state.get("score"),
        blockers=blockers,
        warnings=state.get("warnings", ()),
        lowest_score=services.config.thresholds.gate_score,
        require_all_layers=services.require_all_layers,
    )
