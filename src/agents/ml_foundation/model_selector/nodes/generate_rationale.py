"""Why this algorithm?"""

from __future__ import annotations

from collections.abc import Iterator

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.registry import PROFILES, Profile
from src.agents.ml_foundation.model_selector.result import Rationale, SelectRequest
from src.agents.ml_foundation.model_selector.services import PLACE
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node


@traced_node(PLACE, "generate_rationale")
async def generate_rationale(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """Reasons made of what was measured and recorded, and how the choice meets what was asked for."""
    primary, request = state["primary"], state["request"]
    profile = PROFILES[primary.algorithm]
    return {"rationale": Rationale(_reason(state), tuple(_supporting(state, profile)), _constraints(request, profile))}


def _reason(state: SelectState) -> str:
    primary, others = state["primary"], state["alternatives"]
    how = "measured and known" if any(one.mean is not None for one in state.get("benchmark", ())) else "known"
    if not others:
        return f"{primary.algorithm} is the only algorithm that meets the request"
    return (
        f"{primary.algorithm} scores {primary.score:.2f} by what is {how} of it, "
        f"before {others[0].algorithm} with {others[0].score:.2f}"
    )


def _supporting(state: SelectState, profile: Profile) -> Iterator[str]:
    if "baseline" in state:
        yield state["baseline"].comparison
    history = state.get("history", {}).get(state["primary"].algorithm)
    if history is not None and history.success_rate is not None:
        yield f"{history.success_rate:.0%} of {history.n} earlier trainings completed"
    elif history is not None:
        yield "it was never trained here before"
    yield f"interpretability {profile.interpretability:.2f}, scalability {profile.scalability:.2f} (judged, 0 to 1)"


def _constraints(request: SelectRequest, profile: Profile) -> dict[str, str]:
    met = {}
    if request.interpretability_required:
        met["interpretability_required"] = f"interpretability {profile.interpretability:.2f}"
    if request.latency_budget_ms is not None:
        met["latency_budget_ms"] = f"{profile.latency_ms:g} ms for one row, of {request.latency_budget_ms:g} ms"
    if request.memory_gb is not None:
        met["memory_gb"] = f"{profile.memory_gb:g} GB, of {request.memory_gb:g} GB"
    if request.include:
        met["include"] = f"chosen among {', '.join(request.include)}"
    if request.exclude:
        met["exclude"] = f"without {', '.join(request.exclude)}"
    return met
