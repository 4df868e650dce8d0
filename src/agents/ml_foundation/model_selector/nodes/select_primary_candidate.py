"""Which algorithm is it?"""

from __future__ import annotations

import dataclasses

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.scoring import measured_score
from src.agents.ml_foundation.model_selector.services import PLACE
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node
from src.domain.modelling import Candidate


@traced_node(PLACE, "select_primary_candidate")
async def select_primary_candidate(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """The candidate with the highest score, and the others in order; measurements count where there are any."""
    scored = sorted(_scored(state), key=lambda candidate: -candidate.score)
    return {"primary": scored[0], "alternatives": tuple(scored[1:])}


def _scored(state: SelectState) -> list[Candidate]:
    benchmarks = state.get("benchmark", ())
    floor = state.get("floor")
    if floor is None or all(one.mean is None for one in benchmarks):
        return list(state["ranked"])
    by_name = {one.algorithm: one for one in benchmarks}
    return [
        dataclasses.replace(
            candidate,
            score=measured_score(candidate.score, by_name.get(candidate.algorithm), benchmarks, floor),
        )
        for candidate in state["ranked"]
    ]
