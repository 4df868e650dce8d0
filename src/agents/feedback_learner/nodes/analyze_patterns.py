"""Find what went wrong again and again: rules count, a language model adds what they do not see."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.feedback_learner.batches import batch_of
from src.agents.feedback_learner.model_patterns import seen_by_model, together
from src.agents.feedback_learner.patterns import detect
from src.agents.feedback_learner.services import PLACE, services_of
from src.agents.feedback_learner.state import LearnState, LearnUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import LLMError, ServiceOutage, ServiceRefused


@traced_node("feedback_learner", "analyze")
async def analyze_patterns(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """Patterns of the batch. A model that cannot be used takes nothing away from those of the rules."""
    deps, services = runtime.context, services_of(runtime.context)
    items = await batch_of(state, deps)
    rules = detect(items, state["collected"].behaviours, services.budgets)
    client = services.llm
    if client is None or client.provider == "none" or not items:
        return {"patterns": rules}
    prompt = await services.prompts.active(PLACE)
    async with deps.tracer.trace_agent(PLACE, "analyze.model") as span:
        span.set_attribute("prompt_version", prompt.version)
        span.set_attribute("prompt_sha256", prompt.fingerprint)
        try:
            seen = await seen_by_model(client, prompt.text, items)
        except (LLMError, ServiceRefused, ServiceOutage) as error:
            span.set_fallback(("llm", "rules"))
            return {"patterns": rules, "degraded": (f"patterns are by rules alone ({type(error).__name__}: {error})",)}
        found = together(rules, seen)
        span.set_attribute("added", len(found) - len(rules))
    return {"patterns": found}
