"""Which algorithms can answer the request at all?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.registry import INTERPRETABLE, Entry, catalogue
from src.agents.ml_foundation.model_selector.result import SelectRequest
from src.agents.ml_foundation.model_selector.services import PLACE, services_of
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import ContractViolation


@traced_node(PLACE, "filter_algorithms")
async def filter_algorithms(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """The algorithms that are left, and why each other one is not. Raises ContractViolation when none is left."""
    request = state["request"]
    entries = catalogue(services_of(runtime.context).config)
    removed = {name: why for name, entry in entries.items() if (why := excluded_because(entry, request)) is not None}
    remaining = tuple(name for name in entries if name not in removed)
    if not remaining:
        fitting = {name: why for name, why in removed.items() if request.problem_type in entries[name].problem_types}
        told = "; ".join(f"{name}: {why}" for name, why in fitting.items())
        raise ContractViolation(f"no algorithm is left for this {request.problem_type} problem ({told}); ask for less")
    return {"remaining": remaining, "removed": removed}


def excluded_because(entry: Entry, request: SelectRequest) -> str | None:
    """The first reason that speaks against an algorithm; None when there is none."""
    profile = entry.profile
    if request.problem_type not in entry.problem_types:
        return f"not made for {request.problem_type} problems"
    if entry.name in request.exclude:
        return "excluded by the request"
    if request.include and entry.name not in request.include:
        return "not among those the request includes"
    if request.interpretability_required and profile.interpretability < INTERPRETABLE:
        return f"interpretability {profile.interpretability:.2f} is below {INTERPRETABLE:.2f}"
    if request.latency_budget_ms is not None and profile.latency_ms > request.latency_budget_ms:
        return f"one row takes {profile.latency_ms:g} ms, the budget is {request.latency_budget_ms:g} ms"
    if request.memory_gb is not None and profile.memory_gb > request.memory_gb:
        return f"it needs {profile.memory_gb:g} GB, the budget is {request.memory_gb:g} GB"
    return None
