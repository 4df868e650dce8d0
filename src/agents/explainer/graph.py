"""In which order does explainer work, and where does it turn off?"""

from __future__ import annotations

from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.auditing import audit_init
from src.agents.explainer.nodes.assemble_material import assemble_material
from src.agents.explainer.nodes.deep_reasoner import deep_reasoner
from src.agents.explainer.nodes.generate_explanation import generate_explanation
from src.agents.explainer.nodes.handle_error import handle_error
from src.agents.explainer.state import ExplainerState
from src.agents.runtime import Deps

ExplainerGraph = CompiledStateGraph[ExplainerState, Deps, ExplainerState, ExplainerState]


def after_assemble(state: ExplainerState) -> Literal["reason", "error_handler"]:
    """Nothing is reasoned about without material."""
    return "error_handler" if "error" in state else "reason"


def after_reason(state: ExplainerState) -> Literal["generate", "error_handler"]:
    """A model that could not be used is no error; what is left then is told by the template."""
    return "error_handler" if "error" in state else "generate"


def build_graph(checkpointer: BaseCheckpointSaver[Any] | None = None) -> ExplainerGraph:
    """audit_init → assemble → reason → generate, with an error edge."""
    graph = StateGraph(ExplainerState, context_schema=Deps)
    graph.add_node("audit_init", audit_init("explainer"))
    graph.add_node("assemble", assemble_material)
    graph.add_node("reason", deep_reasoner)
    graph.add_node("generate", generate_explanation)
    graph.add_node("error_handler", handle_error)
    graph.add_edge(START, "audit_init")
    graph.add_edge("audit_init", "assemble")
    graph.add_conditional_edges("assemble", after_assemble)
    graph.add_conditional_edges("reason", after_reason)
    graph.add_edge("generate", END)
    graph.add_edge("error_handler", END)
    return graph.compile(checkpointer=checkpointer)
