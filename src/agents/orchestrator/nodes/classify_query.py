"""What does the question ask for: may it be answered, what does it lean on, and who answers which part?"""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.orchestrator.asking_model import classified_by_model
from src.agents.orchestrator.clarifying import (
    OFF_TOPIC,
    answered_for_another,
    last_findings,
    left_to_documents,
    seen_by,
)
from src.agents.orchestrator.classification import Known, in_selection
from src.agents.orchestrator.reading import SURE
from src.agents.orchestrator.screening import classified
from src.agents.orchestrator.services import services_of
from src.agents.orchestrator.state import OrchestratorState, OrchestratorUpdate
from src.agents.runtime import Deps, traced_node
from src.domain.vocabulary import Intent


@traced_node("orchestrator", "classify")
async def classify_query(state: OrchestratorState, runtime: Runtime[Deps]) -> OrchestratorUpdate:
    """By rules and patterns first; a language model is asked only where they leave the kind of question open."""
    services, request, turns = services_of(runtime.context), state["request"], state.get("turns", ())
    seen = seen_by(turns, request.role, services.guards)
    known = Known(services.vocabulary, services.today(), services.brands or None)
    found = await asyncio.to_thread(classified, request.query, seen, known, services.guards)
    if found.intent == Intent.EXPLANATION and last_findings(turns) and not last_findings(seen):
        return {"classification": answered_for_another(found.resolved)}
    found = in_selection(found, request.brand, request.region)
    if services.contexts is not None and found.rule == OFF_TOPIC:
        return {"classification": left_to_documents(found)}
    if found.confidence >= SURE:
        return {"classification": found}
    better = await classified_by_model(request.query, found, seen, known, services)
    degraded = (*state.get("degraded", ()), *better.degraded)
    chosen = in_selection(better.classification, request.brand, request.region)
    return {"classification": chosen, "degraded": degraded}
