"""In which order would the algorithms be chosen, by what is known before any of them is fitted?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.registry import catalogue
from src.agents.ml_foundation.model_selector.result import AlgorithmHistory, SelectRequest
from src.agents.ml_foundation.model_selector.scoring import prior_score
from src.agents.ml_foundation.model_selector.services import PLACE, services_of, training_rows
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node

NEVER_TRAINED = AlgorithmHistory(0, None)


@traced_node(PLACE, "rank_candidates")
async def rank_candidates(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """Candidates, the best first; of equals, the one earlier in the catalogue."""
    request, deps = state["request"], runtime.context
    n_samples, n_features = await _size(deps, request)
    entries, history = catalogue(services_of(deps).config), state.get("history", {})
    scores = {
        name: prior_score(
            entries[name], request, history.get(name, NEVER_TRAINED), n_samples=n_samples, n_features=n_features
        )
        for name in state["remaining"]
    }
    ranked = sorted(state["remaining"], key=lambda name: -scores[name])
    return {"ranked": tuple(entries[name].candidate(request.problem_type, scores[name]) for name in ranked)}


async def _size(deps: Deps, request: SelectRequest) -> tuple[int | None, int | None]:
    """Rows and features: counted where the rows are named, otherwise as the request says."""
    rows = await training_rows(deps, request)
    if rows is None or request.data is None:
        return request.n_samples, request.n_features
    return len(rows.frame), len(request.data.features)
