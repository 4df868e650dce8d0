"""What does the question ask for: may it be answered, what does it lean on, and who answers which part?"""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.orchestrator.asking_model import classified_by_model
from src.agents.orchestrator.clarifying import OFF_TOPIC, left_to_documents
from src.agents.orchestrator.classification import Known
from src.agents.orchestrator.reading import SURE
from src.agents.orchestrator.screening import classified
from src.agents.orchestrator.services import services_of
from src.agents.orchestrator.state import OrchestratorState, OrchestratorUpdate
from src.agents.runtime import Deps, traced_node


@traced_node("orchestrator", "classify")
async def classify_query(state: OrchestratorState, runtime: Runtime[Deps]) -> OrchestratorUpdate:
    """By rules and patterns first; a language model is asked only where they leave the kind of question open."""
    services, request, turns = services_of(runtime.context), state["request"], state.get("turns", ())
    known = Known(services.vocabulary, services.today(), services.brands or None)
    found = await asyncio.to_thread(classified, request.query, turns, known, services.guards)
    if services.contexts is not None and found.rule == OFF_TOPIC:
        return {"classification": left_to_documents(found)}
    if found.confidence >= SURE:
        return {"classification": found}
    better = await classified_by_model(request.query, found, turns, known, services)
    degraded = (*state.get("degraded", ()), *better.degraded)
    return {"classification": better.classification, "degraded": degraded}
