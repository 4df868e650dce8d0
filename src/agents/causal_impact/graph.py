"""In which order does causal_impact work, and where does it turn off?"""

from __future__ import annotations

from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.auditing import audit_init
from src.agents.causal_impact.nodes.analyze_sensitivity import analyze_sensitivity
from src.agents.causal_impact.nodes.build_graph import build_graph as build_causal_graph
from src.agents.causal_impact.nodes.estimate_effect import estimate_effect
from src.agents.causal_impact.nodes.handle_error import handle_error
from src.agents.causal_impact.nodes.interpret_results import interpret_results
from src.agents.causal_impact.nodes.refute_estimate import refute_estimate
from src.agents.causal_impact.state import CausalImpactState
from src.agents.runtime import Deps
from src.causal_engine.results import Gate


def after_graph_builder(state: CausalImpactState) -> Literal["estimation", "error_handler"]:
    """Estimate unless the graph could not be built."""
    return "error_handler" if "error" in state else "estimation"


def after_estimation(state: CausalImpactState) -> Literal["refutation", "error_handler"]:
    """Refute only what was estimated."""
    if "error" in state or state["outcome"].primary is None:
        return "error_handler"
    return "refutation"


def after_refutation(state: CausalImpactState) -> Literal["sensitivity", "interpretation", "error_handler"]:
    """A blocked estimate goes no further; a refutation that failed leaves a partial answer."""
    if "error" in state:
        return "interpretation"
    return "error_handler" if state["refutation"].gate is Gate.BLOCK else "sensitivity"


def build_graph(
    checkpointer: BaseCheckpointSaver[Any] | None = None,
) -> CompiledStateGraph[CausalImpactState, Deps, CausalImpactState, CausalImpactState]:
    """audit_init → graph_builder → estimation → refutation → sensitivity → interpretation, with an error edge."""
    graph = StateGraph(CausalImpactState, context_schema=Deps)
    graph.add_node("audit_init", audit_init("causal_impact"))
    graph.add_node("graph_builder", build_causal_graph)
    graph.add_node("estimation", estimate_effect)
    graph.add_node("refutation", refute_estimate)
    graph.add_node("sensitivity", analyze_sensitivity)
    graph.add_node("interpretation", interpret_results)
    graph.add_node("error_handler", handle_error)
    graph.add_edge(START, "audit_init")
    graph.add_edge("audit_init", "graph_builder")
    graph.add_conditional_edges("graph_builder", after_graph_builder)
    graph.add_conditional_edges("estimation", after_estimation)
    graph.add_conditional_edges("refutation", after_refutation)
    graph.add_edge("sensitivity", "interpretation")
    graph.add_edge("interpretation", END)
    graph.add_edge("error_handler", END)
    return graph.compile(checkpointer=checkpointer)
