"""What does the question ask for: may it be answered, what does it lean on, and who answers which part?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from langgraph.runtime import Runtime

from src.agents.orchestrator.asking_model import classified_by_model
from src.agents.orchestrator.clarifying import (
    OFF_TOPIC,
    answer_named,
    answered_for_another,
    last_findings,
    left_to_documents,
    not_at_hand,
    seen_by,
)
from src.agents.orchestrator.classification import Known, in_selection
from src.agents.orchestrator.reading import SURE
from src.agents.orchestrator.screening import classified
from src.agents.orchestrator.services import services_of
from src.agents.orchestrator.state import OrchestratorState, OrchestratorUpdate, Turn
from src.agents.runtime import Deps, traced_node
from src.domain.vocabulary import Intent


def _hidden(text: str, turns: Sequence[Turn], seen: Sequence[Turn]) -> bool:
    """Whether the answer that is asked about was given to a role that may see more."""
    told, left = (answer_named(text, one) for one in (turns, seen))
    if told is not None and left is not None:
        return bool(told.findings) and not left.findings
    return bool(last_findings(turns)) and not last_findings(seen)


@traced_node("orchestrator", "classify")
async def classify_query(state: OrchestratorState, runtime: Runtime[Deps]) -> OrchestratorUpdate:
    """By rules and patterns first; a language model is asked only where they leave the kind of question open."""
    services, request, turns = services_of(runtime.context), state["request"], state.get("turns", ())
    seen = seen_by(turns, request.role, services.guards)
    known = Known(services.vocabulary, services.today())
    found = await asyncio.to_thread(classified, request.query, seen, known, services.guards)
    if found.intent == Intent.EXPLANATION and _hidden(found.resolved, turns, seen):
        return {"classification": answered_for_another(found.resolved)}
    if found.intent == Intent.EXPLANATION and (lacking := not_at_hand(found.resolved, turns)) is not None:
        return {"classification": lacking}
    found = in_selection(found, request.brand, request.region)
    if services.contexts is not None and found.rule == OFF_TOPIC:
        return {"classification": left_to_documents(found)}
    if found.confidence >= SURE:
        return {"classification": found}
    better = await classified_by_model(request.query, found, seen, known, services)
    degraded = (*state.get("degraded", ()), *better.degraded)
    chosen = in_selection(better.classification, request.brand, request.region)
    return {"classification": chosen, "degraded": degraded}
