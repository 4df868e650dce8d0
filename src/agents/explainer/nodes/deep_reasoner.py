"""Choose what is said of the findings, with a language model where there is one."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.explainer.reasoning import by_model, by_template
from src.agents.explainer.services import PLACE, services_of
from src.agents.explainer.state import ExplainerState, ExplainerUpdate, OutputFormat
from src.agents.runtime import Deps, traced_node


@traced_node("explainer", "reason")
async def deep_reasoner(state: ExplainerState, runtime: Runtime[Deps]) -> ExplainerUpdate:
    """The model's words, each call a span of ``trace_llm_call`` by the client's tracer, or the template's.

    A brief has no room for more than the findings' own words: no model is asked for one.
    """
    request, material, deps = state["request"], state["material"], runtime.context
    services = services_of(deps)
    if not request.use_llm or request.output_format is OutputFormat.BRIEF:
        return {"reasoning": by_template(material)}
    client = services.llm
    if client is None or client.provider == "none":
        said = "the explanation is by template: no language model is configured"
        return {"reasoning": by_template(material), "warnings": (said,)}
    prompt = await services.prompts.active(PLACE)
    async with deps.tracer.trace_agent(PLACE, "reason.model") as span:
        span.set_attribute("prompt_version", prompt.version)
        span.set_attribute("prompt_sha256", prompt.fingerprint)
        reasoning = await by_model(client, services, prompt, request, material)
        span.set_attribute("source", reasoning.source)
        if reasoning.degraded:
            span.set_fallback(("llm", "template"))
    return {"reasoning": reasoning, "degraded": reasoning.degraded}
