"""Write the explanation for its reader, in its form."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.explainer.insights import follow_ups_of, visuals_of
from src.agents.explainer.layouts import brief_of, lay_out
from src.agents.explainer.sections import sections_of
from src.agents.explainer.state import (
    ExplainerState,
    ExplainerUpdate,
    ExplainRequest,
    Explanation,
    Material,
    OutputFormat,
    Reasoning,
    Section,
)
from src.agents.runtime import Deps, traced_node


@traced_node("explainer", "generate")
async def generate_explanation(state: ExplainerState, runtime: Runtime[Deps]) -> ExplainerUpdate:
    """The text; what must be told comes from the findings, whoever chose the rest."""
    return {"explanation": explanation_of(state["request"], state["material"], state["reasoning"])}


def explanation_of(request: ExplainRequest, material: Material, reasoning: Reasoning) -> Explanation:
    """The explanation for the reader and in the form of ``request``."""
    if request.output_format is OutputFormat.BRIEF:
        summary, detail = brief_of(material)
        sections: tuple[Section, ...] = (Section("Answer", (detail,)),)
    else:
        parts = sections_of(material, reasoning, request.user_expertise)
        summary = " ".join(parts[0].lines)
        detail, sections = lay_out(parts, request.output_format)
    return Explanation(
        summary=summary,
        detail=detail,
        sections=sections,
        visuals=visuals_of(material.findings),
        follow_ups=follow_ups_of(material),
        source=reasoning.source,
    )
