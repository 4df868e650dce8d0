"""Which passages of the corpus bear on the question?"""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.orchestrator.services import services_of
from src.agents.orchestrator.state import Classification, OrchestratorState, OrchestratorUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import E2IError

PASSAGES = 5
SECONDS = 0.5


@traced_node("orchestrator", "rag_context")
async def retrieve_context(state: OrchestratorState, runtime: Runtime[Deps]) -> OrchestratorUpdate:
    """The five best passages within half a second; an answer does not wait for more, and says that they are missing.

    Where there is no corpus nothing is missing.
    """
    source, request = services_of(runtime.context).contexts, state["request"]
    classified = state.get("classification")
    if source is None or classified is None:
        return {"contexts": ()}
    brand, region = _selection(classified)
    try:
        async with asyncio.timeout(SECONDS):
            found = await source.passages(
                classified.resolved, k=PASSAGES, brand=brand or request.brand, region=region or request.region
            )
    except TimeoutError:
        return _without(state, f"the corpus gave nothing within {SECONDS:g} s")
    except E2IError as error:
        return _without(state, str(error))
    return {"contexts": tuple(found)}


def _selection(classified: Classification) -> tuple[str | None, str | None]:
    """Brand and region where all parts agree on one."""
    understood = [part.understood for part in classified.parts if part.understood]
    brands, regions = {one.brand for one in understood}, {one.region for one in understood}
    return (brands.pop() if len(brands) == 1 else None, regions.pop() if len(regions) == 1 else None)


def _without(state: OrchestratorState, why: str) -> OrchestratorUpdate:
    return {"contexts": (), "warnings": (*state.get("warnings", ()), f"answered without documents: {why}")}
